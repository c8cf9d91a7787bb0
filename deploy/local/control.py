"""How a running cluster is spoken to: a socket that it listens on, and `make cluster-restart` which asks there.

Deployment code: `python -m deploy.local.control --data .data --restart gateway-1`. One question per connection: a line
with a name; one line of JSON answers, `{ok, text}`. The socket's path is in cluster.json; it is in a folder of its own
below the system's for temporary files, because the path of a data folder may be too long for a socket's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.local.folder import STATUS, Refused

_QUESTION_S = 5.0
_ANSWER_S = 150.0

Restart = Callable[[str], Awaitable[str]]
"""Restarts a process by its name and returns what to tell. Raises `Refused`."""


def write_status(data: Path, status: dict[str, Any]) -> None:
    """Replace `data`/cluster.json in one step: a reader sees the old or the new, never half of one."""
    part = data / f"{STATUS}.part"
    part.write_text(json.dumps(status, indent=2) + "\n")
    os.replace(part, data / STATUS)


@asynccontextmanager
async def open_control(restart: Restart) -> AsyncIterator[str]:
    """Serve questions; yield the socket's path."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_QUESTION_S):
                name = (await reader.readline()).decode().strip()
            said = {"ok": True, "text": await restart(name)}
        except Refused as refusal:
            said = {"ok": False, "text": str(refusal)}
        except (TimeoutError, ValueError, OSError):
            said = {"ok": False, "text": "no question"}
        writer.write(json.dumps(said).encode() + b"\n")
        writer.close()

    folder = tempfile.mkdtemp(prefix="starling-control-")  # for us alone: 0700
    try:
        path = f"{folder}/socket"
        async with await asyncio.start_unix_server(answer, path):
            yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ask_restart(data: Path, name: str) -> str:
    """Have the cluster on `data` restart one process; return what it says. Raises `Refused`."""
    try:
        path = json.loads((data / STATUS).read_text())["control"]
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_S)
            connection.connect(path)
            connection.sendall(f"{name}\n".encode())
            with connection.makefile() as answer:
                said = json.loads(answer.readline() or '{"ok": false, "text": "the cluster ended meanwhile"}')
    except TimeoutError as error:
        raise Refused(f"the cluster on {data} did not answer within {_ANSWER_S:g} s") from error
    except (OSError, KeyError, ValueError) as error:
        raise Refused(f"no cluster runs on {data}; start one: make cluster DATA={data}") from error
    if not said["ok"]:
        raise Refused(said["text"])
    text: str = said["text"]
    return text


def main() -> int:
    """Restart one process of the cluster on a data folder: 0, or 1 with the reason."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.control", description="Speak to a running cluster.")
    parser.add_argument("--data", type=Path, default=Path(".data"), help="the cluster's folder (.data)")
    parser.add_argument("--restart", required=True, metavar="NAME", help="the process to restart, such as gateway-1")
    chosen = parser.parse_args()
    try:
        print(ask_restart(chosen.data.resolve(), chosen.restart))
    except Refused as refusal:
        print(f"starling: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
