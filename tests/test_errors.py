"""ERRORS: one sentence, the value, what to do next, and the right exit code."""

from __future__ import annotations

import copy
import inspect
import pickle
import time

import pytest

import promptry

CODES = [
    # (class, code, exit code, HTTP status, what else it is)
    (promptry.PromptryError, "error", 3, 500, Exception),
    (promptry.WrongUse, "wrong_use", 2, 400, ValueError),
    (promptry.NotFound, "not_found", 2, 404, ValueError),
    (promptry.NothingSelected, "not_found", 2, 404, promptry.NotFound),
    (promptry.ConfigError, "configuration", 2, 400, promptry.PromptryError),
    (promptry.StoreError, "store", 3, 503, promptry.PromptryError),
    (promptry.AssetMissing, "asset_missing", 3, 500, promptry.PromptryError),
    (promptry.HelperMissing, "helper_missing", 3, 500, promptry.PromptryError),
    (promptry.ProviderError, "provider", 3, 502, promptry.PromptryError),
    (promptry.BudgetExceeded, "budget_exceeded", 3, 402, promptry.PromptryError),
    (promptry.CheckFailed, "check_failed", 1, 422, AssertionError),
    (promptry.Refusal, "error", 3, 500, promptry.PromptryError),  # each says its own code and status
]


@pytest.mark.parametrize(("kind", "code", "exit_code", "status", "also"), CODES)
def test_an_error_knows_its_codes(
    kind: type[promptry.PromptryError], code: str, exit_code: int, status: int, also: type[BaseException]
) -> None:
    assert (kind.code, kind.exit_code, kind.http_status) == (code, exit_code, status)
    assert issubclass(kind, promptry.PromptryError) and issubclass(kind, also)


def test_the_table_above_holds_every_error_of_the_module() -> None:
    errors = {
        kind for _, kind in inspect.getmembers(promptry, inspect.isclass) if issubclass(kind, promptry.PromptryError)
    }
    assert errors == {kind for kind, *_ in CODES}


@pytest.mark.parametrize(
    ("message", "hint", "text"),
    [("It is so.", "Do that.", "It is so. Do that."), ("It is so.", "", "It is so."), ("", "Do that.", "Do that.")],
)
def test_an_error_says_what_is_wrong_and_then_what_to_do(message: str, hint: str, text: str) -> None:
    error = promptry.WrongUse(message, hint)
    assert (str(error), error.message, error.hint) == (text, message, hint)


def test_an_error_survives_a_process_border() -> None:
    error = pickle.loads(pickle.dumps(promptry.NotFound("There is no prompt 'x'.", "Look.")))
    assert isinstance(error, promptry.NotFound) and error.message == "There is no prompt 'x'."


@pytest.mark.parametrize(
    ("word", "words", "hint"),
    [
        ("synchronos", ["path", "synchronous"], "Did you mean 'synchronous'?"),
        ("wait", ["path", "wait_ms"], "Did you mean 'wait_ms'?"),
        ("banana", ["path", "wait_ms"], ""),
        ("qb", ["qa", "questions"], "Did you mean 'qa'?"),
        ("what", ["who", "name"], ""),
        ("x", [], ""),
        ("", ["path"], ""),
    ],
)
def test_the_nearest_word_is_a_hint(word: str, words: list[str], hint: str) -> None:
    assert promptry.nearest(word, iter(words)) == hint


def test_a_named_tuple_of_the_module_is_one_like_any_other() -> None:
    check = promptry.Check("exact", True, 1.0, {"reason": "equal"})
    assert check == ("exact", True, 1.0, {"reason": "equal"}, None) and check.score == 1.0 and check[0] == "exact"
    assert check._replace(score=0.5).score == 0.5 and check._asdict()["latency_ms"] is None
    assert promptry.Check._make(check) == check == pickle.loads(pickle.dumps(check)) == copy.copy(check)
    assert repr(check).startswith("Check(assertion_type='exact', passed=True, score=1.0")
    match check:
        case promptry.Check(kind, passed):
            assert (kind, passed) == ("exact", True)
    for wrong in (
        lambda: promptry.Check("exact"),
        lambda: promptry.Check(*range(6)),
        lambda: promptry.Check._make("ab"),
    ):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="nope"):
        check._replace(nope=1)
    named = {key: number for number, key in enumerate(promptry.DriftReport._fields)}  # one of them is `of`
    assert promptry.DriftReport(**named)._asdict() == named
    with pytest.raises(AttributeError):
        check.score = 2  # type: ignore[misc]


def test_no_word_from_outside_takes_long_to_compare() -> None:
    start = time.monotonic()
    assert promptry.nearest("a" * 3_000_000, ["ab", "a" * 3_000_000]) == ""
    assert promptry.nearest("ab", ["a" * 3_000_000, "abc"]) == "Did you mean 'abc'?"
    assert time.monotonic() - start < 1
