"""The broken builds: each still breaks the line that it is about. That the judge catches them: `make chaos-mutants`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.chaos.mutants import MUTANTS, copy_of


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_the_tree_with_one_line_broken(name: str, tmp_path: Path) -> None:
    """What it changes is there, once, and what comes of it is Python."""
    mutant = MUTANTS[name]
    source = copy_of(mutant, tmp_path / name)
    text = (source / mutant.file).read_text()
    assert mutant.new in text
    ast.parse(text)
