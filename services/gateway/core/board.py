"""The board: how the users are whom somebody on this node may see, each as the nodes say where it has sessions.

Ring 1 (core). Of the moment only: what changes twice before it is told is told once, and what changes back is not told.
`now` is seconds of a clock that never goes back. Who performs is `services.gateway.showing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from shared.core.model import OFFLINE, ONLINE, Activity, Presence

LEASE_S: Final = 120.0
"""What a node said is believed for so long without asking again, and is there so long after its death."""
RENEW_S: Final = LEASE_S / 3
"""So often a node says again what it said."""
DOUBT_S: Final = RENEW_S + 5.0
"""So long it is doubted that nobody says anything of a user any more: a store that lost it all is told again."""
MOST_GROUPS: Final = 200
"""In so many groups of a user presence is told."""
_TEXT: Final = 128
_KINDS: Final = range(6)
_RANKS: Final = ("online", "dnd", "idle")
"""Of several sessions the first of these counts."""


def presence_from(status: object, activities: object, now_ms: int) -> Presence:
    """Return what a client says of itself: one activity, cut to size; what makes no sense is left out."""
    if status in ("invisible", "offline"):
        return OFFLINE
    told = activities if isinstance(activities, list) else []
    shown = [one for one in told[:1] if isinstance(one, dict) and isinstance(one.get("name"), str)]
    found = status if isinstance(status, str) and status in _RANKS else ONLINE.status
    return Presence(found, tuple(_activity_from(one, now_ms) for one in shown))


def _activity_from(told: Mapping[str, Any], now_ms: int) -> Activity:
    kind, state, url = told.get("type"), told.get("state"), told.get("url")
    return Activity(
        told["name"][:_TEXT],
        kind if type(kind) is int and kind in _KINDS else 0,  # no bool: other nodes could not read the envelope
        state[:_TEXT] if isinstance(state, str) else None,
        url[:_TEXT] if isinstance(url, str) else None,
        now_ms,
    )


def merged(presences: Iterable[Presence]) -> Presence:
    """Return how a user is who is so in several places: as where it is most."""
    there = [one for one in presences if one.status in _RANKS]
    return min(there, key=lambda one: (_RANKS.index(one.status), not one.activities), default=OFFLINE)


@dataclass(slots=True)
class _Row:
    """What nodes say of a user, until when that is believed, and in which groups it is told."""

    parts: dict[str, Presence] = field(default_factory=dict)
    until: float = 0.0
    doubted_until: float = 0.0
    """There while nobody says anything of the user, and what was said stands."""
    places: set[int] = field(default_factory=set)
    fresh: set[int] = field(default_factory=set)
    """Places in which nothing was told yet."""
    told: Presence = OFFLINE


class Board:
    """How users are. Holds only who is, or was told as, somewhere."""

    def __init__(self) -> None:
        self._rows: dict[int, _Row] = {}
        self._changed: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def hear(self, user_id: int, node: str, presence: Presence, places: Iterable[int], now: float) -> None:
        """Take in how a user is on one node."""
        row = self._row(user_id, places)
        if presence.status == OFFLINE.status:
            row.parts.pop(node, None)
        else:
            row.parts[node] = presence
        row.until, row.doubted_until = now + LEASE_S, 0.0
        self._stir(user_id, row)

    def put(self, user_id: int, parts: Mapping[str, Presence], places: Iterable[int], now: float) -> None:
        """Take in how a user is on all nodes. That it is nowhere any more is believed when it is said again later."""
        if not parts and user_id not in self._rows:
            return
        row = self._row(user_id, places)
        if parts or not row.parts:
            row.doubted_until = 0.0
        elif not row.doubted_until:
            row.doubted_until = now + DOUBT_S
        if now < row.doubted_until:
            row.until = row.doubted_until
        else:
            row.parts, row.until, row.doubted_until = dict(parts), now + LEASE_S, 0.0
        self._stir(user_id, row)

    def presence_of(self, user_id: int) -> Presence:
        """Return how a user is."""
        row = self._rows.get(user_id)
        return merged(row.parts.values()) if row is not None else OFFLINE

    def places_of(self, user_id: int) -> frozenset[int]:
        """Return the groups in which a user's presence is told."""
        row = self._rows.get(user_id)
        return frozenset(row.places) if row is not None else frozenset()

    def next_change(self) -> tuple[int, Presence, frozenset[int]] | None:
        """Return a user who is not as was told, how it is and where that is to be told; it counts as told then."""
        while self._changed:
            user_id = next(iter(self._changed))
            del self._changed[user_id]
            row = self._rows.get(user_id)
            if row is None:
                continue
            presence, before = merged(row.parts.values()), row.told
            places = frozenset(row.places if presence != before else row.fresh)
            row.told, row.fresh = presence, set()
            if not row.parts:
                del self._rows[user_id]
            if places and (presence != before or presence.status != OFFLINE.status):
                return user_id, presence, places
        return None

    def overdue(self, now: float, most: int) -> list[int]:
        """Return users of whom nobody said anything for the time of a lease."""
        found = [user_id for user_id, row in self._rows.items() if row.until <= now]
        return found[:most]

    def forget(self, user_id: int) -> None:
        """Take in that nobody here sees the user any more."""
        self._rows.pop(user_id, None)
        self._changed.pop(user_id, None)

    def _row(self, user_id: int, places: Iterable[int]) -> _Row:
        row = self._rows.setdefault(user_id, _Row())
        found = set(list(places)[:MOST_GROUPS])
        row.fresh |= found - row.places
        row.places |= found
        return row

    def _stir(self, user_id: int, row: _Row) -> None:
        if merged(row.parts.values()) != row.told or (row.parts and row.fresh):
            self._changed[user_id] = None
        elif not row.parts:
            self._rows.pop(user_id, None)

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"users": len(self._rows), "untold": len(self._changed)}


encode_presence: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Presence).decode


def decode_presence(encoded: bytes) -> Presence | None:
    """Return a presence as it was encoded; None for what a later release has put there."""
    try:
        return _decode(encoded)
    except msgspec.MsgspecError:
        return None
