"""FINDINGS: what the history of a suite says, in words that a person can act on."""

from __future__ import annotations

from typing import Any

import click
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


CALLS: dict[str, Any] = promptry.DriftReport(
    None, 30, True, "the cost rose and stays up", 1.25e-05, (4e-06, 2.1e-05), 2.5, 0.0005,
    {
        "run": None,
        "date": "2026-03-04",
        "before": 0.001234,
        "after": 0.0021,
        "changed": {
            "prompt": {"before": "answer@3", "now": "answer@4"}, "model": None, "dataset": None, "commit": None,
        },
    },
    0.02, 0.1, None, "cost", "answer", 12_345, 45,
).to_dict()  # fmt: skip


def test_calls_that_get_worse_are_told_with_their_unit_and_those_that_do_not_tell() -> None:
    assert click.unstyle(promptry.render_drifts({"items": [CALLS]})) == (
        "drifting  cost of answer: the cost rose and stays up (30 days, p < 0.001)\n"
        "  slope +1.25e-05 USD a day (95 % interval +4e-06 to +2.1e-05), newest day z +2.500, newer half p 0.020,"
        " lag-1 correlation +0.100\n"
        "  0.001234 -> 0.0021 USD from 2026-03-04\n"
        "probable cause:\n  prompt: answer@3 -> answer@4\n"
        "  45 of 12,345 calls without cost"
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"drifting": False, "reason": "no rise beyond chance among 9 prompts", "p": 0.03, "p_among": 0.27},
         "steady  cost of answer: no rise beyond chance among 9 prompts (30 days, p 0.030, 0.270 among all asked)\n"),
        ({"of": "rating", "slope": -0.5, "slope_interval": [-0.75, 0.0]},
         "slope -0.500 a day (95 % interval -0.750 to +0.000)"),
        ({"of": "latency", "slope": 12.3456, "slope_interval": [1.0, 23.0]},
         "slope +12.346 ms a day (95 % interval +1.000 to"),
        ({"of": "length", "left_out": 0}, "tokens from 2026-03-04"),
        ({"p": None, "n": 2, "reason": "not enough data"},
         "cost of answer: not enough data, 2 of at least 6 days.\n  45 of"),
    ],
)  # fmt: skip
def test_what_is_said_of_calls(change: dict[str, Any], text: str) -> None:
    assert text in click.unstyle(promptry.render_drifts({"items": [{**CALLS, **change}]}))


def test_runs_of_another_embedder_are_said_to_be_left_out() -> None:
    row = promptry.DriftReport("qa", 4, False, "not enough data", left_out=3, embedder="small 1").to_dict()
    assert click.unstyle(promptry.render_drifts({"items": [row]})) == (
        "qa: not enough data, 4 of at least 6 runs.\n"
        "  3 of the last runs left out: scored with another embedder than small 1"
    )
