"""Bans that delete what the banned wrote, and bans of several users at once."""

from __future__ import annotations

from shared.core.change import Actor
from shared.core.commands import COMMAND_LIFETIME_MS, SendMessage
from shared.core.ids import ms_of
from shared.core.message_events import MessageCreated, MessagesDeleted
from shared.core.model import User
from shared.core.stream import CHANNEL_LIMITS, channel_stream
from tests.groups.test_permissions import Scene, open_scene
from tests.groups.world import Json, Replica, World

HOUR, WINDOW_MS = 3_600_000, CHANNEL_LIMITS.window_ms


async def write(world: World, scene: Scene, channel: int, author: int, number: int) -> None:
    """Have a message stored."""
    await world.settle_history(
        SendMessage(
            command_id=number,
            channel_id=channel,
            reply_to="nobody",
            expires_at=world.now + COMMAND_LIFETIME_MS,
            author=User(author, "somebody"),
            content=f"message {number}",
            group_id=scene.group,
        )
    )


async def left(world: World, channel: int) -> list[tuple[int, int]]:
    """Return author and time of the messages that there are, in all of a channel."""
    stream = channel_stream(channel)
    seq, found = 1, []
    while (bucket := await world.streams.find_bucket_of_seq(stream, seq)) is not None:
        found += [
            (record.body.author.id, ms_of(record.id))
            for record in bucket.messages
            if isinstance(record.body, MessageCreated)
        ]
        seq = bucket.next_seq
    return found


async def sweep(replica: Replica) -> None:
    """Do all that is asked for."""
    while await replica.groups.jobs.sweep():
        pass


async def test_a_ban_deletes_what_was_written_lately(world: World, groups: Replica) -> None:
    """In every channel, also where the moderator sees none, however many buckets; older messages and others' stay."""
    scene = await open_scene(groups)
    victim = await scene.new_member()
    other, begin, number = scene.ids["member"], world.now, 0
    channels = [await scene.new_channel(), await scene.new_channel(hidden=True), await scene.new_channel()]
    for _ in range(130):
        world.now += HOUR // 10
        for channel in channels[:2]:
            for author in (victim, other):
                number += 1
                await write(world, scene, channel, author, number)
    since = world.now - 5 * HOUR
    body = {"delete_message_seconds": 5 * 3600}
    path = f"{scene.path}/bans/{victim}"
    assert (await groups.call("PUT", path, scene.tokens["moderator"], body)).status_code == 204
    await sweep(groups)
    for channel in channels[:2]:
        messages = await left(world, channel)
        assert sum(author == other for author, _ in messages) == 130
        assert max(at for author, at in messages if author == victim) < since
        assert min(at for author, at in messages if author == victim) > begin
    assert (await groups.call("PUT", path, scene.tokens["moderator"], body)).status_code == 204
    await sweep(groups)
    assert [len(await left(world, channel)) for channel in channels[:2]] == [130 + 79, 130 + 79]
    assert (await groups.call("PUT", path, scene.tokens["moderator"], {"delete_message_days": 7})).status_code == 204
    await sweep(groups)
    assert {author for channel in channels for author, _ in await left(world, channel)} == {other}


async def test_a_ban_that_was_lifted_or_refused_deletes_nothing(world: World, groups: Replica) -> None:
    """Who may not ban has nothing deleted, also of who is banned already; nor does a ban that is no more."""
    scene = await open_scene(groups)
    victim, channel = await scene.new_member(), await scene.new_channel()
    await write(world, scene, channel, victim, 1)
    path, body = f"{scene.path}/bans/{victim}", {"delete_message_days": 7}
    for kind in ("member", "timed out", "stranger"):
        assert (await groups.call("PUT", path, scene.tokens[kind], body)).status_code >= 400
    await scene.as_owner("PUT", path)
    assert (await groups.call("PUT", path, scene.tokens["member"], body)).json()["code"] == 50013
    await sweep(groups)
    await scene.as_owner("PUT", path, body)
    await scene.as_owner("DELETE", path)
    await sweep(groups)
    assert len(await left(world, channel)) == 1
    for wrong in ({"delete_message_seconds": 604_801}, {"delete_message_days": 8}, {"delete_message_seconds": -1}):
        assert (await groups.call("PUT", path, scene.tokens["owner"], wrong)).json()["code"] == 50035


async def test_many_buckets_are_walked_in_steps(world: World, groups: Replica) -> None:
    """More buckets than one step reads: each asks for the next, until the time that was asked for."""
    scene = await open_scene(groups)
    victim, channel = await scene.new_member(), await scene.new_channel()
    stream = channel_stream(channel)
    step = WINDOW_MS // 4
    for number in range(1, 100):
        world.now += step
        await write(world, scene, channel, victim, number)
    # As if all of it had been written this week: the steps are what is looked at here.
    await groups.groups.members.ban(Actor(scene.ids["owner"]), scene.group, victim, delete_s=step * 90 // 1000)
    done = 0
    while one := await groups.groups.jobs.sweep():
        done += one
    assert len(await left(world, channel)) == 99 - 91
    assert done > 2
    deleted = [body for body in world.bodies_heard(stream) if isinstance(body, MessagesDeleted)]
    assert all(body.by == scene.ids["owner"] for body in deleted)


async def test_bans_of_several(groups: Replica) -> None:
    """Who can be banned is; who stands above, or is nobody, is told as failed; if nobody can be, that is the answer."""
    scene = await open_scene(groups)
    one, other, stranger = await scene.new_member(), await scene.new_member(), await scene.new_user()
    path, admin = f"{scene.path}/bulk-ban", str(scene.ids["admin"])
    wanted = [str(one), admin, str(other), "5", str(stranger), str(one)]
    answer = await groups.call("POST", path, scene.tokens["moderator"], {"user_ids": wanted})
    assert answer.json() == {"banned_users": [str(one), str(other), str(stranger)], "failed_users": [admin, "5"]}
    listed = await scene.as_owner("GET", f"{scene.path}/bans")
    assert {ban["user"]["id"] for ban in listed} == {str(one), str(other), str(stranger), str(scene.ids["banned"])}
    refused = await groups.call("POST", path, scene.tokens["moderator"], {"user_ids": [admin]})
    assert (refused.status_code, refused.json()["code"]) == (400, 500000)
    wrongs: tuple[Json, ...] = ({"user_ids": []}, {"user_ids": [str(number) for number in range(1, 202)]}, {})
    for wrong in wrongs:
        assert (await groups.call("POST", path, scene.tokens["owner"], wrong)).json()["code"] == 50035
