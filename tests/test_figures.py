"""FIGURES: numbers as people read them; what is unknown is a dash, and nothing is rounded to what it is not."""

from __future__ import annotations

from typing import Any

import pytest

import promptry

SHARES = [(None, None), (1, "100 %"), (1.0, "100 %"), (0.99999, "99.9 %"), (0.5, "50.0 %"), (0.0, "0.0 %")]


@pytest.mark.parametrize(("share", "said"), SHARES)
def test_a_share_is_100_per_cent_only_if_it_is_all(share: float | None, said: str | None) -> None:
    assert promptry.share_text(share) == said


ROWS = [
    (promptry.signed, None, "-"),
    (promptry.signed, 0.25, "+0.250"),
    (promptry.signed, -0.25, "-0.250"),
    (promptry.interval_text, None, "-"),
    (promptry.interval_text, (-0.5, 0.25), "-0.500 to +0.250"),
    (promptry.p_text, None, "-"),
    (promptry.p_text, 0.0, "< 0.001"),
    (promptry.p_text, 0.04, "0.040"),
    (promptry.age_text, None, "of unknown age"),
    (promptry.age_text, -0.01, "0 seconds old"),
    (promptry.age_text, 1.0, "1 second old"),
    (promptry.age_text, -7_200.0, "dated 2 hours in the future: a clock was moved"),
    (promptry.age_text, 5.0, "5 seconds old"),
    (promptry.age_text, 600.0, "10 minutes old"),
    (promptry.age_text, 86_400.0 * 3, "3 days old"),
]


@pytest.mark.parametrize(("function", "value", "said"), ROWS)
def test_a_number_is_read_as_people_do(function: Any, value: Any, said: str) -> None:
    assert function(value) == said
