"""Logs: one way out for all, and nothing in them that a person wrote or a token."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pymongo.errors import DuplicateKeyError

from shared.logs import configure_logs, describe_failure


@pytest.fixture(name="stream")
def _stream() -> Iterator[io.StringIO]:
    """Yield where logs go, with all as it was afterwards."""
    root = logging.getLogger()
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()
    stream = io.StringIO()
    configure_logs("json", "info", stream, node="n1")
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return what was logged."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_are_json_with_time_level_and_node(stream: io.StringIO) -> None:
    """One line is one event with its fields, the node's name and the time in UTC."""
    structlog.get_logger("shared.bus").info("bus_connected", attempt=2)
    (line,) = lines(stream)
    assert line.items() >= {"event": "bus_connected", "level": "info", "attempt": 2, "node": "n1"}.items()
    assert line["timestamp"].endswith("Z")


def test_whatever_is_logged_is_a_line(stream: io.StringIO) -> None:
    """Values that JSON has no word for do not raise: half a pair of surrogates, a huge number, an object, a key."""
    for value in ("\ud800", 1 << 80, {1, 2}, ValueError("x"), {(1, 2): 3}):
        structlog.get_logger().info("odd_value", value=value)
    assert [line["event"] for line in lines(stream)] == ["odd_value"] * 5
    stream.close()
    structlog.get_logger().info("nobody_reads")


def test_the_standard_librarys_logs_go_the_same_way(stream: io.StringIO) -> None:
    """Libraries that log by themselves end in the same lines; their chatter below WARNING does not."""
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 1)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    (line,) = lines(stream)
    assert line.items() >= {"event": "Invalid HTTP request received.", "logger": "uvicorn.error", "node": "n1"}.items()


def test_below_the_level_nothing_is_logged(stream: io.StringIO) -> None:
    """The level of the settings holds for our own loggers."""
    structlog.get_logger().debug("frame_received")
    assert lines(stream) == []


@pytest.mark.parametrize("name", ["content", "token", "password", "authorization", "secret"])
def test_contents_and_tokens_never_reach_a_log(stream: io.StringIO, name: str) -> None:
    """A field of such a name is emptied, whoever logs it."""
    structlog.get_logger().warning("send_refused", **{name: "private"})
    logging.getLogger("other").warning("refused", extra={name: "private"})
    assert "private" not in stream.getvalue()
    assert [line[name] for line in lines(stream)] == ["[not logged]"] * 2


def test_a_failure_tells_its_places_and_causes_but_no_documents(stream: io.StringIO) -> None:
    """The chain of causes is logged with file and line; what a driver says quotes the document and is left out."""

    def store() -> None:
        raise DuplicateKeyError("dup key: { content: 'private' }")

    def commit() -> None:
        try:
            store()
        except DuplicateKeyError as error:
            raise ValueError("not stored") from error

    try:
        commit()
    except ValueError:
        structlog.get_logger().exception("commit_failed")
    (line,) = lines(stream)
    assert line["exception"].startswith("builtins.ValueError: not stored\n")
    assert "caused by pymongo.errors.DuplicateKeyError: [not logged]" in line["exception"]
    assert "test_logs.py" in line["exception"]
    assert "private" not in stream.getvalue()


def test_a_group_of_failures_tells_each() -> None:
    """What a TaskGroup raises is described member by member."""
    text = describe_failure(ExceptionGroup("two", [KeyError("a"), OSError("b")]))
    assert "with builtins.KeyError: 'a'" in text
    assert "with builtins.OSError: b" in text
