"""The table that a comparison ends with."""

from __future__ import annotations

import pytest

from tests.bench.table import Promise, Row, table_of, verdicts_of

HEADINGS = {"limit": "send()", "socket.io": "Socket.IO", "starling": "Starling"}


@pytest.mark.parametrize(
    ("promise", "row", "is_met"),
    [
        (Promise(7.0), {"starling": 7.0}, True),
        (Promise(7.0), {"starling": 7.1}, False),
        (Promise(1.5, "limit"), {"starling": 15.0, "limit": 10.0}, True),
        (Promise(1.5, "limit"), {"starling": 15.1, "limit": 10.0}, False),
        (Promise(0.5, "socket.io", at_least=True), {"starling": 500.0, "socket.io": 1000.0}, True),
        (Promise(0.5, "socket.io", at_least=True), {"starling": 499.0, "socket.io": 1000.0}, False),
        (Promise(0.5, "socket.io", at_least=True), {"starling": 500.0}, None),
        (Promise(7.0), {}, None),
    ],
)
def test_a_promise_is_kept_up_to_its_bound(promise: Promise, row: dict[str, float], is_met: bool | None) -> None:
    """The bound itself keeps it, and a missing figure says neither yes nor no."""
    assert promise.is_met(row) is is_met


def test_the_table_shows_figures_ratios_and_verdicts() -> None:
    """Ours over the limit's and the peer's, must and aim with met or not, and a dash for what is missing."""
    rows = [
        Row("cpu", "CPU us", Promise(1.5, "limit"), Promise(1.3, "limit")),
        Row("joins", "joins/s", digits=0),
    ]
    figures = {"limit": {"cpu": 10.0}, "socket.io": {"cpu": 20.0, "joins": 2000.0}, "starling": {"cpu": 14.0}}
    head, cpu, joins = table_of(rows, figures, HEADINGS).splitlines()
    assert head.split()[:3] == ["send()", "Socket.IO", "Starling"]
    assert " ".join(cpu.split()) == "CPU us 10.0 20.0 14.0 1.40 0.70 <= 1.5 x limit met <= 1.3 x limit NOT MET"
    assert joins.split() == ["joins/s", "-", "2,000", "-", "-", "-"]
    assert verdicts_of(rows, figures) == {"cpu": {"must": True, "aim": False}}
