"""Showing presence: who is here is told in small groups, more rarely than messages, and first to give way.

Ring 4 (shell). Every half second: how users on this node are now, in one envelope to the nodes of their groups and as
leases that other nodes read; and what the board (`core.board`) has that sessions here were not told yet, as
PRESENCE_UPDATE. Each turn is bounded, and skipped while writes are behind; nothing is lost by it, since only the last
state counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Final

import structlog

from services.gateway.core.board import LEASE_S, MOST_GROUPS, RENEW_S, Board, merged
from services.gateway.core.hub import Hub
from services.gateway.core.state import LocalGroup
from services.gateway.fanout import Fanout
from services.gateway.presence_leases import LeasesUnavailable, PresenceLeases
from services.gateway.sessions import LiveSession
from shared.bus import Bus, BusUnavailable
from shared.core.commands import Presences, Present, encode_envelope
from shared.core.model import OFFLINE, Presence
from shared.core.wire.members import presence_of
from shared.core.wire.values import Json
from shared.topology import Topology

TURN_S: Final = 0.5
DELIVERIES: Final = 2_000
"""So many PRESENCE_UPDATEs go to connections in one turn: a tenth of what messages take, at most."""
ANNOUNCED: Final = 100
"""So many users of this node are told to others in one turn."""
KEYS: Final = 64
"""So many groups one envelope goes to."""
_GROUPS: Final = 20
"""So many groups that came to be followed are read in one turn."""
_READ: Final = 500
_AWAY_S: Final = 8.0
"""Whose connection is lost is still there for so long: most resume."""
_BETWEEN_S: Final = 4.0
"""A user's presence is announced once in this time, as it is then."""
_BEHIND: Final = 1_000
"""At so many connections that wait to be written to presence waits, too."""

log = structlog.get_logger(__name__)


