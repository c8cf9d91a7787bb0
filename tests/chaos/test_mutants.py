"""The broken builds: each still breaks the line that it is about. That the judge catches them: `make chaos-mutants`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.mutants import MUTANTS, copy_of


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_the_tree_with_one_line_broken(name: str, tmp_path: Path) -> None:
    """What it changes is there, once, and what comes of it is Python without unknown names."""
    mutant = MUTANTS[name]
    source = copy_of(mutant, tmp_path / name)
    assert mutant.new in (source / mutant.file).read_text()
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E9,F821", mutant.file]
    told = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stdout
