"""The demo's pipeline and questions: a formula that no branch steers, and a quality that is measured, not written."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import random
import re
import shutil
import string
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import promptry

DEMO = Path(__file__).resolve().parent.parent / "assets" / "starters" / "demo"
QUESTIONS: list[dict[str, str]] = json.loads((DEMO / "questions.json").read_text(encoding="utf-8"))
GOOD = (DEMO / "prompt.txt").read_text(encoding="utf-8")
EDITED = (DEMO / "edited.txt").read_text(encoding="utf-8")

Outcomes = list[bool]


@pytest.fixture(scope="module")
def pipeline() -> ModuleType:
    """Give the demo's pipeline, loaded by its path, so that no other test finds it among the modules."""
    spec = importlib.util.spec_from_file_location("demo_pipeline", DEMO / "pipeline.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    return module


def holds(text: str, reference: str) -> bool:
    """Tell what assert_contains tells."""
    return reference.casefold() in text.casefold()


def outcomes_of(pipeline: ModuleType, template: str, questions: list[dict[str, str]] = QUESTIONS) -> Outcomes:
    """Return for each question whether the answer under a prompt holds its reference."""
    queries = [string.Template(template).safe_substitute(question=item["question"]) for item in questions]
    return [
        holds(" ".join(pipeline.rank(query)), item["reference"]) for query, item in zip(queries, questions, strict=True)
    ]


def share(outcomes: Outcomes) -> float:
    return sum(outcomes) / len(outcomes)


def mcnemar_by_hand(before: Outcomes, now: Outcomes) -> float:
    """Return the one-sided exact p that as many of the changes are for the worse by chance."""
    pairs = list(zip(before, now, strict=True))
    worse, better = pairs.count((True, False)), pairs.count((False, True))
    changes = worse + better
    return sum(math.comb(changes, count) for count in range(worse, changes + 1)) / 2**changes


# The questions


def test_there_are_at_least_sixty_six_questions_with_ids_of_their_own() -> None:
    assert len(QUESTIONS) >= 66
    assert all(set(item) == {"id", "question", "reference"} for item in QUESTIONS)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", item["id"]) for item in QUESTIONS)
    for key in ("id", "question"):
        assert max(Counter(item[key] for item in QUESTIONS).values()) == 1
    assert all(item["question"].endswith("?") for item in QUESTIONS)


def test_every_reference_stands_within_a_sentence_of_this_python_and_in_few_of_them(pipeline: ModuleType) -> None:
    sentences, _ = pipeline.load_index()
    found = {item["id"]: sum(holds(text, item["reference"]) for text in sentences) for item in QUESTIONS}
    assert {name: count for name, count in found.items() if not 1 <= count <= 3} == {}


def test_no_question_quotes_its_reference() -> None:
    assert [item["id"] for item in QUESTIONS if holds(item["question"], item["reference"])] == []


# The formula


@pytest.mark.slow
def test_ranking_is_the_textbook_formula_over_all_words_of_the_query(pipeline: ModuleType) -> None:
    sentences, _ = pipeline.load_index()
    counts = [Counter(pipeline.split_words(sentence)) for sentence in sentences]
    mean = sum(count.total() for count in counts) / len(counts)
    k1, b = pipeline.SATURATION, pipeline.LENGTH_PENALTY

    def score(words: list[str], count: Counter[str]) -> float:
        total = 0.0
        for word in (word for word in words if word in count):
            holders = sum(word in other for other in counts)
            rarity = math.log((len(counts) - holders + 0.5) / (holders + 0.5) + 1)
            total += rarity * count[word] * (k1 + 1) / (count[word] + k1 * (1 - b + b * count.total() / mean))
        return total

    for query in ("helpful assistant step", "raise raise from None", "default value of a parameter"):
        words = pipeline.split_words(query)
        best = sorted((score(words, count) for count in counts), reverse=True)[:5]
        ranked = [score(words, counts[sentences.index(sentence)]) for sentence in pipeline.rank(query)]
        assert ranked == pytest.approx(best)


def test_ranking_gives_the_same_sentences_every_time_and_as_many_as_asked_for(pipeline: ModuleType) -> None:
    first = pipeline.rank(GOOD, 20)
    pipeline.load_index.cache_clear()
    assert pipeline.rank(GOOD, 20) == first
    assert len(first) == 20 and pipeline.rank(GOOD, 3) == first[:3]
    assert len(pipeline.rank(GOOD)) == pipeline.SENTENCES_IN_ANSWER


def test_ranking_sees_nothing_of_a_query_but_its_words(pipeline: ModuleType) -> None:
    assert pipeline.rank("WHAT -- is a Lambda?!") == pipeline.rank("what\n\nis, a `lambda`")
    assert pipeline.rank("") == pipeline.rank("xyzzy ?!") == []


def test_no_branch_of_the_pipeline_reads_a_word_of_the_prompt() -> None:
    tree = ast.parse((DEMO / "pipeline.py").read_text(encoding="utf-8"))
    branches = [node.test for node in ast.walk(tree) if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert)]
    branches += [test for node in ast.walk(tree) if isinstance(node, ast.comprehension) for test in node.ifs]
    assert {ast.unparse(test) for test in branches} == {"os.environ.get('PROMPTRY_DEMO_LIVE')", "sentence"}
    other_ways = ast.Compare | ast.BoolOp | ast.Match | ast.Try
    assert [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, other_ways)] == []


