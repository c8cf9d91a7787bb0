"""The board of presence: what nodes say of users, merged, told once, believed for a while."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.gateway.core.board import (
    DOUBT_S,
    LEASE_S,
    RENEW_S,
    Board,
    decode_presence,
    encode_presence,
    merged,
    presence_from,
)
from shared.core.commands import Presences, Present, decode_for_node, encode_envelope
from shared.core.model import OFFLINE, ONLINE, Activity, Presence

IDLE, BUSY = Presence("idle"), Presence("dnd")
PLAYING = Presence("online", (Activity("chess"),))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=200) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "type", "state", "x"]), inner),
    max_leaves=8,
)


def test_what_the_store_lost_is_told_by_nobody() -> None:
    """Who is there says it again in time, by the leases or to the nodes, and was never away."""
    board = Board()
    for user_id in (7, 8):
        board.hear(user_id, "one", ONLINE, (5,), 0.0)
        assert board.next_change()
        board.put(user_id, {}, (5,), LEASE_S)
    board.put(7, {"one": ONLINE}, (5,), LEASE_S + DOUBT_S)
    board.hear(8, "one", ONLINE, (5,), LEASE_S + RENEW_S)
    board.put(8, {}, (5,), LEASE_S + DOUBT_S)
    assert board.next_change() is None
    assert (board.presence_of(7), board.presence_of(8)) == (ONLINE, ONLINE)


@given(JSON, JSON)
@example("online", [{"name": "chess", "type": True}])
def test_whatever_a_client_says_is_a_presence(status: Any, activities: Any) -> None:
    """Bounded, of a known status, and the same after its way to other nodes."""
    presence = presence_from(status, activities, 5)
    assert presence.status in ("online", "idle", "dnd", "offline")
    assert len(presence.activities) <= 1
    assert all(len(one.name) <= 128 and 0 <= one.kind < 6 for one in presence.activities)
    assert decode_presence(encode_presence(presence)) == presence
    said = Presences("one", (Present(7, (5,), presence),))
    assert decode_for_node(encode_envelope(said)) == said
    assert decode_presence(b"\x00") is None


def test_what_is_shown() -> None:
    """The first activity counts; who does not want to be seen is offline."""
    game = {"name": "chess", "type": 0, "state": "thinking"}
    assert presence_from("idle", [game, game], 5) == Presence("idle", (Activity("chess", 0, "thinking", None, 5),))
    assert presence_from("invisible", [game], 5) == OFFLINE
    assert presence_from("what?", [{"name": 4}], 5) == ONLINE


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], OFFLINE),
        ([OFFLINE], OFFLINE),
        ([IDLE, OFFLINE], IDLE),
        ([IDLE, BUSY], BUSY),
        ([IDLE, BUSY, ONLINE], ONLINE),
        ([ONLINE, PLAYING], PLAYING),
    ],
)
def test_of_several_sessions_the_most_present_counts(parts: list[Presence], expected: Presence) -> None:
    """Online before busy before idle, and with an activity before without."""
    assert merged(parts) == expected
    assert merged(reversed(parts)) == expected


def test_a_change_is_told_once_and_one_that_is_taken_back_never() -> None:
    """Also of two nodes: who is still at one of them is not told as gone."""
    board = Board()
    board.hear(7, "one", IDLE, (5,), 0.0)
    board.hear(7, "one", ONLINE, (5, 6), 1.0)
    assert board.next_change() == (7, ONLINE, frozenset({5, 6}))
    assert board.next_change() is None
    board.hear(7, "two", IDLE, (5,), 2.0)
    board.hear(7, "one", BUSY, (5,), 2.0)
    board.hear(7, "one", ONLINE, (5,), 2.0)
    assert board.next_change() is None
    board.hear(7, "one", OFFLINE, (5,), 3.0)
    assert board.next_change() == (7, IDLE, frozenset({5, 6}))
    board.hear(7, "two", OFFLINE, (5,), 4.0)
    assert board.next_change() == (7, OFFLINE, frozenset({5, 6}))
    assert len(board) == 0
    board.hear(8, "one", OFFLINE, (5,), 5.0)
    assert (board.next_change(), len(board)) == (None, 0)


def test_who_comes_into_another_group_is_told_there() -> None:
    """And nowhere else again; who is away is told of nowhere."""
    board = Board()
    board.hear(7, "one", ONLINE, (5,), 0.0)
    assert board.next_change() == (7, ONLINE, frozenset({5}))
    board.hear(7, "one", ONLINE, (5, 6), 1.0)
    assert board.next_change() == (7, ONLINE, frozenset({6}))
    board.hear(7, "one", ONLINE, (6,), 2.0)
    assert board.next_change() is None
    board.hear(8, "one", OFFLINE, (6,), 2.0)
    assert board.next_change() is None


def test_what_a_dead_node_said_is_looked_up_again() -> None:
    """After a lease; what the leases then say counts, but that nobody says anything only when it stays so."""
    board = Board()
    board.hear(7, "dead", ONLINE, (5,), 0.0)
    board.hear(8, "one", ONLINE, (5,), 0.0)
    assert board.next_change()
    assert board.next_change()
    assert board.overdue(LEASE_S - 1, 9) == []
    assert board.overdue(LEASE_S, 9) == [7, 8]
    assert board.overdue(LEASE_S, 1) == [7]
    board.put(7, {}, (5,), LEASE_S)
    board.put(8, {"one": ONLINE}, (5,), LEASE_S)
    assert board.next_change() is None
    board.put(7, {}, (5,), LEASE_S + 1)
    assert board.next_change() is None
    assert board.overdue(LEASE_S + DOUBT_S - 1, 9) == []
    assert board.overdue(LEASE_S + DOUBT_S, 9) == [7]
    board.put(7, {}, (5,), LEASE_S + DOUBT_S)
    assert board.next_change() == (7, OFFLINE, frozenset({5}))
    assert board.next_change() is None
    assert board.overdue(LEASE_S + DOUBT_S, 9) == []
    board.put(9, {}, (5,), LEASE_S)
    board.forget(8)
    assert (len(board), board.presence_of(9)) == (0, OFFLINE)
