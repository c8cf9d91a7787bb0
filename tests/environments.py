"""Environments for packages of others, made as the Makefile makes ours: without pip, by a Python that has it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

_QUIET = ("--quiet", "--no-input", "--disable-pip-version-check")


def base_python() -> str:
    """Return the interpreter that our own environment was made with."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


def making(folder: Path, packages: Sequence[str]) -> list[list[str]]:
    """Return the commands that make an environment in a folder with these packages, or what else pip is to install."""
    python = str(folder / "bin" / "python")
    return [
        [base_python(), "-m", "venv", "--clear", "--without-pip", str(folder)],
        [base_python(), "-m", "pip", "--python", python, "install", *_QUIET, *packages],
    ]
