"""DOCUMENTS: YAML is read with its places, doubtful words are refused, and what is written reads back the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import promptry
from promptry import ConfigError, HelperMissing


def read(folder: Path, text: str | bytes) -> Any:
    """Return what a YAML text holds; raises ConfigError."""
    file = folder / "x.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    reading, root = promptry.read_document(file, "x.yaml")
    value = promptry.value_in(reading, root)
    reading.check()
    return value


def fault_in(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return str(caught.value)


VALUES = [
    ("a: 1\nb: [x, 'y', \"z\"]\n", {"a": 1, "b": ["x", "y", "z"]}),
    ("a: 1e3\nb: -0.5\nc: .5\nd: 0\n", {"a": 1000.0, "b": -0.5, "c": 0.5, "d": 0}),
    ("a: true\nb: True\nc: FALSE\n", {"a": True, "b": True, "c": False}),
    ("d: null\ne: ~\nf:\n", {"d": None, "e": None, "f": None}),
    ("a: 'no'\nb: \"010\"\nc: !!str 5\nd: ! 6\n", {"a": "no", "b": "010", "c": "5", "d": 6}),
    ("a: |\n  one\n  two\nb: >\n  one\n  two\n", {"a": "one\ntwo\n", "b": "one two\n"}),
    ("a: 2024-01-01\nb: 1.2.3.x\nc: a@b.com\n", {"a": "2024-01-01", "b": "1.2.3.x", "c": "a@b.com"}),
    ("a: &x {k: 1}\nb: *x\nc: {<<: *x, l: 2}\nd: {<<: [*x, {m: 3}], k: 4}\n",
     {"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 1, "l": 2}, "d": {"k": 4, "m": 3}}),
    (b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
    ('{"json": [1, {"is": "yaml"}]}', {"json": [1, {"is": "yaml"}]}),
    ("---\na: 1\n...\n", {"a": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_a_document_is_read_as_the_yaml_of_today_has_it(tmp_path: Path, text: str | bytes, value: Any) -> None:
    assert read(tmp_path, text) == value


DOUBTFUL = [
    "no",
    "Yes",
    "on",
    "OFF",
    "y",
    "010",
    "1_000",
    "12:30",
    "0x1F",
    "0o17",
    ".inf",
    "-.INF",
    ".nan",
    "1.2.3",
    "08",
]


@pytest.mark.parametrize("word", DOUBTFUL)
def test_a_word_that_readers_do_not_agree_on_is_no_value_but_is_a_text(tmp_path: Path, word: str) -> None:
    assert fault_in(tmp_path, f"a:\n  - {word}\n").startswith(
        f"x.yaml:2:5: Readers of YAML do not agree on what {word} is."
    )
    assert read(tmp_path, f"a: '{word}'") == {"a": word}
    node = promptry.Node("plain", 1, 1, word)
    assert promptry.is_text(node) and promptry.certain_value(node) == word


FAULTS = [
    ("", "x.yaml:1:1: The file holds nothing."),
    ("# only words\n", "x.yaml:1:1: The file holds nothing."),
    ("a: 1\nb: 2\na: 3\n", "x.yaml:3:1: The key 'a' stands here twice; first in line 1."),
    ("a:\n\tb: 1\n", "x.yaml:2:1: This is no YAML: found character that cannot start any token"),
    ("a: [1, 2\n", "x.yaml:2:1: This is no YAML: did not find expected ',' or ']'"),
    ("a: b: c\n", "x.yaml:1:5: This is no YAML: mapping values are not allowed"),
    (b"a: 1\nb: \xff\n", "x.yaml:2:4: This is no UTF-8."),
    (b"\xff\xfea\x00", "x.yaml:1:1: This is no UTF-8."),
    ("a: \x00", "x.yaml:1:4: This is no YAML: control characters are not allowed."),
    ("a: 1\n---\nb: 2\n", "x.yaml:2:1: A second document begins here. A file holds one."),
    ("a: &x 1\nb: *y\n", "x.yaml:2:4: There is no &y above that *y could repeat."),
    ("a: &x [*x]\n", "x.yaml:1:8: There is no &x above that *x could repeat."),
    ("a: !!python/object:os.system [x]\n", "x.yaml:1:4: The tag !!python/object:os.system is not read."),
    ("a: !env HOME\n", "x.yaml:1:4: The tag !env is not read."),
    ("? [a]\n: 1\n", "x.yaml:1:3: A key is a text."),
    ("a: {<<: 5}\n", "x.yaml:1:9: << takes an alias of a map, or a list of such."),
    ("a: " + "[" * 101 + "]" * 101, "x.yaml:1:102: This is nested deeper than 100 levels."),
    ("a: " + "[" * 50_000, "x.yaml:1:"),
    ("a: " + "{b: " * 2_000, "x.yaml:1:"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), FAULTS, ids=[f"{at}" for at in range(len(FAULTS))])
def test_what_is_wrong_is_told_with_line_and_column(tmp_path: Path, text: str | bytes, fault: str) -> None:
    assert fault_in(tmp_path, text).startswith(fault)


def test_advice_stands_with_the_faults_that_people_make(tmp_path: Path) -> None:
    assert "indented by spaces, not by tabs" in fault_in(tmp_path, "a:\n\tb: 1\n")
    assert "Quote a value that holds a colon and a space" in fault_in(tmp_path, "provider: python: mod:fn\n")


def test_aliases_that_grow_without_end_are_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, 9)]
    assert "Aliases repeat more than 100,000 values." in fault_in(tmp_path, "\n".join(lines))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    with file.open("wb") as opened:
        opened.truncate(10_000_001)
    with pytest.raises(ConfigError, match="has 10,000,001 bytes; at most 10,000,000 are read"):
        promptry.read_document(file, "x.yaml")
    with pytest.raises(ConfigError, match="no.yaml cannot be read: No such file"):
        promptry.read_document(tmp_path / "no.yaml", "no.yaml")


def test_all_faults_are_told_at_once_and_not_more_than_can_be_read(tmp_path: Path) -> None:
    told = fault_in(tmp_path, "".join(f"k{at}: no\n" for at in range(30)))
    assert told.startswith("x.yaml has 30 faults:\nx.yaml:1:5: ") and told.endswith("\n... and 10 more.")
    assert len(told.split("\n")) == 22


def test_without_the_package_one_sentence_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(HelperMissing, match="pyyaml"):
        read(tmp_path, "a: 1")


def test_the_reader_in_python_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    monkeypatch.delattr(yaml, "CSafeLoader")
    for text, value in VALUES:
        assert read(tmp_path, text) == value
    assert fault_in(tmp_path, "a: 1\nb: 2\na: 3\n").startswith("x.yaml:3:1: The key 'a'")


LEAVES = (
    some.none() | some.booleans() | some.integers(-(10**6), 10**6) | some.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = some.text(alphabet=some.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), include_characters="\n"))
WORDS = TEXTS | some.sampled_from(
    [*DOUBTFUL, "true", "null", "~", "1", "1e3", "<<", "=", "- a", "a: b", " a", "a ", "#", ""]
)
DOCUMENTS = some.recursive(
    LEAVES | WORDS,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(some.dictionaries(WORDS, DOCUMENTS, min_size=1, max_size=4))
def test_what_is_written_reads_back_the_same(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    import yaml

    text = promptry.write_yaml(value)
    assert read(tmp_path_factory.getbasetemp(), text) == value
    assert yaml.safe_load(text) == value


def test_what_several_places_share_is_written_once() -> None:
    shared = [{"contains": "a"}]
    assert promptry.write_yaml({"a": shared, "b": shared}).count("contains") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"none\.txt cannot be read: No such file or directory$"),
        (b"\xff", r"none\.txt cannot be read: 'utf-8' codec can't decode"),
        (b"x" * (promptry.MAX_FILE_BYTES + 1), r"none\.txt is larger than 10,000,000 bytes$"),
    ],
)
def test_a_file_that_a_document_names_and_cannot_be_read_is_said(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "none.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(promptry.WrongUse, match=said):
        promptry.text_of_file(file)
    file.write_bytes(b"\xef\xbb\xbf" + "ä".encode())
    assert promptry.text_of_file(file) == "ä", "without the mark of its bytes' order"