class Showing:
    """The presence of those on this node, and of those whom they see. `clock` is seconds that never go back.

    Presence is told in groups of at most `most_members`, of which a node knows all by name; 0: in none.
    """

    def __init__(
        self,
        hub: Hub[LiveSession],
        fanout: Fanout,
        leases: PresenceLeases,
        bus: Bus,
        topology: Topology,
        incarnation: str,
        *,
        most_members: int,
        unwritten: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._fanout = fanout
        self._leases = leases
        self._bus = bus
        self._topology = topology
        self._incarnation = incarnation
        self._most_members = most_members
        self._unwritten = unwritten
        self._clock = clock
        self._board = Board()
        self._dirty: dict[int, float] = {}
        """Local users who may be another way now, and when to look."""
        self._own: dict[int, Present] = {}
        """How local users are, as it was announced."""
        self._said_at: dict[int, float] = {}
        self._read: set[int] = set()
        """Followed groups whose members' presence was read."""
        self._renew_at = 0.0

    # What happens.

    def stir(self, user_id: int) -> None:
        """Take in that a session of a local user came, went, or shows itself otherwise."""
        if self._most_members:
            self._dirty[user_id] = self._clock()

    def welcome(self, created: Json, sessions: Collection[LiveSession]) -> Json:
        """Take in that sessions are told of a group that they came into; return the GUILD_CREATE with who is there."""
        for session in sessions:
            self.stir(session.user_id)
        group = self._hub.roster.groups.get(int(created["id"]))
        shown = self.known(group) if group is not None else {}
        return created | {"presences": [presence_of(one, int(created["id"]), how) for one, how in shown.items()]}

    def hear(self, presences: Presences) -> None:
        """Take in what another node says; of those whom nobody here may see, nothing is kept."""
        if presences.node == self._incarnation:
            return
        for one in presences.items:
            places = [group_id for group_id in one.groups if self._shows(group_id, one.user_id)]
            if places:
                self._board.hear(one.user_id, presences.node, one.presence, places, self._clock())

    def known(self, group: LocalGroup[LiveSession]) -> dict[int, Presence]:
        """Return how the members of a group are who are there, as far as it is told in it."""
        if not self._is_small(group):
            return {}
        found = {user_id: self._board.presence_of(user_id) for user_id in group.members}
        return {user_id: one for user_id, one in found.items() if one.status != OFFLINE.status}

    # Turns.

    async def run(self) -> None:
        """Take turns, for ever."""
        while True:
            await asyncio.sleep(TURN_S)
            await self.turn()

    async def turn(self) -> None:
        """Announce, read and tell what is due; an outage leaves it for the next turn."""
        try:
            await self._announce()
            await self._renew()
            await self._look()
        except (LeasesUnavailable, BusUnavailable) as error:
            log.debug("presence_waits", reason=str(error))
        self._tell()

    async def _announce(self) -> None:
        """Tell other nodes how local users are who are otherwise than was announced."""
        now = self._clock()
        due = [user_id for user_id, at in self._dirty.items() if at <= now][:ANNOUNCED]
        items: list[Present] = []
        for user_id in due:
            del self._dirty[user_id]
            presence, look_again = self._own_of(user_id, now)
            if look_again:
                self._dirty[user_id] = look_again
            said = self._own.get(user_id)
            groups = self._groups_of(user_id)
            if presence == (said.presence if said is not None else OFFLINE) and (said is None or said.groups == groups):
                continue
            if now < (may := self._said_at.get(user_id, -_BETWEEN_S) + _BETWEEN_S):
                self._dirty[user_id] = may
                continue
            if groups or said is not None:
                self._said_at[user_id] = now
                items.append(Present(user_id, groups or (said.groups if said is not None else ()), presence))
        if len(self._said_at) > 2 * len(self._own) + ANNOUNCED:
            self._said_at = {one: at for one, at in self._said_at.items() if at + _BETWEEN_S > now}
        presences = {one.user_id: one.presence for one in items}
        with suppress(LeasesUnavailable):  # first, so that whoever comes to follow the group now reads it or hears it
            await self._leases.put(self._incarnation, presences, ttl_s=LEASE_S)
        try:
            await self._publish(items)
        except BusUnavailable:
            self._dirty |= dict.fromkeys(presences, now + _BETWEEN_S)
            raise
        for one in items:
            self._board.hear(one.user_id, self._incarnation, one.presence, one.groups, now)
            self._own[one.user_id] = one
            if one.presence.status == OFFLINE.status:
                del self._own[one.user_id]

    def _own_of(self, user_id: int, now: float) -> tuple[Presence, float]:
        """Return how a user is on this node, and when to look again because a connection was lost; 0: not at all."""
        user = self._hub.roster.users.get(user_id)
        sessions = user.sessions if user is not None else ()
        lost = [one.detached_at + _AWAY_S for one in sessions if one.link is None]
        waits = [until for until in lost if until > now]
        there = [one.presence for one in sessions if one.link is not None or one.detached_at + _AWAY_S > now]
        return merged(there), min(waits, default=0.0)

    def _groups_of(self, user_id: int) -> tuple[int, ...]:
        user = self._hub.roster.users.get(user_id)
        if user is None:
            return tuple(self._board.places_of(user_id))
        return tuple(group_id for group_id in user.groups if self._shows(group_id, user_id))[:MOST_GROUPS]

    async def _publish(self, items: Iterable[Present]) -> None:
        some: list[Present] = []
        keys: dict[str, None] = {}
        for one in items:
            its_keys = [self._topology.group_key(group_id) for group_id in one.groups]
            for start in range(0, len(its_keys), KEYS):
                more = its_keys[start : start + KEYS]
                if some and len({*keys, *more}) > KEYS:
                    await self._send(some, keys)
                    some, keys = [], {}
                some.append(one)
                keys |= dict.fromkeys(more)
        if some:
            await self._send(some, keys)

    async def _send(self, items: Iterable[Present], keys: Iterable[str]) -> None:
        envelope = encode_envelope(Presences(self._incarnation, tuple(items)))
        await self._bus.publish(self._topology.events, tuple(keys), envelope)

    async def _renew(self) -> None:
        """Let the leases of this node's users last, once in a third of their time."""
        if self._clock() >= self._renew_at:
            held = {user_id: one.presence for user_id, one in self._own.items()}
            await self._leases.put(self._incarnation, held, ttl_s=LEASE_S)  # after an outage at once
            self._renew_at = self._clock() + RENEW_S

    async def _look(self) -> None:
        """Read how members of new groups are, and those of whom nobody said anything for long."""
        if not self._most_members:
            return
        groups = self._hub.roster.groups
        self._read &= groups.keys()
        fresh = [one for one in groups.keys() - self._read if self._is_small(groups[one])][:_GROUPS]
        wanted: dict[int, set[int]] = {}
        for group_id in fresh:
            for user_id in groups[group_id].members:
                wanted.setdefault(user_id, set()).add(group_id)
        for user_id in self._board.overdue(self._clock(), _READ):
            places = {one for one in self._board.places_of(user_id) if self._shows(one, user_id)}
            if places:
                wanted.setdefault(user_id, set()).update(places)
            else:
                self._board.forget(user_id)
        found = await self._leases.read(wanted) if wanted else {}
        self._read.update(fresh)
        for user_id, places in wanted.items():
            parts = {node: one for node, one in found.get(user_id, {}).items() if node != self._incarnation}
            if (own := self._own.get(user_id)) is not None:
                parts[self._incarnation] = own.presence
            self._board.put(user_id, parts, places, self._clock())

    def _tell(self) -> None:
        """Tell sessions here who is otherwise than they were told, as far as there is room for it."""
        groups, told = self._hub.roster.groups, self._fanout.deliveries
        while self._unwritten() < _BEHIND and self._fanout.deliveries - told < DELIVERIES:
            change = self._board.next_change()
            if change is None:
                return
            user_id, presence, places = change
            for group_id in places:
                if self._shows(group_id, user_id):
                    d = presence_of(user_id, group_id, presence)
                    self._fanout.pass_on("PRESENCE_UPDATE", d, groups[group_id].audience)

    def _shows(self, group_id: int, user_id: int) -> bool:
        """Whether a user's presence is told in a group, and the group is followed here."""
        group = self._hub.roster.groups.get(group_id)
        return group is not None and self._is_small(group) and user_id in group.members

    def _is_small(self, group: LocalGroup[LiveSession]) -> bool:
        return len(group.members) == group.member_count <= self._most_members

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {**self._board.statistics(), "own": len(self._own), "stirred": len(self._dirty)}
