"""An outage is a moment's until it has lasted, and what was there meanwhile begins anew."""

from __future__ import annotations

from services.gateway.core.outage import MOMENT_S, Outage


def test_an_outage_is_a_moments_until_it_has_lasted() -> None:
    """Asked again and again: it is waited for, and then no more."""
    outage = Outage()
    assert [outage.missed(at) for at in (0.0, 0.5 * MOMENT_S, 0.9 * MOMENT_S)] == [True, True, True]
    assert [outage.missed(at) for at in (MOMENT_S, 1.5 * MOMENT_S)] == [False, False]
    outage.answered()
    assert outage.missed(1.6 * MOMENT_S)


def test_who_is_not_asked_for_long_may_have_been_there() -> None:
    """Two outages with nothing between that anybody saw are two."""
    outage = Outage()
    assert outage.missed(0.0)
    assert outage.missed(1.1 * MOMENT_S)
    assert not outage.missed(2.1 * MOMENT_S)
