"""What a user and a group have at most, each told by its own code, wherever it is met."""

from __future__ import annotations

from services.groups.core.channels import MAX_CHANNELS
from services.groups.core.decisions import MAX_GROUPS
from services.groups.core.roles import MAX_ROLES
from services.groups.store import Membership
from shared.core.model import Channel, ChannelType, Role
from tests.groups.test_rest import error_of
from tests.groups.world import Json, Replica, World


async def test_groups_of_one_user(world: World, groups: Replica) -> None:
    """Who is in 200 groups makes none, joins none by name or invite, and is put into none; a place less, and all go."""
    ann, _ = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    group, channel = await groups.create_group(ann, "Room")
    code = (await groups.call("POST", f"/channels/{channel}/invites", ann)).json()["code"]
    for number in range(1, MAX_GROUPS + 1):
        await world.store.put_membership(Membership(bob_id, number, 1, present=True), number)
    ways: tuple[tuple[str, str, str, Json], ...] = (
        ("POST", "/guilds", bob, {"name": "Hall"}),
        ("POST", "/guilds/join", bob, {"name": "Room"}),
        ("POST", f"/invites/{code}", bob, {}),
        ("PUT", f"/guilds/{group}/members/{bob_id}", ann, {}),
    )
    for method, path, token, body in ways:
        assert error_of(await groups.call(method, path, token, body)) == (400, 30001), path
    await world.store.put_membership(Membership(bob_id, 1, 2, present=False), MAX_GROUPS + 1)
    assert (await groups.call("POST", "/guilds/join", bob, {"name": "Room"})).status_code == 200


async def test_members_of_one_group(world: World, groups: Replica) -> None:
    """A full group lets nobody in; a member who asks again stays one, and a place that is left is given."""
    ann, _ = await groups.register("ann")
    people = [await groups.register(f"user{number}") for number in range(3)]
    group, channel = await groups.create_group(ann, "Room")
    code = (await groups.call("POST", f"/channels/{channel}/invites", ann)).json()["code"]
    async with world.open_replica(max_members=3) as small:
        for token, _ in people[:2]:
            assert (await small.call("POST", "/guilds/join", token, {"name": "Room"})).status_code == 200
        late, late_id = people[2]
        ways: tuple[tuple[str, str, str, Json], ...] = (
            ("POST", "/guilds/join", late, {"name": "Room"}),
            ("POST", f"/invites/{code}", late, {}),
            ("PUT", f"/guilds/{group}/members/{late_id}", ann, {}),
        )
        for method, path, token, body in ways:
            assert error_of(await small.call(method, path, token, body)) == (400, 30019), path
        assert (await small.call("POST", "/guilds/join", people[0][0], {"name": "Room"})).status_code == 200
        await small.call("DELETE", f"/users/@me/guilds/{group}", people[0][0])
        assert (await small.call("POST", f"/invites/{code}", late)).status_code == 200
        assert (await small.call("GET", f"/invites/{code}", late)).status_code == 200


async def test_channels_and_roles_of_one_group(world: World, groups: Replica) -> None:
    """500 channels and 250 roles, @everyone's among them; one more is refused."""
    ann, _ = await groups.register("ann")
    group, _ = await groups.create_group(ann, "Room")
    for number in range(1, MAX_CHANNELS):
        await world.store.put_channel(Channel(number, ChannelType.TEXT, "x", group), 1)
    for number in range(1, MAX_ROLES):
        await world.store.put_role(Role(number, group, "x", position=number), 1)
    assert error_of(await groups.call("POST", f"/guilds/{group}/channels", ann, {"name": "x"})) == (400, 30013)
    assert error_of(await groups.call("POST", f"/guilds/{group}/roles", ann, {"name": "x"})) == (400, 30005)
