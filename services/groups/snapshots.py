"""Snapshots: what gateways begin with, of many users or groups at once: bodies, each with the seq it is complete to.

Ring 4 (shell). All heads are read after the call came, so whatever was answered or published before it is in what is
told. A body is cached with its seq and used only while the head says the same; its channels' heads are always read
(rule 8 of docs/rules.md). Why it is right: docs/adr/0010-bodies-under-their-seq.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar

import msgspec
import structlog

from services.groups.changes import Changes
from services.groups.core.decisions import MAX_GROUPS
from services.groups.store import GroupStore
from shared.cache import Cache, CacheUse
from shared.core.calls import SESSION_DIRECTS, SMALL_GROUP, ChannelView, DirectView, GroupView, SessionView
from shared.core.model import Channel, ChannelType, Group, Member, Role
from shared.core.revocation import NOTHING_REVOKED
from shared.core.stream import Head, channel_stream, group_stream, user_stream
from shared.streams import StreamStore

_BODY_S: Final = 24 * 3600.0
"""How long a body is cached; of use only while nothing changes in it."""
_READS: Final = 8
"""How often a body is read again to catch it at rest, before one that may hold more than its seq says is taken."""
_AT_ONCE: Final = 16
"""How many bodies that are being changed are read one by one at a time."""

log = structlog.get_logger(__name__)


class GroupBody(msgspec.Struct, frozen=True):
    """A group with its channels, roles and, if it is small, members: what the group's stream tells."""

    group: Group
    channels: tuple[Channel, ...]
    members: tuple[Member, ...]
    member_count: int
    roles: tuple[Role, ...] = ()


B = TypeVar("B")
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_session: Final = msgspec.msgpack.Decoder(SessionView).decode
_decode_group: Final = msgspec.msgpack.Decoder(GroupBody).decode


def _session_as_cached(view: SessionView, seq: int) -> bytes:
    """Encode what a user's stream tells as it is told: most have no direct channels, and get it as it is."""
    return _encode(msgspec.structs.replace(view, user_seq=seq))


def _group_as_cached(body: GroupBody, _: int) -> bytes:
    return _encode(body)


class _Bodies(Generic[B]):
    """Encoded bodies of one kind by the id of their owner, read by `read`; whoever does not exist is left out.

    `encode` gets a body and its seq. `kind` names the encoding in the cache: another one gets another name.
    """

    def __init__(
        self,
        kind: str,
        stream_of: Callable[[int], str],
        read: Callable[[Sequence[int]], Awaitable[Mapping[int, B]]],
        encode: Callable[[B, int], bytes],
        *,
        streams: StreamStore,
        changes: Changes,
        cache: Cache,
    ) -> None:
        self._kind = kind
        self._stream_of = stream_of
        self._read = read
        self._encode = encode
        self._streams = streams
        self._changes = changes
        self._cache = cache
        self._one_by_one = asyncio.Semaphore(_AT_ONCE)
        self.use = CacheUse()

    async def read(self, ids: Sequence[int]) -> dict[int, tuple[int, bytes]]:
        """Return each body with its seq."""
        names = {one: self._stream_of(one) for one in ids}
        keys = {one: f"{self._kind}:{name}" for one, name in names.items()}
        heads, cached = await asyncio.gather(
            self._streams.read_heads(list(names.values())), self._cache.get_many(list(keys.values()))
        )
        found: dict[int, tuple[int, bytes]] = {}
        resting: dict[int, Head] = {}
        restless: list[int] = []
        for one, name in names.items():
            head = heads.get(name)
            if head is None or min(head.projected, head.published) < head.seq:
                restless.append(one)
            elif (known := cached.get(keys[one])) is not None and known[0] == head.seq:
                self.use.hits += 1
                found[one] = known
            else:
                self.use.note_miss(was_there=known is not None)
                resting[one] = head
        if resting:
            proven = await self._read_resting(resting)
            found |= proven
            restless += resting.keys() - proven.keys()
        for one, seen in zip(restless, await asyncio.gather(*map(self._read_restless, restless)), strict=True):
            if seen is not None:
                found[one] = seen
        return found

    async def _read_resting(self, heads: Mapping[int, Head]) -> dict[int, tuple[int, bytes]]:
        """Read bodies whose heads are projected; those of streams that went on meanwhile are left out.

        What is projected is at least what the head said before. Projections follow commits, so it is not more
        either where the chain still ends there after.
        """
        bodies = await self._read(tuple(heads))
        ends = await self._streams.read_ends([heads[one] for one in bodies])
        at_rest = {
            one: (seq, self._encode(body, seq))
            for one, body in bodies.items()
            if ends.get(self._stream_of(one)) == (seq := heads[one].seq)
        }
        await self._keep(at_rest)
        return at_rest

    async def _read_restless(self, one: int) -> tuple[int, bytes] | None:
        """Settle a stream and read its body between two looks that see the same end; None: nobody has this id."""
        stream = self._stream_of(one)
        async with self._one_by_one:
            seq = await self._changes.settle(stream)
            for _ in range(_READS):
                body = (await self._read((one,))).get(one)
                after = await self._changes.settle(stream)
                if after == seq:
                    break
                seq = after
            else:
                log.info("body_never_at_rest", stream=stream)
                return (seq, self._encode(body, seq)) if body is not None else None
            if body is None:
                return None
            encoded = self._encode(body, seq)
            await self._keep({one: (seq, encoded)})
            return seq, encoded

    async def _keep(self, bodies: Mapping[int, tuple[int, bytes]]) -> None:
        puts = (
            self._cache.put(f"{self._kind}:{self._stream_of(one)}", seq, body, ttl_s=_BODY_S)
            for one, (seq, body) in bodies.items()
        )
        await asyncio.gather(*puts)