def test_no_word_is_left_out_but_endings_are(pipeline: ModuleType) -> None:
    assert len(pipeline.split_words(EDITED)) == len(re.findall(r"\w+", EDITED))
    for forms in ("raise raises raised raising", "value values", "class classes", "statement statements"):
        assert len(set(pipeline.split_words(forms))) == 1
    assert pipeline.split_words("__slots__ is a thing") == ["__slots__", "is", "a", "thing"]


def test_sentences_are_free_of_layout(pipeline: ModuleType) -> None:
    text = 'The *with* statement\n====\n\n* Use "a.x" left-\n  hand. **Note:** It\'s "b".\n\n* Then\n  stop.\n'
    assert pipeline.split_sentences(text) == [
        "The with statement",
        "Use a.x left-hand.",
        "Note:",
        "It's b.",
        "Then stop.",
    ]


# The quality


def test_the_good_prompt_answers_most_questions_and_the_edit_really_harms_it(pipeline: ModuleType) -> None:
    good, edited = outcomes_of(pipeline, GOOD), outcomes_of(pipeline, EDITED)
    p = mcnemar_by_hand(good, edited)
    print(f"Python {sys.version.split()[0]}: good {share(good):.3f}, edited {share(edited):.3f}, p {p:.1e}")
    assert 0.60 <= share(good) <= 0.95
    assert share(good) - share(edited) >= 0.20
    assert p < 0.01


def test_the_edit_only_adds_words_and_keeps_what_was_there() -> None:
    assert EDITED.endswith(GOOD) and EDITED.startswith("You are a helpful assistant") and "step by step" in EDITED


def edit_at_random(chance: random.Random, template: str, vocabulary: list[str]) -> str:
    """Return a template after one to four random edits of its words; the placeholder stays in it."""
    words = template.split()
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(words))
        kind = chance.choice(["insert", "delete", "replace", "shuffle"])
        if kind == "insert":
            words.insert(place, chance.choice(vocabulary))
        elif kind == "shuffle":
            chance.shuffle(words)
        elif words[place] != "$question":
            words[place : place + 1] = [chance.choice(vocabulary)] if kind == "replace" else []
    return " ".join(words)


@pytest.mark.simulation
def test_two_hundred_random_edits_move_the_score_both_ways(pipeline: ModuleType) -> None:
    """The words come from the reference as often as they stand there. To save time, every second question is asked."""
    chance = random.Random(20251007)
    sentences, _ = pipeline.load_index()
    vocabulary = re.findall(r"\w+", " ".join(sentences)) + re.findall(r"\w+", EDITED)
    asked = QUESTIONS[::2]
    base = sum(outcomes_of(pipeline, GOOD, asked))
    scores = [sum(outcomes_of(pipeline, edit_at_random(chance, GOOD, vocabulary), asked)) for _ in range(200)]
    better, worse = sum(score > base for score in scores), sum(score < base for score in scores)
    print(f"base {base}/{len(asked)}: {better} better, {worse} worse, from {min(scores)} to {max(scores)}")
    assert better >= 5 and worse >= 5
    assert len(set(scores)) >= 5


