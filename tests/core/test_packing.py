"""Packing: nothing lost, nothing doubled, every stream in order, every bound held."""

from __future__ import annotations

from itertools import chain, combinations

from hypothesis import given
from hypothesis import strategies as st

from shared.core.message_events import MessageCreated
from shared.core.model import User
from shared.core.packing import Keys, Packed, pack
from shared.core.stream import Event, Record, size_of

ANN = User(1, "ann")
MOST_BYTES = 1000


def event_of(stream: int, seq: int, size: int = 10) -> Event:
    """Return a message of about so many bytes in a channel."""
    return Event(f"c:{stream}", Record(seq, 0, MessageCreated(ANN, "x" * size), id=seq), stream)


def group(stream: int, sizes: list[int]) -> tuple[Keys, list[Event]]:
    """Return a group's key and events."""
    return (f"g.{stream}",), [event_of(stream, seq, size) for seq, size in enumerate(sizes, 1)]


def keys_in(packed: list[list[Packed]]) -> list[Keys]:
    """Return the keys of all envelopes."""
    return [one.keys for train in packed for one in train]


batches = st.lists(st.lists(st.integers(0, 700), min_size=1, max_size=6), max_size=12)


@given(batches, st.integers(1, 64))
def test_all_is_packed_in_order_and_within_bounds(batch: list[list[int]], most_keys: int) -> None:
    """Each event is in one envelope under its key, a stream's in one train and in order; keys and bytes are bounded."""
    by_keys = dict(group(number, sizes) for number, sizes in enumerate(batch))
    trains = pack(by_keys, most_keys, MOST_BYTES)
    for train in trains:
        for packed in train:
            assert len(packed.keys) <= most_keys
            assert {f"g.{event.group_id}" for event in packed.events} == set(packed.keys)
            assert len(packed.events) == 1 or sum(size_of(event.record) for event in packed.events) <= MOST_BYTES
    for one, other in combinations(trains, 2):
        assert not {event.stream for packed in one for event in packed.events} & {
            event.stream for packed in other for event in packed.events
        }
    for keys, events in by_keys.items():
        packed_events = chain.from_iterable(packed.events for train in trains for packed in train)
        assert [event for event in packed_events if f"g.{event.group_id}" in keys] == events


def test_a_quiet_and_a_busy_batch_are_one_envelope() -> None:
    """As many keys as are allowed go into one publish, each once, in the order of their first events."""
    by_keys = dict(group(number, [10]) for number in range(5))
    assert keys_in(pack(by_keys, 64)) == [("g.0", "g.1", "g.2", "g.3", "g.4")]
    assert keys_in(pack(by_keys, 2)) == [("g.0", "g.1"), ("g.2", "g.3"), ("g.4",)]
    assert keys_in(pack(by_keys, 1)) == [(f"g.{number}",) for number in range(5)]
    assert pack({}, 64) == []


def test_keys_that_are_shared_count_once_and_a_set_is_never_cut() -> None:
    """Direct channels of one user share that user's key; a set with more keys than are allowed goes alone."""
    by_keys: dict[Keys, list[Event]] = {
        ("u.1", "u.2"): [event_of(1, 1)],
        ("u.1", "u.3"): [event_of(2, 1)],
        ("u.4", "u.5"): [event_of(3, 1)],
    }
    assert keys_in(pack(by_keys, 3)) == [("u.1", "u.2", "u.3"), ("u.4", "u.5")]
    assert keys_in(pack(by_keys, 1)) == list(by_keys)


def test_what_is_too_large_goes_in_sequence() -> None:
    """A group with more than an envelope's bytes has a train of its own; the small ones around it share theirs."""
    by_keys = dict((group(0, [10]), group(1, [600, 600, 600]), group(2, [10])))
    trains = pack(by_keys, 64, MOST_BYTES)
    assert [[packed.keys for packed in train] for train in trains] == [[("g.1",)] * 3, [("g.0", "g.2")]]
