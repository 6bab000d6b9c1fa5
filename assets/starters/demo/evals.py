"""The suite "qa": what the answers must hold. Run it with:  promptry run"""

import json
from pathlib import Path

from pipeline import PROMPT, answer

from promptry import assert_contains, save_dataset, suite, track

QUESTIONS = json.loads((Path(__file__).parent / "questions.json").read_text(encoding="utf-8"))

track(PROMPT, "answer")  # an edited prompt.txt is the next version; a text seen before is the version it was
DATASET = f"questions@{save_dataset('questions', QUESTIONS)}"


@suite("qa", "An answer holds what the reference says.", prompt="answer", dataset=DATASET, min_pass_rate=0.6)
def check_answer(item: dict[str, str]) -> None:
    assert_contains(answer(item["question"]), item["reference"])
