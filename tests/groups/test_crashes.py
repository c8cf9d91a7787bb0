"""Whatever step a process dies at, a repeat or another replica's sweeper finishes, in order, and nothing doubles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from services.groups.accounts import Accounts
from services.groups.service import Groups
from shared.core.change import Actor
from shared.core.errors import InvalidForm, StarlingError, Unavailable
from shared.core.group_events import MemberAdded, MemberRemoved
from shared.core.model import ChannelType, User
from shared.core.stream import group_stream, user_stream
from shared.core.user_events import GroupJoined, GroupLeft
from tests.groups.fuse import Crash, Fuse, Moment
from tests.groups.world import PASSWORD, FaultyStreams, Replica, World, open_world

MOST_STEPS = 80
MOMENTS = pytest.mark.parametrize("moment", ["before", "after"])


@dataclass
class Scene:
    """A public group of Ann's, which Bob is in and Eve is not; a healthy replica."""

    world: World
    healthy: Replica
    ann: int
    bob: int
    eve: int
    group: int
    channel: int


@asynccontextmanager
async def open_scene() -> AsyncIterator[Scene]:
    """Open a world with the scene in it; the listener hears everything from here on."""
    async with open_world() as world, world.open_replica() as healthy:
        (_, ann), (bob_token, bob), (_, eve) = [await healthy.register(name) for name in ("ann", "bob", "eve")]
        group, channel = await healthy.create_group(healthy.tokens.mint(ann, world.now), "Room")
        await world.follow(f"g.{group}", f"u.{ann}", f"u.{bob}", f"u.{eve}")
        await healthy.call("POST", "/guilds/join", bob_token, {"name": "Room"})
        yield Scene(world, healthy, ann, bob, eve, group, channel)


async def crash_at(scene: Scene, step: int, moment: Moment, work: Callable[[Groups], Awaitable[Any]]) -> bool:
    """Do some work in a process that dies at a step; False if the work was done before that."""
    async with scene.world.open_replica(fuse=Fuse(step, moment)) as dying:
        try:
            await work(dying.groups)
        except Crash:
            return True
    return False


async def sweep_later(scene: Scene) -> None:
    """Let the healthy replica's sweeper come by when the left-over is old enough; then nothing is dirty."""
    scene.world.now += 1_500
    await scene.healthy.groups.changes.sweep()
    assert await scene.world.streams.find_dirty(scene.world.now, 10) == []


def heard_in_order(world: World, stream: str) -> list[Any]:
    """Return the bodies of a stream as a node takes them; their seqs must come in order and without a hole."""
    seqs = world.seqs_heard(stream)
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True
    return world.bodies_heard(stream)


@pytest.mark.parametrize("repeats", [True, False])
@MOMENTS
async def test_join(moment: Moment, *, repeats: bool) -> None:
    """A join that dies at any step is finished by its repeat, or by the sweeper if it was stored."""
    for step in range(1, MOST_STEPS):
        async with open_scene() as scene:
            died = await crash_at(scene, step, moment, lambda groups: groups.memberships.join(scene.eve, "room"))
            if repeats:
                await scene.healthy.groups.memberships.join(scene.eve, "room")
            await sweep_later(scene)
            joined = [
                body
                for body in heard_in_order(scene.world, group_stream(scene.group))
                if isinstance(body, MemberAdded) and body.member.user.id == scene.eve
            ]
            own = heard_in_order(scene.world, user_stream(scene.eve))
            session = await scene.healthy.read_session(scene.eve)
            assert len(joined) == (1 if repeats else len(joined))
            assert len(own) == len(joined) == len(session.memberships)
            assert all(isinstance(body, GroupJoined) for body in own)
            access = await scene.healthy.groups.views.read_access(scene.channel, scene.eve)
            assert access.can_send == bool(joined)
            if not died:
                assert step > 15, "the fuse did not guard"
                return
    pytest.fail("a join takes more steps than expected")


@MOMENTS
async def test_leave(moment: Moment) -> None:
    """A leave that dies at any step is finished by its repeat: gone once, told once, and no access."""
    for step in range(1, MOST_STEPS):
        async with open_scene() as scene:
            died = await crash_at(scene, step, moment, lambda groups: groups.memberships.leave(scene.bob, scene.group))
            await scene.healthy.groups.memberships.leave(scene.bob, scene.group)
            await sweep_later(scene)
            events = heard_in_order(scene.world, group_stream(scene.group))
            assert [type(body) for body in events] == [MemberAdded, MemberRemoved]
            own = heard_in_order(scene.world, user_stream(scene.bob))
            assert [type(body) for body in own] == [GroupJoined, GroupLeft]
            assert not (await scene.healthy.groups.views.read_access(scene.channel, scene.bob)).can_view
            if not died:
                return
    pytest.fail("a leave takes more steps than expected")


