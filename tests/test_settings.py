"""SETTINGS: a closed list of keys; what is misspelt is said, and what is broken never reaches production code."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import promptry

BAD: list[tuple[bytes, str, str]] = [
    # (promptry.toml, what the sentence holds, the hint)
    (b"[stor]\n", r"\[stor\] is no section", "Did you mean 'store'?"),
    (b"[banana]\n", r"\[banana\] is no section", ""),
    (b"[store]\npth = 'x'\n", r"\[store\] has no key 'pth'", "Did you mean 'path'?"),
    (b"[store]\nwait = 5\n", r"\[store\] has no key 'wait'", "Did you mean 'wait_ms'?"),
    (b"[store]\nsynchronos = 'FULL'\n", r"has no key 'synchronos'", "Did you mean 'synchronous'?"),
    (b"[run]\nmodul = 'x'\n", r"\[run\] has no key 'modul'", "Did you mean 'module'?"),
    (b"[run]\npath = 'x'\n", r"\[run\] has no key 'path'", ""),
    (b"store = 5\n", r"store is a section, not a value", ""),
    (b"[[store]]\npath = 'x'\n", r"store is a section", ""),
    (b"path = 'x'\n", r"\[path\] is no section", ""),
    (b"[store]\npath = 5\n", r"\[store\] path is 5; it takes text", ""),
    (b"[store]\nwait_ms = '250'\n", r"wait_ms is '250'; it takes a whole number", ""),
    (b"[store]\nwait_ms = 2.5\n", r"wait_ms is 2.5", ""),
    (b"[store]\nwait_ms = true\n", r"wait_ms is True", ""),
    (b"[store]\nwait_ms = -1\n", r"wait_ms is -1; it takes a whole number, 0 to 60000 milliseconds", ""),
    (b"[store]\nwait_ms = 60001\n", r"wait_ms is 60001", ""),
    (b"[store]\nsynchronous = 'OFF'\n", r"synchronous is 'OFF'; it takes NORMAL or FULL", ""),
    (b"[store]\npath = ''\n", r"path", ""),
    (b"[store\n", r"cannot be read", ""),
    (b"[store]\npath = \n", r"cannot be read.*line 2", ""),
    (b"[store]\npath = 'a'\npath = 'b'\n", r"cannot be read", ""),
    (b"[capture]\nsample_rate = 2\n", r"sample_rate is 2; it takes a share from 0 to 1", ""),
    (b"[capture]\nmask = 1\n", r"mask is 1; it takes true or false", ""),
    (b"[capture]\ntexts = true\n", r"\[capture\] has no key 'texts'", "Did you mean 'text'?"),
    (b"[capture]\nmax_chars = -1\n", r"max_chars is -1", ""),
    (b"[pricing]\ninput = 3\n", r"\[pricing\] input is 3", 'Write [pricing."input"]'),
    (b"[pricing.m]\ninpt = 3\n", r"has no key 'inpt'", "Did you mean 'input'?"),
    (b"[pricing.m]\ninput = -3\n", r"input is -3; it takes US dollars per million tokens", ""),
    (b"[pricing.m]\ninput = nan\n", r"input is nan", ""),
    (b"[pricing.m]\ninput = '3'\n", r"input is '3'", ""),
    (b"pricing = 3\n", r"pricing is a section", ""),
    (b"[budget]\nenforced = true\n", r"\[budget\] has no key 'enforced'", "Did you mean 'enforce'?"),
    (b"[budget]\nlease_s = 0\n", r"lease_s is 0; it takes seconds, 1 to 86400", ""),
    (b"[budget]\nif_unreadable = 'maybe'\n", r"if_unreadable is 'maybe'; it takes allow or refuse", ""),
    (b"[judge]\nmodle = 'x'\n", r"\[judge\] has no key 'modle'", "Did you mean 'model'?"),
    (b"[judge]\napi_key = 'x'\n", r"\[judge\] has no key 'api_key'", "Did you mean 'api_key_env'?"),
    (b"[judge]\ntemperature = 3\n", r"temperature is 3; it takes a number from 0 to 2", ""),
    (b"[judge]\nmax_tokens = 0\n", r"max_tokens is 0; it takes a whole number of tokens", ""),
    (b"[judge]\nmax_chars = -1\n", r"max_chars is -1", ""),
    (b"[judge]\ntimeout_s = 0\n", r"timeout_s is 0; it takes seconds, 1 to 3600", ""),
    (b"[monitor]\nevry = '1h'\n", r"\[monitor\] has no key 'evry'", "Did you mean 'every'?"),
    (b"[monitor]\nevery = '1 hour'\n", r"every is '1 hour'; it takes a time such as 30s, 15m, 1h or 1d", ""),
    (b"[monitor]\nevery = 60\n", r"every is 60; it takes a time", ""),
    (b"[monitor]\nwebhook_env = 'a b'\n", r"webhook_env is 'a b'; it takes the name of an environment variable", ""),
    (b"[monitor]\nwebhook_env = 'https://h/secret'\n", r"webhook_env is 'an address'; it takes the name", ""),
    (b"[monitor]\ncommand = ''\n", r"command is ''", ""),
    (b"[dashboard]\nprot = 1\n", r"\[dashboard\] has no key 'prot'", "Did you mean 'port'?"),
    (b"[dashboard]\nport = 65536\n", r"port is 65536; it takes a port, 0 to 65535", ""),
    (b"[dashboard]\nhosts = 'a'\n", r"hosts is 'a'; it takes a list of names", ""),
    (b"\xff\xfe\x00", r"cannot be read", ""),
    (b"\x00", r"cannot be read", ""),
]
bad_files = pytest.mark.parametrize(("text", "said", "hint"), BAD, ids=[repr(text) for text, *_ in BAD])


@bad_files
def test_a_file_that_cannot_be_meant_is_an_error_with_the_nearest_spelling(
    tmp_path: Path, text: bytes, said: str, hint: str
) -> None:
    file = tmp_path / "promptry.toml"
    file.write_bytes(text)
    with pytest.raises(promptry.ConfigError, match=said) as caught:
        promptry.settings()
    assert str(file) in str(caught.value) and caught.value.exit_code == 2
    assert hint in caught.value.hint


@pytest.mark.slow
@bad_files
def test_a_broken_file_never_raises_out_of_the_hot_path(
    tmp_path: Path, text: bytes, said: str, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "promptry.toml").write_bytes(text)
    with caplog.at_level(logging.ERROR, "promptry"):
        for _ in range(3):
            assert promptry.track("Hello $who", "greeting") == "Hello $who"
            assert promptry.track_invocation("greeting") is not None
            assert promptry.render_prompt("greeting", "default", who="Ada") == "Hello Ada"
        promptry.seed_prompt("other", "Hello")
    assert len([record for record in caplog.records if "promptry.toml is ignored" in record.getMessage()]) == 1
    assert (tmp_path / ".promptry" / "store.db").exists(), "the store stays where the file is"


@bad_files
def test_the_command_line_says_it_in_one_sentence_and_exits_2(
    tmp_path: Path, text: bytes, said: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "promptry.toml").write_bytes(text)
    for words in (["prompt", "list"], ["calls"], ["run"]):
        assert promptry.run_command(words) == 2
        out = capsys.readouterr()
        assert not out.out and len(out.err.splitlines()) == 1 and "promptry.toml" in out.err
    assert promptry.run_command(["doctor"]) == 1
    assert "fault" in capsys.readouterr().out


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert promptry.settings() == promptry.Settings()
    assert promptry.settings()[2:] == (
        250,
        "NORMAL",
        "evals",
        None,
        *(None, None, None),
        1,
        None,
        (),
        False,
        1.0,
        1.0,
        50_000,
        True,
        False,
        600.0,
        "allow",
        *(None,) * 6,
        100_000,
        120.0,
        *("1h", None, None, None),
        *(None, None),
        *("127.0.0.1", 8420, ()),
        (),
    )


def test_an_empty_file_is_a_file_with_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "promptry.toml").write_text("")
    assert promptry.settings() == promptry.Settings(file=tmp_path / "promptry.toml")


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "promptry.toml").write_text(
        '[store]\npath = "a.db"\nwait_ms = 0\nsynchronous = "full"\n[run]\nmodule = "checks"\npython = "py"\n'
        'embedder = "e"\nembedder_url = "http://h/v1"\nembedder_key_env = "KEY"\n'
        'concurrency = 8\ntimeout_s = 2.5\nflaky = ["qa/a", "qa/b"]\n'
        "[capture]\ntext = true\nsample_rate = 0\ncontext_sample_rate = 0.5\nmax_chars = 0\nmask = false\n"
        '[budget]\nenforce = true\nlease_s = 5\nif_unreadable = "REFUSE"\n'
        '[judge]\nprovider = "openai"\nmodel = "m"\nbase_url = "http://h"\napi_key_env = "K"\ntemperature = 0\n'
        "max_tokens = 9\nmax_chars = 0\ntimeout_s = 5\n"
        '[monitor]\nevery = "15m"\ncompare = "prod"\nwebhook_env = "HOOK"\ncommand = "say it"\n'
        '[remote]\nurl = "http://hub:1"\ntoken_env = "HUB"\n'
        '[dashboard]\nhost = "::1"\nport = 0\nhosts = ["a.lan", "b.lan:1"]\n'
        '[pricing."my/model"]\ninput = 3\noutput = 1.5\n'
    )
    embedder = ("e", "http://h/v1", "KEY")
    first = (tmp_path / "promptry.toml", "a.db", 0, "FULL", "checks", "py", *embedder, 8, 2.5, ("qa/a", "qa/b"))
    pricing = (("my/model", {"input": 3, "output": 1.5}),)
    judge, remote = ("openai", "m", "http://h", "K", 0, 9, 0, 5), ("http://hub:1", "HUB")
    monitor = ("15m", "prod", "HOOK", "say it")
    rest = (True, 0, 0.5, 0, False, True, 5, "refuse", *judge, *monitor, *remote, "::1", 0, ("a.lan", "b.lan:1"))
    assert promptry.settings() == promptry.Settings(*first, *rest, pricing)


def test_the_file_is_read_once_until_it_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "promptry.toml"
    file.write_text("[store]\nwait_ms = 1\n")
    assert promptry.settings().wait_ms == 1
    file.write_text("[store]\nwait_ms = 2\n")
    assert promptry.settings().wait_ms == 1
    promptry.forget_settings()
    assert promptry.settings().wait_ms == 2


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "promptry.toml").write_bytes(b"\xef\xbb\xbf[store]\nwait_ms = 7\n")
    assert promptry.settings().wait_ms == 7


def test_a_folder_of_that_name_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "promptry.toml").mkdir()
    assert promptry.settings().file is None


def test_a_current_folder_that_is_gone_breaks_nothing(tmp_path: Path, run_python: Any) -> None:
    run_python(
        """
        import os, sys, tempfile, promptry
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        os.rmdir(folder)
        assert promptry.track("A", "p") == "A"
        assert promptry.track_invocation("p")
        assert promptry.render_prompt("p", "default") == "A"
        """
    )
    assert (Path.home() / ".promptry" / "store.db").exists()


def test_programs_that_are_not_ours_get_the_environment_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_PYI_APPLICATION_HOME_DIR", "/tmp/_MEI")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/tmp/_MEI")
    monkeypatch.setenv("LD_LIBRARY_PATH_ORIG", "/usr/lib/own")
    plain = promptry.outside_environment()
    assert plain["LD_LIBRARY_PATH"] == "/tmp/_MEI" and "_PYI_APPLICATION_HOME_DIR" not in plain
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert promptry.outside_environment()["LD_LIBRARY_PATH"] == "/usr/lib/own"
    monkeypatch.delenv("LD_LIBRARY_PATH_ORIG")
    assert "LD_LIBRARY_PATH" not in promptry.outside_environment()
    assert os.environ["LD_LIBRARY_PATH"] == "/tmp/_MEI"
