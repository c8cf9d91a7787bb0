"""The calls that groups serves: what they tell, and to which seq it is complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from services.groups.handlers import handlers_of
from shared.core.calls import (
    Access,
    EventPage,
    Groups,
    MemberPage,
    Mentionable,
    ReadAccess,
    ReadChanges,
    ReadGroups,
    ReadMembers,
    ReadMentionable,
    ReadRevocations,
    ReadSessions,
    Sessions,
)
from shared.core.change import Actor
from shared.core.errors import Unavailable
from shared.core.group_events import GroupCreated, MemberAdded
from shared.core.model import Member, User
from shared.core.revocation import Revocations
from shared.core.stream import Event, group_stream, user_stream
from shared.core.user_events import GroupJoined, UserRegistered
from shared.rpc import Rpc, serve_calls
from tests.groups.world import FaultyStreams, Replica, World


@pytest.fixture
async def rpc(world: World, groups: Replica) -> AsyncIterator[Rpc]:
    """Serve the calls of a replica, and return who asks."""
    handlers = handlers_of(groups.groups.views, groups.groups.snapshots)
    server = asyncio.create_task(serve_calls(world.bus, world.topology, "groups", handlers))
    await asyncio.sleep(0)  # it subscribes
    yield Rpc(world.bus, world.topology)
    server.cancel()
    await asyncio.gather(server, return_exceptions=True)


async def test_session(rpc: Rpc, groups: Replica) -> None:
    """A session begins with its user, groups and direct channels; nobody has none."""
    ann, ann_id = await groups.register("ann")
    _, bob_id = await groups.register("bob")
    group, _ = await groups.create_group(ann, "Room")
    direct = await groups.groups.directs.open(ann_id, bob_id)
    told: Sessions = await rpc.call(ReadSessions((4242, ann_id)))
    (session,) = told.views
    assert session.user.username == "ann"
    assert session.user_seq == 2
    assert [member.group_id for member in session.memberships] == [group]
    assert [(view.channel, view.last_seq) for view in session.directs] == [(direct, 1)]


async def test_revocations(rpc: Rpc, groups: Replica) -> None:
    """What a user revoked is told to who asks for it alone, and with the session; nobody revoked nothing."""
    token, ann_id = await groups.register("ann")
    bearer = groups.tokens.verify(token)
    assert await rpc.call(ReadRevocations(ann_id)) == Revocations()
    await groups.groups.accounts.logout(bearer)
    told = await rpc.call(ReadRevocations(ann_id))
    assert told.void(bearer)
    sessions: Sessions = await rpc.call(ReadSessions((ann_id,)))
    (session,) = sessions.views
    assert (session.user_seq, session.revocations) == (2, told)
    assert await rpc.call(ReadRevocations(4242)) == Revocations()


async def test_groups(rpc: Rpc, groups: Replica) -> None:
    """Bodies of groups carry the seq of their stream; those that are not there are left out."""
    ann, _ = await groups.register("ann")
    group, channel = await groups.create_group(ann, "Room")
    for number in range(3):
        _, user = await groups.register(f"user{number}")
        await groups.groups.memberships.join(user, "room")
    told: Groups = await rpc.call(ReadGroups((group, 4242, group)))
    views = told.views
    assert [view.group.id for view in views] == [group]
    assert (views[0].seq, views[0].member_count, len(views[0].members)) == (4, 4, 4)
    assert [view.channel.id for view in views[0].channels] == [channel]


async def test_access(rpc: Rpc, groups: Replica) -> None:
    """Access follows membership at once, with the seq that its facts hold; direct channels are their users' own."""
    ann, ann_id = await groups.register("ann")
    _, bob_id = await groups.register("bob")
    group, channel = await groups.create_group(ann, "Room")

    async def read(channel_id: int, user_id: int) -> Access:
        access: Access = await rpc.call(ReadAccess(channel_id, user_id))
        return access

    stranger = await read(channel, bob_id)
    assert (stranger.can_view, stranger.can_send, stranger.group_seq) == (False, False, 1)
    assert stranger.channel is not None
    await groups.groups.memberships.join(bob_id, "room")
    for _ in range(2):  # the second is from the cache
        member = await read(channel, bob_id)
    assert (member.can_view, member.can_send, member.group_seq) == (True, True, 2)
    assert member.user is not None
    assert member.user.username == "bob"
    await groups.groups.memberships.leave(bob_id, group)
    gone = await read(channel, bob_id)
    assert (gone.can_view, gone.can_send, gone.group_seq) == (False, False, 3)
    _, eve_id = await groups.register("eve")
    direct = await groups.groups.directs.open(ann_id, bob_id)
    assert (await read(direct.id, bob_id)).can_send
    assert await read(direct.id, eve_id) == Access(None, (await read(direct.id, eve_id)).user, 0, 0)
    assert (await read(4242, ann_id)).channel is None
    assert (await read(channel, 4242)).user is None


