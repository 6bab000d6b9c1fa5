"""FINDINGS: what the history of a suite says, in words that a person can act on."""

from __future__ import annotations

from typing import Any

import pytest

import promptry

PLAN: dict[str, Any] = promptry.Plan("quiz", 20, 1, 0.1, 0.21, 74, 4, 0.12, 0.444, ["3", "1"], True).to_dict()
SEES = "quiz: its 20 cases can see a drop of 0.210 or more, in 80 of 100 runs."


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {},
            f"{SEES} A drop of 0.1 takes 74 cases, or 4 repeats: $0.444 a run, now $0.12. "
            "From runs 3 and 1, of one version.",
        ),
        (
            {"run_usd": None, "needed_usd": None, "steady": False},
            f"{SEES} A drop of 0.1 takes 74 cases, or 4 repeats. From runs 3 and 1, of different versions or"
            " models, which overstates its noise.",
        ),
        ({"cases_needed": 15, "drop": 0.25}, f"{SEES} A drop of 0.25 takes 15. From runs 3 and 1, of one version."),
        (
            {"cases_needed": None, "runs": ["1"]},
            "quiz: one complete run does not tell how unsteady it is; run it twice on one version.",
        ),
    ],
)
def test_a_plan_is_told_in_sentences(change: dict[str, Any], text: str) -> None:
    assert promptry.render_plan({**PLAN, **change}) == text
