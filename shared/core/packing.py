"""Packing: which events of a batch go into one envelope, and under which keys.

Ring 1 (core). An envelope goes to every queue that is bound to one of its keys, so one under the keys of several
groups costs one publish instead of several, and reaches nodes with events that are not for them, which these
drop. How many keys that is worth, the caller says. docs/adr/0008-one-publish-for-many-keys.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from shared.core.stream import Event, size_of

ENVELOPE_BYTES: Final = 64 * 1024
"""About how large an envelope of events gets, at most (one event may be larger)."""

Keys = tuple[str, ...]


class Packed(NamedTuple):
    """The events of one envelope, and the keys that it is published under."""

    keys: Keys
    events: Sequence[Event]


def pack(
    by_keys: Mapping[Keys, Sequence[Event]], most_keys: int, most_bytes: int = ENVELOPE_BYTES
) -> list[list[Packed]]:
    """Return envelopes in trains: those of a train go one after the other, trains go side by side.

    A stream's events must all stand under the same keys; then they are in one train, in their order.
    Whole sets of keys share an envelope while it has at most `most_keys` and `most_bytes`; a set that has more
    of either goes alone, in as many envelopes as it takes.
    """
    trains: list[list[Packed]] = []
    union: dict[str, None] = {}
    shared: list[Event] = []
    size = 0
    for keys, events in by_keys.items():
        pieces, its_size = _pieces(events, most_bytes)
        if len(pieces) > 1:
            trains.append([Packed(keys, piece) for piece in pieces])
            continue
        both = union | dict.fromkeys(keys)
        if union and (len(both) > most_keys or size + its_size > most_bytes):
            trains.append([Packed(tuple(union), shared)])
            both, shared, size = dict.fromkeys(keys), [], 0
        union = both
        shared.extend(events)
        size += its_size
    if union:
        trains.append([Packed(tuple(union), shared)])
    return trains


def _pieces(events: Sequence[Event], most_bytes: int) -> tuple[list[list[Event]], int]:
    """Cut a sequence where it gets too large; also return the size of the last piece."""
    pieces: list[list[Event]] = [[]]
    size = 0
    for event in events:
        its_size = size_of(event.record)
        if pieces[-1] and size + its_size > most_bytes:
            pieces.append([])
            size = 0
        pieces[-1].append(event)
        size += its_size
    return pieces, size
