"""RECORDS: what the ledgers hold, as text for people."""

from __future__ import annotations

from pathlib import Path

import promptry


def test_a_diff_of_equal_texts_says_so(store: Path) -> None:
    promptry.save_prompt("p", "x")
    assert "equal" in promptry.render_diff(promptry.diff_prompts("p", 1, 1))