async def test_mentionable(rpc: Rpc, groups: Replica) -> None:
    """Whom a message can call: members and the group's roles of those asked about, and which roles anybody may."""
    ann, ann_id = await groups.register("ann")
    (_, bob_id), (_, eve_id) = [await groups.register(name) for name in ("bob", "eve")]
    group, _ = await groups.create_group(ann, "Room")
    await groups.groups.memberships.join(bob_id, "room")
    told: Mentionable = await rpc.call(ReadMentionable(group, (bob_id, eve_id, 4242, ann_id)))
    assert [user.username for user in told.users] == ["bob", "ann"]
    assert await rpc.call(ReadMentionable(group)) == Mentionable()
    staff = await groups.groups.roles.create(Actor(ann_id), group, {"name": "staff"})
    fans = await groups.groups.roles.create(Actor(ann_id), group, {"name": "fans", "mentionable": True})
    roles: Mentionable = await rpc.call(ReadMentionable(group, (), (fans.id, group, 4242, staff.id)))
    assert (roles.users, roles.roles, roles.open_roles) == ((), (fans.id, staff.id), (fans.id,))


async def test_members(rpc: Rpc, world: World) -> None:
    """Pages stay below the size of an answer and go on where they ended; by name and id there are a hundred at most."""
    for number in range(1, 901):
        user = User(number, f"member{number}", "A long name that is shown, to fill answers")
        await world.store.put_member(Member(9, user, 0), 1)
    found: list[int] = []
    page: MemberPage = await rpc.call(ReadMembers(9))
    while page.after:
        assert len(msgspec.msgpack.encode(page)) < 64 * 1024
        found += [member.user.id for member in page.members]
        page = await rpc.call(ReadMembers(9, page.after, 1000))
    assert found + [member.user.id for member in page.members] == [*range(1, 901)]
    page = await rpc.call(ReadMembers(9, 5, 3))
    assert ([member.user.id for member in page.members], page.after) == ([6, 7, 8], 8)
    for asked in (ReadMembers(9, prefix="MEM"), ReadMembers(9, user_ids=(*range(300),))):
        page = await rpc.call(asked)
        assert (len(page.members) in {99, 100}, page.after) == (True, 0)
    page = await rpc.call(ReadMembers(9, user_ids=(7, 7_000), limit=1))
    assert [member.user.id for member in page.members] == [7]


async def test_changes(rpc: Rpc, world: World, groups: Replica) -> None:
    """Events after a seq come in order and in pages, over bucket borders, routed as they were published."""
    ann, ann_id = await groups.register("ann")
    _, bob_id = await groups.register("bob")
    group, _ = await groups.create_group(ann, "Room")
    for _ in range(5):
        await groups.groups.memberships.join(bob_id, "room")
        await groups.groups.memberships.leave(bob_id, group)
    found: list[Event] = []
    while True:
        page: EventPage = await rpc.call(ReadChanges(group_stream(group), len(found), 4))
        found += page.events
        if not page.has_more:
            break
        assert len(page.events) == 4
    assert [event.record.seq for event in found] == list(range(1, 12))
    assert {event.group_id for event in found} == {group}
    assert isinstance(found[0].record.body, GroupCreated)
    assert isinstance(found[1].record.body, MemberAdded)
    assert await rpc.call(ReadChanges(group_stream(group), 11)) == EventPage((), has_more=False)
    assert await rpc.call(ReadChanges(group_stream(4242), 0)) == EventPage((), has_more=False)
    own: EventPage = await rpc.call(ReadChanges(user_stream(ann_id), 0))
    assert [type(event.record.body) for event in own.events] == [UserRegistered, GroupJoined]
    assert {event.to for event in own.events} == {(ann_id,)}


async def test_an_outage_is_told_as_such(rpc: Rpc, world: World, groups: Replica) -> None:
    """With the database away a caller is told to try again, not that there is no such user."""
    _, ann_id = await groups.register("ann")
    assert isinstance(world.streams, FaultyStreams)
    world.streams.away = True
    with pytest.raises(Unavailable):
        await rpc.call(ReadSessions((ann_id,)))
