"""The line protocol of a bot process, for the bots in Python. Runs in libraries' environments: standard library only.

Read from stdin: `{"id": 1, "do": "send", ...arguments}`. Written to stdout: `{"id": 1, "ok": value}` or `{"id": 1,
"error": text}`, and `{"event": name, ...}` for whatever the library tells by itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Verb = Callable[..., Awaitable[Any]]


def tell(event: str, **facts: Any) -> None:
    """Tell something that happened."""
    _write({"event": event, **facts})


def tell_dispatch(t: str, s: int | None, d: Any) -> None:
    """Tell a dispatch as it came off the wire, below whatever the library makes of it."""
    facts = d if isinstance(d, dict) else {}
    tell("dispatch", t=t, s=s, message=facts.get("id"), content=facts.get("content"), seq=facts.get("seq"))


async def serve(verbs: Mapping[str, Verb]) -> None:
    """Do what is asked for, each as a task of its own, until stdin ends."""
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        asked = json.loads(line)
        task = asyncio.create_task(_answer(asked.pop("id"), verbs[asked.pop("do")], asked))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _answer(number: int, verb: Verb, arguments: Mapping[str, Any]) -> None:
    try:
        _write({"id": number, "ok": await verb(**arguments)})
    except Exception as error:
        _write({"id": number, "error": f"{type(error).__name__}: {error}"})


def _write(line: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
