"""The load on a running Starling: whatever they do, everything is heard once and in order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.process import free_port
from tests.local.test_run import ROOT, running

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Starling as `make run` does, without limits."""
    with running(free_port(), tmp_path_factory.mktemp("data")) as run:
        run.read_until("starling is ready")
        yield run.url


@pytest.fixture(scope="module")
def people(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of people who were made once, by a run in which they do nothing."""
    path = tmp_path_factory.mktemp("people") / "people.json"
    path.touch()  # it holds tokens: nobody else may read it, also where it was there
    done = load(url, "--users", "8", "--group-size", "4", "--profile", "idle", "--keep", str(path))
    assert done.returncode == 0, done.stderr
    assert path.stat().st_mode & 0o077 == 0
    return path


def load(url: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the program for a short while."""
    command = [sys.executable, "-m", "deploy.load", "--url", url, "--minutes", "0.03", "--workers", "2", *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("profile", ["chat", "storm", "mixed"])
def test_everybody_hears_everything_once(url: str, people: Path, tmp_path: Path, profile: str) -> None:
    """Whatever the profile, each message is heard by each member once and in order, and the result says so."""
    more = ("--rate", "40", "--pages", "20", "--storm-every", "0.7", "--churn", "5", "--out", str(tmp_path))
    done = load(url, "--people", str(people), "--profile", profile, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads((tmp_path / "result.json").read_text())
    part = result["parts"][-1]
    assert part["sent"] == part["acked"] > 0
    if profile == "chat":
        assert part["delivered"] == 4 * part["sent"]
        assert part["latencies"]["deliveries"]["count"] == part["delivered"]
    if profile == "mixed":
        assert part["pages"] == part["latencies"]["pages"]["count"] > 0
    if profile == "storm":
        assert result["counts"]["resumed"] >= 8


def test_pairs_talk_in_direct_channels(url: str) -> None:
    """Two users each open a direct channel and hear one another."""
    done = load(url, "--users", "4", "--profile", "pairs", "--rate", "20")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost 0, doubled 0, out of order 0, uninvited 0" in done.stdout


def test_who_can_not_begin_says_so(tmp_path: Path) -> None:
    """A server that is not there, or people who are not, end it with 2 and a word."""
    done = load("http://127.0.0.1:9", "--people", str(tmp_path / "nobody.json"))
    assert done.returncode == 2
    assert done.stderr.startswith("load: ")
    done = load("http://127.0.0.1:9", "--users", "3", "--group-size", "4")
    assert done.returncode == 2
    assert "groups of 4" in done.stderr
