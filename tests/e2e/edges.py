"""The edges of what a store holds: one run, no baseline, few cases, repeats, errors only, long names, strange signs.

`python tests/e2e/edges.py FOLDER` fills FOLDER/.promptry/store.db by real runs; only the models' answers are made up.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import promptry

SUITES = '''"""Suites at the edges. ROUND says which of its runs a suite is in; what a case answers follows from it."""

import zlib

from promptry import assert_contains, assert_not_contains, assert_rouge_l, case, render_prompt, suite, track_invocation

ROUND = [0]
LONG = "a-name-that-somebody-made-of-a-whole-sentence-because-nobody-told-them-not-to-" * 3
MIXED = {"prompt": "edge/prompt", "gate": "statistical"}


def items(count, **more):
    return [{"id": f"case-{n:05}", "question": f"What is {n} plus {n}?", "reference": str(2 * n), **more} for n in range(count)]


def luck(name, item, share):
    return zlib.crc32(f"{name} {item['id']}".encode()) % 1000 < share * 1000


def answers(item, good, prompt="edge/prompt"):
    if prompt:
        render_prompt(prompt, "Answer $question.", question=item.get("question", "it"))
    assert_contains(f"It is {item['reference']}, as you asked." if good else "That is hard to say.", item["reference"])


@suite("one-run", "Run once.", prompt="edge/prompt", dataset=items(20))
def one_run(item):
    answers(item, luck("one", item, 0.8))


@suite("no-prompt", "Its prompt is not known.", dataset=items(24))
def no_prompt(item):
    answers(item, luck("none", item, 0.9), prompt=None)


@suite("too-few", "Six cases.", dataset=items(6), **MIXED)
def too_few(item):
    answers(item, ROUND[0] == 0 or item["id"] != "case-00003")


@suite("better", "It has improved.", dataset=items(64), **MIXED)
def better(item):
    answers(item, luck("better", item, 0.7 if ROUND[0] == 0 else 0.97))


@suite("level", "Some broke, some were fixed.", dataset=items(150), **MIXED)
def level(item):
    answers(item, luck(f"level {ROUND[0] if item['id'].endswith('7') else 0}", item, 0.85))


tries = {}


@suite("repeats", "Each case three times; some waver.", dataset=items(30), repeats=3, **MIXED)
def repeated(item):
    tries[item["id"]] = tries.get(item["id"], 0) + 1
    wavers = luck("wavers", item, 0.3)
    answers(item, not wavers or (tries[item["id"]] + ROUND[0]) % 3 != 0)


@suite("gaps", "The provider was down in two runs.", dataset=items(40), **MIXED)
def gaps(item):
    if ROUND[0] in (3, 4):
        render_prompt("edge/prompt", "Answer $question.", question=item["question"])
        raise ConnectionError("the provider answered 503: overloaded; try again later")
    answers(item, luck(f"gaps {ROUND[0]}", item, 0.9))


@suite("flaky", "The same cases, another outcome each run.", dataset=items(40), **MIXED)
def flaky(item):
    wavers = luck("flaky", item, 0.2)
    answers(item, not wavers or luck(f"flaky {ROUND[0]}", item, 0.5))


@suite("groups", "Cases of one document belong together.", prompt="edge/prompt", gate="statistical")
def grouped():
    for document in range(12):
        for question in range(5):
            item = {"id": f"doc-{document:02}-q{question}", "reference": f"{document}.{question}"}
            with case(item["id"], group=f"document-{document:02}"):
                answers(item, not (ROUND[0] and document in (3, 7)) and luck("groups", item, 0.95))


@suite("worth", "Scores between nought and one.", dataset=items(30), **MIXED)
def worth(item):
    render_prompt("edge/prompt", "Answer $question.", question=item["question"])
    words = "the parcel arrives on the third day after the order was paid and packed".split()
    keep = 5 + zlib.crc32(f"{item['id']} {ROUND[0]}".encode()) % 10
    assert_rouge_l(" ".join(words[:keep]), " ".join(words), 0.45 + 0.2 * (item["id"] < "case-00010"))


@suite("unpriced", "A model whose price nobody told.", dataset=items(20), **MIXED)
def unpriced(item):
    track_invocation("edge/prompt", model="house-model-7b", provider="house", usage={"prompt_tokens": 120, "completion_tokens": 14})
    answers(item, luck("unpriced", item, 0.9))


@suite("cut-short", "It costs more than it may.", dataset=items(60), **MIXED)
def cut_short(item):
    track_invocation("edge/prompt", model="gpt-4.1", provider="openai", usage={"prompt_tokens": 9000, "completion_tokens": 500})
    answers(item, luck("cut", item, 0.9))


SIGNS = {
    "\\u0639\\u0631\\u0628\\u064a \\u0627\\u0644\\u062d\\u0627\\u0644\\u0629": "\\u0627\\u0644\\u0637\\u0631\\u062f \\u064a\\u0635\\u0644 \\u062e\\u0644\\u0627\\u0644 5 \\u0623\\u064a\\u0627\\u0645 (order 12) \\u0634\\u0643\\u0631\\u0627",
    "emoji \\U0001f469\\u200d\\U0001f469\\u200d\\U0001f467 \\U0001f1e9\\U0001f1ea": "Yes \\U0001f389\\U0001f389 5 \\u2764\\ufe0f\\u200d\\U0001f525 caf\\u00e9 e\\u0301 \\ufdfd",
    "control signs": "a\\x00b\\x07c\\x1b[31mred\\x1b[0m\\ttab\\r\\nnew 5 \\u202egnp.exe\\u202c \\u200bzero",
    "markup": "<b onclick=alert(1)>5</b> <script>alert(1)</script> & &amp; {{x}} ${y}",
    "one long word": "5" + "x" * 600,
    "many lines": "\\n".join(f"{n}. line 5 of the answer, with some more words to fill it" for n in range(80)),
    "nothing": "",
    LONG[:200]: "The answer is 5, after a name of two hundred signs.",
}


@suite(LONG[:200], "A suite with a name of two hundred signs. " * 4, dataset=[{"id": name, "question": text} for name, text in SIGNS.items()], **MIXED)
def signs(item):
    text = item["question"] + (" Changed." if ROUND[0] and item["id"] != "nothing" else "")
    assert_contains(text, "5")
    assert_not_contains(text, "as an AI")


@suite("\\u05e9\\u05dc\\u05d5\\u05dd-\\u0639\\u0631\\u0628\\u064a-\\U0001f680", "A name that is read from the right.", dataset=items(8), **MIXED)
def from_the_right(item):
    answers(item, luck("right", item, 0.7))


@suite("wide", "Ten thousand cases.", dataset=items(10_000), **MIXED)
def wide(item):
    answers(item, luck("wide", item, 0.9) and not (ROUND[0] and luck("worse", item, 0.06)))
'''  # noqa: E501

BEFORE: dict[str, object] = {"prompt_version": 1}
COMPARED: dict[str, object] = {"prompt_version": 2, "compare": "prod"}
TWICE = ("no-prompt", "too-few", "better", "level", "repeats", "groups", "worth", "unpriced", "wide")


def fill(folder: Path, wide: bool = True) -> dict[str, str]:
    """Run each suite as often as its edge needs, and return the id of the newest run of each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evals.py").write_text(SUITES, encoding="utf-8")
    (folder / "promptry.toml").write_text('[run]\nmodule = "evals"\n', encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        return _run(folder, wide)
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        sys.modules.pop("evals", None)
        promptry.use_store(None)


def _run(folder: Path, wide: bool) -> dict[str, str]:
    import evals  # the module that was just written

    promptry.use_store(folder / ".promptry" / "store.db")
    promptry.track("Answer $question.\n", "edge/prompt", tag="prod")
    promptry.save_prompt("edge/prompt", "Answer $question in one short line.\n")
    runs: dict[str, str] = {}

    def go(name: str, round: int, **more: object) -> None:
        evals.ROUND[0] = round
        kept = promptry.run_suite(name, module="evals", **more)  # type: ignore[arg-type]
        runs[name] = str(kept.run_id)

    go("one-run", 0)
    for name in TWICE:
        for round in (0, 1) if wide or name != "wide" else ():
            go(name, round, **({} if name == "no-prompt" else COMPARED if round else BEFORE))
    for name in (evals.LONG[:200], "\u05e9\u05dc\u05d5\u05dd-\u0639\u0631\u0628\u064a-\U0001f680"):
        for round in range(2):
            go(name, round)
    for round in range(8):
        go("gaps", round, **COMPARED if round else BEFORE)
        go("flaky", round, **COMPARED if round else BEFORE)
    go("cut-short", 0)
    go("cut-short", 1, select="case-0000")
    go("cut-short", 2, max_usd=0.3)
    return runs


if __name__ == "__main__":
    print(fill(Path(sys.argv[1]).resolve()))
