"""The rule of the soak: what is back where it was passes, what is left behind is named."""

from __future__ import annotations

import pytest

from tests.chaos.samples import judge_leaks

MIB = 2**20
BEGAN = {
    "gateway-1 memory": 80.0 * MIB,
    "gateway-1 files": 40.0,
    "gateway-1 tasks": 12.0,
    "gateways bindings": 54.0,
    "gateways sessions": 49.0,
    "redis keys": 200.0,
    "redis lasting-keys": 2.0,
    "rabbitmq messages": 0.0,
    "rabbitmq memory": 100.0 * MIB,
}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"gateway-1 memory": 100.0 * MIB, "gateway-1 files": 100.0, "gateway-1 tasks": 20.0},
        {"rabbitmq memory": 900.0 * MIB, "redis keys": 400.0},
        {"gateways bindings": 50.0, "gateways sessions": 40.0},
    ],
)
def test_what_is_back_where_it_was_is_no_leak(changed: dict[str, float]) -> None:
    """A little more of what breathes is none, less is fine, and what brokers and databases keep is not judged."""
    assert judge_leaks(BEGAN, BEGAN | changed) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gateway-1 memory", 120.0 * MIB),
        ("gateway-1 files", 105.0),
        ("gateway-1 tasks", 60.0),
        ("gateways bindings", 70.0),
        ("gateways sessions", 50.0),
        ("redis lasting-keys", 3.0),
        ("rabbitmq messages", 1.0),
    ],
)
def test_what_is_left_behind_is_named(name: str, value: float) -> None:
    """Each figure by itself."""
    (leak,) = judge_leaks(BEGAN, BEGAN | {name: value})
    assert leak.startswith(name)
