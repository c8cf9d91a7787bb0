"""The lock files: everything pinned with hashes, nothing about where it came from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LOCKS = ["requirements.lock", "requirements-embedded.lock", "requirements-bench.lock", "requirements-dev.lock"]


def entries(name: str) -> dict[str, str]:
    """Return the text of each requirement by its name."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    return {re.split(r"[=<>;\s]", line, maxsplit=1)[0]: line for line in text.splitlines() if line}


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_with_hashes(name: str) -> None:
    """What is installed is byte for byte what was tested."""
    assert entries(name)
    for line in entries(name).values():
        assert re.match(r"[a-z0-9-]+==\S+ ", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_file_names_where_packages_come_from(name: str) -> None:
    """Installing works from any index or mirror: no host, no index option, no local path."""
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"index|find-links|trusted-host|file:|/", text)


def test_the_lock_files_hold_what_the_project_asks_for() -> None:
    """Each requirement of pyproject.toml is in the lock file of its environment, and each environment in the next."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [project["dependencies"], extras["embedded"], extras["bench"], extras["dev"]]
    before: set[str] = set()
    for name, requirements in zip(LOCKS, wanted, strict=True):
        locked = set(entries(name))
        asked = {re.split(r"[=<>\[;\s]", one, maxsplit=1)[0] for one in requirements}
        assert asked | before <= locked
        before = locked