# The calls


@pytest.fixture
def model_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Run a server that speaks the OpenAI protocol, and give the list of requests it gets."""
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({"path": self.path, "key": self.headers["Authorization"], "body": body})
            usage = {"prompt_tokens": 700, "completion_tokens": 40, "total_tokens": 740}
            choices = [{"index": 0, "message": {"role": "assistant", "content": "A quoted sentence."}}]
            reply = json.dumps({"model": "tiny-2025", "choices": choices, "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("PROMPTRY_DEMO_LIVE", "1")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1/")
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.setenv("OPENAI_MODEL", "tiny")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield seen
    server.shutdown()
    server.server_close()


def only_call() -> dict[str, Any]:
    (row,) = promptry.list_calls()["items"]
    return promptry.get_call(row["id"])


def test_an_answer_is_ranked_by_the_whole_prompt_in_production_and_recorded(store: Path, pipeline: ModuleType) -> None:
    promptry.save_prompt("answer", "Exceptions and errors. $question", tag="prod")
    promptry.save_prompt("answer", "A draft that nobody promoted. $question")
    rendered = "Exceptions and errors. What does pass do?"
    assert pipeline.answer("What does pass do?") == " ".join(pipeline.rank(rendered))
    call = only_call()
    assert (call["prompt_name"], call["prompt_version"], call["input_text"]) == ("answer", 1, rendered)
    assert call["output_text"] == " ".join(pipeline.rank(rendered))
    assert (call["metadata"]["model"], call["metadata"]["provider"]) == ("bm25", "local")
    assert 0 < call["metadata"]["latency_ms"] < 5000


def test_a_live_answer_comes_from_the_model_that_sees_the_prompt_and_the_ranked_sentences(
    store: Path, pipeline: ModuleType, model_server: list[dict[str, Any]]
) -> None:
    question = "What does pass do?"
    assert pipeline.answer(question) == "A quoted sentence."
    (request,) = model_server
    content = request["body"]["messages"][-1]["content"]
    rendered = string.Template(GOOD).substitute(question=question)
    assert (request["path"], request["key"], request["body"]["model"]) == (
        "/v1/chat/completions",
        "Bearer a-key",
        "tiny",
    )
    assert content.startswith(rendered)
    assert all(sentence in content for sentence in pipeline.rank(question, pipeline.SENTENCES_IN_CONTEXT))
    call = only_call()
    assert call["metadata"]["model"] == "tiny-2025" and call["metadata"]["latency_ms"] > 0
    assert call["metadata"]["usage"] == {"prompt_tokens": 700, "completion_tokens": 40, "total_tokens": 740}
    assert (call["input_text"], call["output_text"]) == (rendered, "A quoted sentence.")


# The project


@pytest.mark.slow
def test_the_suite_scores_what_the_formula_gives_and_catches_the_edit(
    tmp_path: Path, pipeline: ModuleType, run_cli: Callable[..., Any]
) -> None:
    shutil.copytree(DEMO, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))

    def run(exit_code: int, *words: str) -> dict[str, Any]:
        done = run_cli(*words)
        assert done.returncode == exit_code, done.stdout + done.stderr
        return json.loads(done.stdout)["items"][0] if "--json" in words else {}

    for text, exit_code, words in ((GOOD, 0, ()), (EDITED, 1, ("--compare", "prod")), (GOOD, 0, ("--compare", "prod"))):
        (tmp_path / "prompt.txt").write_text(text, encoding="utf-8")
        result = run(exit_code, "run", "qa", "--json", *words)
        outcomes = outcomes_of(pipeline, text)
        assert result["score"] == pytest.approx(share(outcomes))
        assert {row["case"]: row["state"] for row in result["cases"]} == {
            item["id"]: "pass" if passed else "fail" for item, passed in zip(QUESTIONS, outcomes, strict=True)
        }
        run(0, "prompt", "promote", "answer", "1", "prod")