@MOMENTS
async def test_create_channel(moment: Moment) -> None:
    """A channel whose creation died is there for everybody or for nobody, never twice."""
    for step in range(1, MOST_STEPS):
        async with open_scene() as scene:
            died = await crash_at(
                scene,
                step,
                moment,
                lambda groups: groups.channels.create(
                    Actor(scene.ann), scene.group, ChannelType.TEXT, {"name": "more"}
                ),
            )
            await sweep_later(scene)
            view = (await scene.healthy.groups.snapshots.read_groups((scene.group,))).get(scene.group)
            assert view is not None
            created = [
                body
                for body in heard_in_order(scene.world, group_stream(scene.group))
                if not isinstance(body, MemberAdded)
            ]
            assert len(view.channels) - 1 == len(created) <= 1
            if not died:
                assert created
                return
    pytest.fail("a channel takes more steps than expected")


@MOMENTS
async def test_create_group(moment: Moment) -> None:
    """A public name whose group never came to be is free again after a minute, else it is the group's."""
    for step in range(1, MOST_STEPS):
        async with open_scene() as scene:
            memberships = scene.healthy.groups.memberships
            died = await crash_at(
                scene, step, moment, lambda groups: groups.memberships.create_group(scene.eve, "Club", public=True)
            )
            await sweep_later(scene)
            scene.world.now += 61_000
            session = await scene.healthy.read_session(scene.eve)
            if session.memberships:
                assert (await memberships.join(scene.bob, "club")).owner_id == scene.eve
                with pytest.raises(InvalidForm):
                    await memberships.create_group(scene.bob, "CLUB", public=True)
            else:
                group, _ = await memberships.create_group(scene.bob, "CLUB", public=True)
                assert (await memberships.join(scene.eve, "club")).id == group.id
            if not died:
                return
    pytest.fail("a group takes more steps than expected")


async def log_in(accounts: Accounts, password: str) -> User | None:
    """Log in as Ann; None if the password is not hers."""
    with suppress(InvalidForm):
        return (await accounts.login("ann", password))[1]
    return None


@MOMENTS
async def test_register(moment: Moment) -> None:
    """A registration that died either made the account, or frees the name after a minute: one owner in the end."""
    for step in range(1, MOST_STEPS):
        async with open_world() as world, world.open_replica() as healthy:
            scene = Scene(world, healthy, 0, 0, 0, 0, 0)
            died = await crash_at(scene, step, moment, lambda groups: groups.accounts.register("Ann", PASSWORD))
            world.now += 61_000
            await sweep_later(scene)
            accounts = healthy.groups.accounts
            if await log_in(accounts, PASSWORD) is not None:
                with pytest.raises(InvalidForm):
                    await accounts.register("ann", "another password")
                user = await log_in(accounts, PASSWORD)
            else:
                _, user = await accounts.register("ann", "another password")
                assert await log_in(accounts, "another password") == user
            assert user is not None
            assert (await healthy.read_session(user.id)).user == user
            if not died:
                return
    pytest.fail("a registration takes more steps than expected")


