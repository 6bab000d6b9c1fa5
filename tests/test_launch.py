"""LAUNCH: the commands that run suites, or say what they could see without running them."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import plan_suite, render_prompt, suite


@pytest.fixture
def graded(store: Path) -> None:
    """Make two runs of a suite whose scores are noise."""
    promptry.save_prompt("p", "text", tag="prod")
    draw = random.Random(4)

    @suite("quiz", prompt="p", dataset=[{"id": f"c{number:02}"} for number in range(20)])
    def check(item: Any) -> None:
        render_prompt("p", "")
        promptry.track_invocation("p", {"cost_usd": 0.01})
        promptry.record_check("graded", draw.random(), True, "", "", "")

    for _ in range(2):
        promptry.run_suite("quiz")


def test_a_plan_is_a_sentence_and_runs_nothing(graded: None, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert promptry.run_command(["run", "quiz", "--plan"]) == 0
    plan = plan_suite("quiz")
    out = capsys.readouterr().out
    assert f"quiz: its 20 cases can see a drop of {plan.smallest_drop:.3f} or more" in out
    assert f"A drop of 0.1 takes {plan.cases_needed} cases, or {plan.repeats_needed} repeats: $" in out
    assert promptry.run_command(["run", "--drop", "0.2", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["items"]
    assert found["drop"] == 0.2 and promptry.list_runs()["total"] == 2


def test_a_suite_that_nobody_knows_has_no_plan_and_one_that_never_ran_says_so(
    graded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    text = "from promptry import assert_exact, suite\n@suite('fresh')\ndef fresh():\n    assert_exact(1, 1)\n"
    (tmp_path / "evals.py").write_text(text)
    assert promptry.run_command(["run", "frsh", "--plan"]) == 2
    assert "There is no suite 'frsh' in evals" in (told := capsys.readouterr().err) and "mean 'fresh'" in told
    assert promptry.run_command(["run", "fresh", "--plan"]) == 0
    assert "fresh: no run tells how unsteady it is" in capsys.readouterr().out


def test_a_run_ends_with_the_worst_of_its_codes(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    sys.modules.pop("evals", None)
    (tmp_path / "evals.py").write_text(
        "from promptry import assert_exact, suite\n"
        "@suite('good')\ndef good():\n    assert_exact(1, 1)\n"
        "@suite('bad')\ndef bad():\n    assert_exact(1, 2)\n"
        "@suite('ugly')\ndef ugly():\n    raise RuntimeError('crashed')\n"
    )
    codes = {name: promptry.run_command(["run", name, "--module", "evals"]) for name in ("good", "bad", "ugly")}
    assert codes == {"good": 0, "bad": 1, "ugly": 3}
    assert promptry.run_command(["run", "--module", "evals"]) == 1