class Snapshots:
    """Reads for gateways. All raise `StoreUnavailable` and `Unavailable`."""

    def __init__(self, groups: GroupStore, streams: StreamStore, changes: Changes, cache: Cache) -> None:
        self._groups = groups
        self._streams = streams
        self._users = _Bodies(
            "session",
            user_stream,
            self._read_users,
            _session_as_cached,
            streams=streams,
            changes=changes,
            cache=cache,
        )
        self._rooms = _Bodies(
            "group", group_stream, self._read_groups, _group_as_cached, streams=streams, changes=changes, cache=cache
        )

    def statistics(self) -> dict[str, float]:
        """Return figures for metrics."""
        return {**self._users.use.statistics("sessions"), **self._rooms.use.statistics("groups")}

    async def read_sessions(self, user_ids: Iterable[int]) -> dict[int, msgspec.Raw]:
        """Return what the sessions of these users begin with, each an encoded `SessionView`; none for nobody."""
        ids = tuple(dict.fromkeys(user_ids))
        bodies, directs = await asyncio.gather(self._users.read(ids), self._groups.list_directs(ids, SESSION_DIRECTS))
        heads = await self._heads_of(channel for channels in directs.values() for channel in channels)
        directs = await self._complete(directs)
        found: dict[int, msgspec.Raw] = {}
        for one, (_, body) in bodies.items():
            if its := directs.get(one):
                views = tuple(DirectView(*_view_of(channel, heads)) for channel in its)
                body = _encode(msgspec.structs.replace(_decode_session(body), directs=views))
            found[one] = msgspec.Raw(body)
        return found

    async def _complete(self, directs: dict[int, list[Channel]]) -> dict[int, list[Channel]]:
        """Read group DMs once more, now that their heads are known: what is told is complete to them (rule 8)."""
        changing = {one.id for its in directs.values() for one in its if one.type is ChannelType.GROUP_DIRECT}
        if not changing:
            return directs
        now = await self._groups.read_channels(sorted(changing))
        return {
            user_id: [again for one in its if (again := now.get(one.id, one)).has(user_id)]
            for user_id, its in directs.items()
        }

    async def read_groups(self, group_ids: Iterable[int]) -> dict[int, GroupView]:
        """Return the bodies of the groups that exist among these."""
        read = await self._rooms.read(tuple(dict.fromkeys(group_ids)))
        bodies = {one: (seq, _decode_group(encoded)) for one, (seq, encoded) in read.items()}
        heads = await self._heads_of(channel for _, body in bodies.values() for channel in body.channels)
        return {
            one: GroupView(
                body.group,
                seq,
                tuple(ChannelView(*_view_of(channel, heads)) for channel in body.channels),
                body.members,
                body.member_count,
                body.roles,
            )
            for one, (seq, body) in bodies.items()
        }

    async def _heads_of(self, channels: Iterable[Channel]) -> dict[str, Head]:
        names = list(dict.fromkeys(channel_stream(channel.id) for channel in channels))
        return await self._streams.read_heads(names) if names else {}

    async def _read_users(self, ids: Sequence[int]) -> dict[int, SessionView]:
        users, groups, revoked, hidden = await asyncio.gather(
            self._groups.read_users(ids),
            self._groups.list_memberships(ids, MAX_GROUPS),
            self._groups.read_revocations(ids),
            self._groups.list_hidden(ids, SESSION_DIRECTS),
        )
        members = await self._groups.read_members(
            [(group_id, one) for one, its_groups in groups.items() for group_id in its_groups]
        )
        return {
            one: SessionView(
                user,
                0,
                # Members follow a new name a little later, and would be cached without it.
                tuple(
                    msgspec.structs.replace(members[group_id, one], user=user)
                    for group_id in groups.get(one, ())
                    if (group_id, one) in members
                ),
                (),
                revoked.get(one, NOTHING_REVOKED),
                hidden.get(one, {}),
            )
            for one, user in users.items()
        }

    async def _read_groups(self, ids: Sequence[int]) -> dict[int, GroupBody]:
        groups, channels, roles, tallies = await asyncio.gather(
            self._groups.read_groups(ids),
            self._groups.list_channels(ids),
            self._groups.list_roles(ids),
            self._groups.tally_members(ids),
        )
        small = [one for one in groups if tallies[one].members <= SMALL_GROUP]
        lists = await asyncio.gather(*(self._groups.list_members(one, 0, SMALL_GROUP) for one in small))
        members = {one: tuple(its) for one, its in zip(small, lists, strict=True)}
        return {
            one: GroupBody(
                group,
                tuple(channels.get(one, ())),
                members.get(one, ()),
                tallies[one].members,
                tuple(roles.get(one, ())),
            )
            for one, group in groups.items()
        }


def _view_of(channel: Channel, heads: Mapping[str, Head]) -> tuple[Channel, int, int]:
    head = heads.get(channel_stream(channel.id)) or Head("")
    return channel, head.seq, head.last_id