async def reached_or_done(fuse: Fuse, task: asyncio.Task[Any]) -> bool:
    """Wait until a task pauses at its fuse (True) or has ended."""
    reached = asyncio.create_task(fuse.reached.wait())
    await asyncio.wait((task, reached), return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    return fuse.reached.is_set()


@MOMENTS
async def test_two_registrations_cross(moment: Moment) -> None:
    """One registration stands still at any step for a minute, another takes its name over and stands still too.

    However they go on, at most one of them is told that it is the owner, and that one is.
    """
    passwords = ("first password", "other password")
    told = set()
    for step in range(1, MOST_STEPS):
        paused = True
        for other_step in range(1, MOST_STEPS):
            fuse, other_fuse = Fuse(step, moment, pauses=True), Fuse(other_step, "before", pauses=True)
            async with open_world() as world, world.open_replica(fuse=fuse) as slow:
                first = asyncio.create_task(slow.groups.accounts.register("ann", passwords[0]))
                paused = await reached_or_done(fuse, first)
                world.now += 61_000
                async with world.open_replica(fuse=other_fuse) as quick:
                    other = asyncio.create_task(quick.groups.accounts.register("ann", passwords[1]))
                    other_paused = await reached_or_done(other_fuse, other)
                    fuse.go_on.set()
                    await asyncio.wait((first,))
                    other_fuse.go_on.set()
                    outcomes = await asyncio.gather(first, other, return_exceptions=True)
                    owners = [place for place, one in enumerate(outcomes) if not isinstance(one, BaseException)]
                    assert all(isinstance(one, StarlingError) for one in outcomes if isinstance(one, BaseException))
                    assert len(owners) <= 1, f"steps {step} and {other_step}: {outcomes}"
                    told.add(tuple(owners))
                    for place in owners:
                        user = await log_in(quick.groups.accounts, passwords[place])
                        assert user == outcomes[place][1]  # type: ignore[index]
            if not other_paused:
                break
        if not paused:
            assert told == {(), (0,), (1,)}, "not every way to cross was met"
            return
    pytest.fail("a registration takes more steps than expected")


@MOMENTS
async def test_open_direct(moment: Moment) -> None:
    """A direct channel whose opening died is opened by either user's repeat: the same one, for both."""
    for step in range(1, MOST_STEPS):
        async with open_scene() as scene:
            directs, views = scene.healthy.groups.directs, scene.healthy.groups.views
            died = await crash_at(scene, step, moment, lambda groups: groups.directs.open(scene.bob, scene.eve))
            opened = await directs.open(scene.eve, scene.bob)
            assert await directs.open(scene.bob, scene.eve) == opened
            for user in (scene.bob, scene.eve):
                assert [view.channel for view in await views.list_directs(user)] == [opened]
            assert len(heard_in_order(scene.world, f"c:{opened.id}")) == 1
            if not died:
                return
    pytest.fail("a direct channel takes more steps than expected")


async def test_a_direct_channel_that_was_not_projected_is_found() -> None:
    """A direct channel in whose stream people write is there for whoever asks, though its opener died too early."""
    for step in range(1, MOST_STEPS):
        async with open_scene() as scene:
            await crash_at(scene, step, "before", lambda groups: groups.directs.open(scene.bob, scene.eve))
            if not (channel := next((e.stream for e in scene.world.heard if e.stream.startswith("c:")), "")):
                continue
            access = await scene.healthy.groups.views.read_access(int(channel[2:]), scene.eve)
            assert access.can_send
            return
    pytest.fail("no step between the channel's stream and its projection")


async def test_an_unconfirmed_publish_is_no_answer() -> None:
    """Without the bus's confirm a join is a retryable error, and its repeat is answered; told once all the same."""
    async with open_scene() as scene:
        scene.world.bus.failing, scene.world.bus.delivers = 1, True
        with pytest.raises(Unavailable):
            await scene.healthy.groups.memberships.join(scene.eve, "room")
        await scene.healthy.groups.memberships.join(scene.eve, "room")
        assert len(heard_in_order(scene.world, user_stream(scene.eve))) == 1
        assert len(heard_in_order(scene.world, group_stream(scene.group))) == 2


async def test_a_creation_is_answered_once_stored() -> None:
    """A repeat would create again, so a creation whose publish failed is still answered, and published later."""
    async with open_scene() as scene:
        scene.world.bus.failing = 1
        channel = await scene.healthy.groups.channels.create(
            Actor(scene.ann), scene.group, ChannelType.TEXT, {"name": "more"}
        )
        assert channel.name == "more"
        assert len(heard_in_order(scene.world, group_stream(scene.group))) == 1
        await sweep_later(scene)
        assert len(heard_in_order(scene.world, group_stream(scene.group))) == 2


async def test_an_outage_is_a_retryable_error() -> None:
    """With the database away every route says 503, and goes on when it is back."""
    async with open_scene() as scene:
        token = scene.healthy.tokens.mint(scene.bob, scene.world.now)
        streams = scene.world.streams
        assert isinstance(streams, FaultyStreams)
        streams.away = True
        for method, path, body in (
            ("POST", "/guilds/join", {"name": "Room"}),
            ("POST", "/guilds", {"name": "Club"}),
            ("GET", f"/channels/{scene.channel}", None),
            ("POST", "/auth/register", {"username": "zoe", "password": PASSWORD}),
        ):
            answer = await scene.healthy.call(method, path, token, body)
            assert (answer.status_code, answer.json()["code"]) == (503, 0)
        streams.away = False
        assert (await scene.healthy.call("POST", "/guilds/join", token, {"name": "Room"})).status_code == 200
