"""MODELS: which run stands for a model, what is told of it, and that its comparison is the one of compare_runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import promptry
from promptry import assert_exact, compare_models, compare_runs, render_prompt, run_suite, save_prompt, suite


@pytest.fixture
def world(store: Path) -> dict[str, Any]:
    save_prompt("p", "one", tag="prod")
    return {"failing": 0, "usd": 0.01, "ms": 100.0}


def quiz(world: dict[str, Any], n: int = 20, group: int = 0) -> None:
    items = [{"id": f"c{number:02}", **({"group": number // group} if group else {})} for number in range(n)]

    @suite("quiz", prompt="p", dataset=items)
    def check(item: dict[str, Any]) -> None:
        render_prompt("p", "")
        promptry.track_invocation("p", {"cost_usd": world["usd"], "latency_ms": world["ms"]})
        assert_exact(int(item["id"][1:]) >= world["failing"], True)


def run(world: dict[str, Any], model: str, failing: int = 0, usd: float = 0.01, ms: float = 100.0) -> str:
    world |= {"failing": failing, "usd": usd, "ms": ms}
    return run_suite("quiz", model_version=model).run_id


def test_models_stand_side_by_side_the_first_that_ran_as_baseline_then_the_best(world: dict[str, Any]) -> None:
    quiz(world)
    first = run(world, "old", 6, 0.02, 900.0)
    bad, good = run(world, "bad", 16, 0.001, 50.0), run(world, "good", 0, 0.05, 400.0)
    found = compare_models("quiz")
    assert (found["suite"], found["by"], found["baseline"], found["total"], found["next"]) == (
        "quiz",
        "model",
        "old",
        3,
        None,
    )
    rows = found["items"]
    assert [(row["model"], row["run"]["id"], row["verdict"]) for row in rows] == [
        ("old", first, None),
        ("good", good, "improved"),
        ("bad", bad, "regressed"),
    ]
    assert [row["score"] for row in rows] == pytest.approx([0.7, 1.0, 0.2])
    assert [row["cost_usd"] for row in rows] == pytest.approx([0.4, 1.0, 0.02])
    assert [row["latency_ms"] for row in rows] == pytest.approx([900.0, 400.0, 50.0])
    assert rows[0]["delta"] is rows[0]["p"] is rows[0]["reason"] is None and all(row["n"] == 20 for row in rows)
    for row in rows:
        assert row["interval"] == pytest.approx(
            promptry.mean_interval([1.0] * round(row["score"] * 20) + [0.0] * round(20 - row["score"] * 20))
        )
    for row in rows[1:]:
        same = compare_runs(row["run"]["id"], first)
        assert (row["verdict"], row["delta"], row["p"], row["reason"]) == (
            same.verdict,
            same.delta,
            same.p,
            same.reason,
        )
        assert row["delta_interval"] == list(same.interval or ())
    json.dumps(found)


def test_the_baseline_may_be_named(world: dict[str, Any]) -> None:
    quiz(world)
    for model, failing in (("a", 10), ("b", 0), ("gpt-4o", 10)):
        run(world, model, failing)
    rows = compare_models("quiz", "b")["items"]
    assert [(row["model"], row["verdict"]) for row in rows] == [
        ("b", None),
        ("a", "regressed"),
        ("gpt-4o", "regressed"),
    ]
    with pytest.raises(promptry.NotFound, match="of the model 'gpt-4'") as caught:
        compare_models("quiz", "gpt-4")
    assert "gpt-4o" in caught.value.hint


def test_the_newest_complete_run_stands_for_a_model(world: dict[str, Any]) -> None:
    quiz(world)
    run(world, "a")
    newest = run(world, "a", 5)
    broken = run(world, "a", 9)
    sql = "UPDATE eval_runs SET metadata = json_set(metadata, '$.complete', json('false')) WHERE id = ?"
    promptry.connect().execute(sql, (int(broken),))
    assert [row["run"]["id"] for row in compare_models("quiz")["items"]] == [newest]


def test_prompt_and_data_are_held_equal_where_they_can_be(world: dict[str, Any]) -> None:
    quiz(world)
    run(world, "a")
    second = run(world, "b")
    save_prompt("p", "two")
    fourth, third = run(world, "a", 3), run(world, "c")
    rows = {row["model"]: row for row in compare_models("quiz")["items"]}
    assert {model: row["run"]["id"] for model, row in rows.items()} == {"a": fourth, "b": second, "c": third}
    assert [rows["a"]["prompt"], rows["c"]["prompt"]] == ["p@2", "p@2"], "as common, and newer"
    assert (rows["b"]["prompt"], rows["b"]["same"], rows["c"]["same"]) == ("p@1", False, True)
    text = promptry.render_models(compare_models("quiz"))
    assert "p@1, differs" in text and "another prompt version or other data" in text
    run(world, "b")
    assert all(row["same"] for row in compare_models("quiz")["items"])


def test_a_suite_that_no_model_ran_has_no_rows(world: dict[str, Any]) -> None:
    empty = {"suite": "never", "by": "model", "baseline": None, "items": [], "total": 0, "next": None}
    assert compare_models("never") == empty
    assert "--model-version names it" in promptry.render_models(empty)
    with pytest.raises(promptry.NotFound, match="No complete run"):
        compare_models("never", "m")


def test_what_is_not_known_is_not_zero(world: dict[str, Any], raw: Any) -> None:
    for run_id, model in ((1, "a"), (2, "b")):
        raw.execute(
            "INSERT INTO eval_runs (id, suite_name, model_version, overall_pass) VALUES (?, 'plain', ?, 1)",
            (run_id, model),
        )
    rows = compare_models("plain")["items"]
    assert [(row["score"], row["interval"], row["cost_usd"], row["latency_ms"], row["n"]) for row in rows] == [
        (None, None, None, None, 0)
    ] * 2
    assert rows[1]["verdict"] == "not enough data" and "-" in promptry.render_models(compare_models("plain"))


def test_groups_are_counted_as_units(world: dict[str, Any]) -> None:
    quiz(world, 24, 4)
    run(world, "a")
    run(world, "b", 8)
    rows = compare_models("quiz")["items"]
    assert [(row["n"], row["groups"]) for row in rows] == [(24, 6)] * 2 and rows[1]["verdict"] == "not enough data"
    assert "groups" in promptry.render_models(compare_models("quiz"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--by", "model", "quiz"], 0, "regressed"),
        (["quiz", "--by", "model", "--baseline", "b"], 0, "improved"),
        (["quiz", "b", "--by", "model"], 0, "improved"),
        (["--by", "model", "never"], 0, "No complete run"),
        (["--by", "model", "quiz", "--baseline", "x"], 2, "of the model 'x'"),
        (["--by", "model", "quiz", "a", "--baseline", "b"], 2, "Two models"),
        (["--by", "model", "quiz", "--format", "html"], 2, "no form for models"),
        (["--by", "prompt", "quiz"], 2, "--by"),
        (["--by", "model"], 2, "RUN"),
        (["2", "--baseline", "a"], 2, "--by model"),
    ],
)
def test_compare_by_model_from_the_command_line(
    words: list[str], code: int, said: str, world: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    quiz(world)
    run(world, "a")
    run(world, "b", 10)
    assert promptry.run_command(["compare", *words]) == code
    text = capsys.readouterr()
    assert said in text.out + text.err


def test_the_json_of_the_command_is_the_answer_and_can_be_written_to_a_file(
    world: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiz(world)
    run(world, "a")
    run(world, "b", 10)
    target = tmp_path / "models.json"
    assert promptry.run_command(["compare", "--by", "model", "quiz", "--json", "--output", str(target)]) == 0
    assert "baseline" in capsys.readouterr().out
    found = json.loads(target.read_text())
    assert [row["verdict"] for row in found["items"]] == [None, "regressed"]


def test_a_run_of_selected_cases_stands_for_no_model(world: dict[str, Any]) -> None:
    quiz(world)
    whole = run(world, "old", 6)
    run_suite("quiz", model_version="old", select="c01")
    assert [(row["run"]["id"], row["n"]) for row in compare_models("quiz")["items"]] == [(whole, 20)]
