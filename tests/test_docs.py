"""The documents are true where a machine can tell: tables, links, names of files, and the examples of the README."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.process import free_port
from docs.generate import DOCS, generated
from tests.local.test_run import ROOT, running
from tests.missing import go_without

DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
DECISIONS = sorted(DOCS.glob("adr/*.md"))
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FILE = re.compile(r"`([\w./*-]+/[\w.*-]*)`")
_TRIED = re.compile(r"<!-- try: ([\w.]+) -->\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def prose_of(document: Path) -> str:
    """Return a document without its examples."""
    return _FENCED.sub("", document.read_text())


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that a forge makes of a document's headings."""
    headings = _HEADING.findall(prose_of(document))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_tables_are_what_the_code_says() -> None:
    """Opcodes, close codes, errors, routes, limits, topology, collections, settings and metrics are never stale."""
    for document in DOCS.glob("*.md"):
        text = document.read_text()
        assert generated(text) == text, f"{document.name} is stale: run python -m docs.generate"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file or folder that is there, and a heading in it."""
    for link in _LINK.findall(prose_of(document)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize(
    "document", [DOCS / "ARCHITECTURE.md", DOCS / "operations.md", *DECISIONS], ids=lambda p: p.name
)
def test_files_that_are_named_exist(document: Path) -> None:
    """A newcomer who looks for a file that a document names finds it."""
    names = [name for name in _FILE.findall(prose_of(document)) if name.split("/")[0] in tops()]
    assert names or document.name == "operations.md"
    for name in names:
        assert any(ROOT.glob(name.rstrip("/"))), name


def tops() -> Iterator[str]:
    """Yield the folders at the root, so that paths of URLs and of data folders are told from files of ours."""
    return (path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_short_and_held_by_a_test(decision: Path) -> None:
    """An ADR has at most 60 lines, its four parts, and ends with a test that is there."""
    text = decision.read_text()
    lines = text.splitlines()
    assert len(lines) <= 60
    for part in ("## Context", "## Decision", "## Consequences", "## Held by"):
        assert part in lines
    tests = re.findall(r"`(tests/[\w/]+\.py)`", text.partition("## Held by")[2])
    assert tests
    assert [name for name in tests if not (ROOT / name).is_file()] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    """0001, 0002, 0003 and so on; each says so in its title."""
    for number, decision in enumerate(DECISIONS, 1):
        assert decision.name.startswith(f"{number:04d}-")
        assert decision.read_text().startswith(f"# {number}. ")


@pytest.mark.servers
async def test_the_examples_work(tmp_path: Path) -> None:
    """Who copies them onto a fresh `make run` sees what they say."""
    if shutil.which("curl") is None:
        go_without("curl is not on the PATH (Debian package curl)")
    examples = dict(_TRIED.findall((ROOT / "README.md").read_text() + (DOCS / "webhooks.md").read_text()))
    port = free_port()
    for name in examples:
        examples[name] = examples[name].replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    with running(port, tmp_path / "data") as run:
        await asyncio.to_thread(run.read_until, "starling is ready")
        read = 'curl -s "$API/channels/$CHANNEL/messages?limit=2" -H "Authorization: $ADA"'
        shown = f"""echo; {read} | pick '[1]["content"]'; {read} | pick '[0]["embeds"][0]["fields"][0]["value"]'"""
        script = "\n".join([*(examples[name] for name in ("shell", "webhook", "curl", "slack")), shown])
        shell = ["bash", "-euc", script]
        said = await asyncio.to_thread(subprocess.run, shell, capture_output=True, text=True, timeout=60, check=False)
        lines_said = ["Garden", "1", "Hello, Ada", "ok", "Build 5 of main is red", "main"]
        assert said.stdout.splitlines() == lines_said, said.stderr
        program = tmp_path / "talk.py"
        program.write_text(examples["talk.py"])
        command = (sys.executable, str(program), "ben", "correct horse battery", "Good", "morning")
        talk = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        try:
            async with asyncio.timeout(60):
                assert talk.stdout is not None
                lines = {(await talk.stdout.readline()).decode().partition(" {")[0].strip() for _ in range(2)}
        finally:
            talk.kill()
            await talk.wait()
    assert lines == {"ben says Good morning", "stored as"}
