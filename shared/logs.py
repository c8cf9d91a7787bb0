"""Logs: the one place where structlog and the standard library's logging are configured.

Ring 2. JSON lines, or coloured lines on a terminal; uvicorn, aiormq, motor and all others go the same way.
Contents and tokens never reach a log: fields with such names are emptied here, and so is what an
exception of a driver says, since drivers quote the document. Event names are constant and past tense.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.tracebacks import extract

_SECRET_FIELDS = frozenset({"authorization", "body", "content", "password", "secret", "text", "token"})
_QUOTING_ROOTS = frozenset({"bson", "msgspec", "pydantic", "pydantic_core", "pymongo"})
_MESSAGE_CHARACTERS = 300
_encode = msgspec.json.Encoder(enc_hook=repr).encode
_FRAMES = 12  # the innermost: what is above is the framework's
_QUIET_LOGGERS = ("aiormq", "asyncio", "httpcore", "httpx", "pymongo", "uvicorn")


def configure_logs(
    log_format: Literal["auto", "json", "console"] = "auto",
    level: Literal["debug", "info", "warning", "error"] = "info",
    stream: TextIO | None = None,
    **fields: str,
) -> None:
    """Send every log of this process to `stream` (standard error), each line with `fields`.

    A second call replaces the first. Libraries are heard from WARNING upward.
    """
    out = stream or sys.stderr
    console = log_format == "console" or (log_format == "auto" and out.isatty())

    def add_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in fields.items():
            event.setdefault(name, value)
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_fields,
        _empty_secrets,
        _tell_failure,
    ]
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(colors=out.isatty()) if console else _json_of
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET_LOGGERS:
        quiet = logging.getLogger(name)
        quiet.handlers.clear()
        quiet.propagate = True
        quiet.setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        logger_factory=lambda name="starling": _Lines(name, out),
        cache_logger_on_first_use=False,
    )


class _Lines:
    """Writes lines: where our own logs end, past the standard library's records, which cost four times as much.

    A connection has two lines, so that many joins are many lines.
    """

    def __init__(self, name: str, out: TextIO) -> None:
        self.name = name
        self._out = out

    def msg(self, line: str) -> None:
        """Write a line at once; one that can't be written harms nobody."""
        with suppress(OSError, ValueError):
            self._out.write(f"{line}\n")
            self._out.flush()

    debug = info = warning = error = critical = exception = msg


def _json_of(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    try:
        return _encode(event).decode()
    except (TypeError, ValueError, OverflowError):  # half a surrogate pair, say
        return json.dumps(event, default=repr, skipkeys=True)


def _empty_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    for name in _SECRET_FIELDS & event.keys():
        event[name] = "[not logged]"
    return event


def _tell_failure(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Replace `exc_info` by `exception`: the chain of causes, innermost last, with places but no values."""
    failure = event.pop("exc_info", None)
    if failure is True:
        failure = sys.exc_info()[1]
    elif isinstance(failure, tuple):
        failure = failure[1]
    if isinstance(failure, BaseException):
        event["exception"] = describe_failure(failure)
    return event


def message_of(failure: BaseException) -> str:
    """Return what an exception says of itself, bounded; nothing of one whose library quotes documents."""
    quoting = type(failure).__module__.partition(".")[0] in _QUOTING_ROOTS
    return "[not logged]" if quoting else str(failure)[:_MESSAGE_CHARACTERS]


def describe_failure(failure: BaseException) -> str:
    """Return an exception, its causes and its group's members as text: types, places, and short messages.

    Messages of libraries that quote documents are left out.
    """
    lines: list[str] = []
    pending: list[tuple[str, BaseException]] = [("", failure)]
    seen: set[int] = set()
    while pending:
        how, one = pending.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        kind = type(one)
        lines.append(f"{how}{kind.__module__}.{kind.__qualname__}: {message_of(one)}")
        trace = extract(kind, one, one.__traceback__, show_locals=False)
        lines.extend(f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in trace.stacks[0].frames[-_FRAMES:])
        if isinstance(one, BaseExceptionGroup):
            pending[:0] = [("with ", member) for member in one.exceptions]
        if one.__cause__ is not None:
            pending.append(("caused by ", one.__cause__))
        elif one.__context__ is not None and not one.__suppress_context__:
            pending.append(("while handling ", one.__context__))
    return "\n".join(lines)
