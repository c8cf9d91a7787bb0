"""People and groups put straight into the database, as groups would have stored them: no password is hashed.

The streams are written by `shared.core.stream`'s own rules, what is shown of them by groups' own projections. Nobody
can log in as these users; their tokens are minted under the cluster's secret.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from deploy.local.process import StartFailed
from services.groups.core.names import group_name_key
from services.groups.mongo_store import MongoGroups
from services.groups.projections import project
from services.groups.store import Claim, Tally
from shared.clock import now_ms
from shared.core.events import AnyBody
from shared.core.group_events import GroupCreated, MemberAdded
from shared.core.ids import WORKERS, IdSource
from shared.core.model import Channel, ChannelType, Group, Member, User
from shared.core.stream import CHANGE_LIMITS, Draft, Head, Record, Tail, group_stream, plan, user_stream
from shared.core.user_events import GroupJoined, UserRegistered
from shared.mongo import Document, Mongo, open_database
from shared.mongo_streams import MongoStreams
from shared.settings import MongoSettings

_STREAMS_AT_ONCE: Final = 100
"""In one write, which has a deadline: on a busy machine a larger one does not meet it."""
_DOCUMENTS_AT_ONCE: Final = 1000


@dataclass(frozen=True)
class Seeded:
    """A group with one channel, and its members."""

    group: Group
    channel: Channel
    members: tuple[User, ...]


async def seed(mongo_url: str, sizes: Sequence[int], *, prefix: str) -> list[Seeded]:
    """Store a group of each size, every member in this one only. `prefix` begins all names."""
    ids = new_ids()
    names = [f"{prefix}{number}" for number in range(len(sizes))]
    groups = [make_group(ids, name, make_users(ids, name, size)) for name, size in zip(names, sizes, strict=True)]
    await store(MongoSettings(url=mongo_url), groups, [user for one in groups for user in one.members], ids)
    return groups


def new_ids() -> IdSource:
    """Return a source of ids beside those that are leased, which are given from the lowest on. One per run."""
    return IdSource(WORKERS - 1)


def make_users(ids: IdSource, name: str, count: int) -> tuple[User, ...]:
    """Return users that nobody has stored yet."""
    return tuple(User(ids.next_id(now_ms()), f"{name}_{number:05}") for number in range(count))


def make_group(ids: IdSource, name: str, members: tuple[User, ...], *, public: bool = False) -> Seeded:
    """Return a group, not stored yet, of these members, owned by the first."""
    group = Group(ids.next_id(now_ms()), name, members[0].id, public)
    return Seeded(group, Channel(ids.next_id(now_ms()), ChannelType.TEXT, "general", group.id), members)


async def store(settings: MongoSettings, groups: Sequence[Seeded], users: Sequence[User], ids: IdSource) -> None:
    """Store groups with all their members, and those of the users who are to come in. Raises `StartFailed`."""
    at = now_ms()
    joined: dict[int, list[AnyBody]] = {user.id: [UserRegistered(user)] for user in users}
    events: dict[str, list[AnyBody]] = {}
    for one in groups:
        members = [Member(one.group.id, user, at) for user in one.members]
        created = GroupCreated(one.group, (one.channel,), members[0])
        events[group_stream(one.group.id)] = [created, *map(MemberAdded, members[1:])]
        for seq, member in enumerate(members, 1):
            if member.user.id in joined:
                joined[member.user.id].append(GroupJoined(seq, member))
    events |= {user_stream(user_id): bodies for user_id, bodies in joined.items()}
    async with open_database(settings) as mongo:
        streams, shown = MongoStreams(mongo), _Gathered()
        groups_shown = _Groups(shown)
        names = list(events)
        for start in range(0, len(names), _STREAMS_AT_ONCE):
            some = {name: events[name] for name in names[start : start + _STREAMS_AT_ONCE]}
            for name, records in (await _write(streams, some, ids)).items():
                await project(groups_shown, name, records)
            await groups_shown.put_tallies()
            await shown.insert(mongo)
        for one in groups:
            if one.group.public:
                await MongoGroups(mongo).claim(Claim(group_name_key(one.group.name), one.group.id, at))


class _Gathered:
    """Stands in for the database where projections are written one by one, and inserts them all at once."""

    def __init__(self) -> None:
        self._documents: dict[str, list[Document]] = defaultdict(list)

    async def put_newer(self, collection: str, key: Any, seq: int, fields: Document) -> None:
        """Keep a document; nobody else writes it."""
        self._documents[collection].append({"_id": key, "seq": seq, **fields})

    async def insert(self, mongo: Mongo) -> None:
        """Insert what was kept, and keep nothing more."""
        for collection, documents in self._documents.items():
            for start in range(0, len(documents), _DOCUMENTS_AT_ONCE):
                await mongo[collection].insert_many(documents[start : start + _DOCUMENTS_AT_ONCE], ordered=False)
        self._documents.clear()


class _Groups(MongoGroups):
    """Groups' projections into what is gathered. A tally is read for each member, so these are kept until the end."""

    def __init__(self, shown: _Gathered) -> None:
        super().__init__(cast(Mongo, shown))
        self._tallies: dict[int, Tally] = {}

    async def tally_members(self, group_ids: Sequence[int]) -> dict[int, Tally]:
        """Return what was put here before."""
        return {group_id: self._tallies[group_id] for group_id in group_ids}

    async def put_tally(self, group_id: int, tally: Tally) -> None:
        """Keep a tally."""
        self._tallies[group_id] = tally

    async def put_tallies(self) -> None:
        """Project the tallies, and forget them."""
        for group_id, tally in self._tallies.items():
            await super().put_tally(group_id, tally)
        self._tallies.clear()


async def _write(
    streams: MongoStreams, bodies: Mapping[str, Sequence[AnyBody]], ids: IdSource
) -> dict[str, list[Record]]:
    """Store these streams, which are new, as projected and published. Returns their records."""
    tails = {name: Tail(name) for name in bodies}
    left = {name: [Draft(body) for body in its] for name, its in bodies.items()}
    records: dict[str, list[Record]] = {name: [] for name in bodies}
    while left:
        planned = {name: plan(tails[name], drafts, now_ms(), ids, CHANGE_LIMITS) for name, drafts in left.items()}
        stored = await streams.commit([write for write, _ in planned.values()])
        if not all(stored):
            raise StartFailed("the database did not take what is to be measured with")
        for name, (write, taken) in planned.items():
            tails[name] = write.after
            records[name] += write.records
            left[name] = left[name][taken:]
        left = {name: drafts for name, drafts in left.items() if drafts}
    await streams.raise_heads([_head_of(tail) for tail in tails.values()])
    return records


def _head_of(tail: Tail) -> Head:
    last = tail.next_seq - 1
    return Head(tail.stream, seq=last, tail=tail.first_seq, projected=last, published=last)
