"""What a node has just begun to follow is remembered until it was compared once more."""

from __future__ import annotations

from services.gateway.core.fresh import Fresh


def test_units_are_taken_once_when_their_time_has_come() -> None:
    """Nothing is taken early, nothing twice; what is bound again counts from then on."""
    fresh = Fresh(lambda: True)
    fresh.add("u:1", 1.0)
    fresh.add("g:2", 2.0)
    assert fresh.take(0.5) == []
    assert fresh.take(1.0) == ["u:1"]
    fresh.add("u:3", 2.5)
    fresh.add("g:2", 3.0)
    assert fresh.take(2.9) == ["u:3"]
    assert fresh.take(3.0) == ["g:2"]
    assert fresh.take(9.0) == []


def test_too_many_count_as_all() -> None:
    """The memory is bounded: above the bound everything is asked for, once, when the last one's time has come."""
    fresh = Fresh(lambda: True, limit=2)
    for number in range(3):
        fresh.add(f"u:{number}", float(number))
    assert len(fresh) == 0
    fresh.add("u:9", 2.5)
    assert fresh.take(1.9) == []
    assert fresh.take(2.0) is None
    assert fresh.take(2.9) == ["u:9"]


def test_nothing_is_fresh_where_no_binding_is_late() -> None:
    """What is bound while the bus says so is not remembered; what was bound before is."""
    are_late = True
    fresh = Fresh(lambda: are_late)
    fresh.add("u:1", 1.0)
    are_late = False
    fresh.add("u:2", 1.0)
    fresh.add_all(1.0)
    assert fresh.take(9.0) == ["u:1"]
