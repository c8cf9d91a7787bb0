"""Authority: whatever is permitted, nobody has touched what is not below, or given or denied what is not held."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.groups.core.authority import Facts
from services.groups.core.channels import (
    MAX_CHANNELS,
    MAX_OVERWRITES,
    decide_change_channel,
    decide_create_channel,
    decide_delete_channel,
    decide_move_channels,
    decide_put_overwrite,
)
from services.groups.core.members import (
    MAX_TIMEOUT_MS,
    MemberPatch,
    decide_ban,
    decide_change_member,
    decide_give_role,
    decide_kick,
)
from services.groups.core.roles import (
    MAX_ROLES,
    decide_change_role,
    decide_create_role,
    decide_delete_role,
    decide_move_roles,
)
from shared.core.errors import InvalidForm, StarlingError
from shared.core.group_errors import InvalidRole, TooManyChannels, TooManyRoles
from shared.core.group_events import ChannelChanged, MemberChanged, RolesMoved
from shared.core.model import (
    Channel,
    ChannelMove,
    ChannelType,
    Group,
    Member,
    Overwrite,
    OverwriteType,
    Role,
    User,
)
from shared.core.permissions import ALL, DEFAULT, Permission, everyone_of, permissions_of
from shared.core.roles import all_roles, rank_of, rank_of_member

OWNER, ANN, BEN = User(10, "owner"), User(11, "ann"), User(12, "ben")
GROUP = Group(1, "room", OWNER.id)
NOW = 1_000
IDS = (2, 3, 4, 5)
BITS = (
    Permission.MANAGE_ROLES,
    Permission.MANAGE_CHANNELS,
    Permission.KICK_MEMBERS,
    Permission.BAN_MEMBERS,
    Permission.MODERATE_MEMBERS,
    Permission.MANAGE_NICKNAMES,
    Permission.ADMINISTRATOR,
    Permission.MENTION_EVERYONE,
    Permission.VIEW_CHANNEL,
)

bits = st.lists(st.sampled_from(BITS), max_size=5).map(lambda some: int(sum(set(some))))
held = st.sets(st.sampled_from(IDS)).map(lambda some: tuple(sorted(some)))
worlds = st.builds(
    lambda permissions, positions, ann, ben: (
        all_roles(1, (Role(one, 1, "role", permissions[one], positions[one]) for one in IDS)),
        Member(1, ANN, 0, roles=ann),
        Member(1, BEN, 0, roles=ben),
    ),
    st.fixed_dictionaries(dict.fromkeys(IDS, bits)),
    st.fixed_dictionaries({one: st.integers(1, 4) for one in IDS}),
    held,
    held,
)
World = tuple[dict[int, Role], Member, Member]


def facts(world: World) -> Facts:
    """Return what is so, for ann who asks."""
    return Facts(GROUP, world[0], world[1], NOW)


def order_of(roles: Mapping[int, Role]) -> list[int]:
    """Return role ids from the lowest up."""
    return [role.id for role in sorted(roles.values(), key=rank_of)]


@given(worlds, st.sampled_from(IDS), bits)
def test_roles_are_changed_from_above_only(world: World, role_id: int, permissions: int) -> None:
    """A role that could be changed or deleted stands below, and what was changed in it is held."""
    roles, ann, _ = world
    mine, rank = permissions_of(GROUP, roles, ann, NOW), rank_of_member(GROUP, roles, ann)
    for decide in (
        lambda: decide_change_role(facts(world), role_id, {"permissions": permissions}),
        lambda: decide_delete_role(facts(world), role_id),
    ):
        try:
            event = decide()
        except StarlingError:
            continue
        assert rank_of(roles[role_id]) < rank
        assert mine & Permission.MANAGE_ROLES
        if event is not None and hasattr(event, "before"):
            assert not (event.role.permissions ^ event.before.permissions) & ~mine


@given(worlds, bits)
def test_a_new_role_gives_nothing_that_is_not_held(world: World, permissions: int) -> None:
    """A new role stands below its maker's, who has all that it allows."""
    roles, ann, _ = world
    try:
        made = decide_create_role(facts(world), 99, {"permissions": permissions}).role
    except StarlingError:
        return
    mine = permissions_of(GROUP, roles, ann, NOW)
    assert not made.permissions & ~mine
    assert rank_of(made) < rank_of_member(GROUP, roles, ann)


@given(worlds, st.lists(st.tuples(st.sampled_from(IDS), st.integers(0, 9)), max_size=4))
def test_an_order_leaves_what_is_above(world: World, positions: list[tuple[int, int]]) -> None:
    """Whatever order is asked for: what is not below stays above all that was, in its own order."""
    roles, ann, _ = world
    try:
        event = decide_move_roles(facts(world), positions)
    except StarlingError:
        return
    rank = rank_of_member(GROUP, roles, ann)
    above = [one for one in order_of(roles) if rank_of(roles[one]) >= rank]
    after = all_roles(1, (roles | {role.id: role for role in (event or RolesMoved(())).roles}).values())
    assert order_of(after)[len(after) - len(above) :] == above
    assert order_of(after)[0] == GROUP.id


@given(worlds, st.sampled_from(IDS), st.booleans(), held)
def test_members_gain_nothing_that_is_not_held(
    world: World, role_id: int, given_: bool, wanted: tuple[int, ...]
) -> None:
    """Roles that could be given or taken stand below; given ones allow nothing that the giver has not."""
    roles, ann, ben = world
    mine, rank = permissions_of(GROUP, roles, ann, NOW), rank_of_member(GROUP, roles, ann)
    attempts: tuple[Callable[[], MemberChanged | None], ...] = (
        lambda: decide_give_role(facts(world), ben, role_id, given=given_),
        lambda: decide_change_member(facts(world), ben, MemberPatch(roles=frozenset(wanted))),
        lambda: decide_change_member(facts(world), ann, MemberPatch(roles=frozenset(wanted))),
    )
    for decide in attempts:
        try:
            event = decide()
        except StarlingError:
            continue
        if event is not None and event.before is not None:
            changed = {*event.member.roles} ^ {*event.before.roles}
            assert all(rank_of(roles[one]) < rank for one in changed)
            added = {*event.member.roles} - {*event.before.roles}
            assert all(not roles[one].permissions & ~mine for one in added)


@given(worlds)
def test_members_above_are_left_alone(world: World) -> None:
    """Whoever could be kicked, banned, timed out or renamed stands below, and no administrator is timed out."""
    roles, ann, ben = world
    attempts: dict[str, Callable[[], object]] = {
        "kick": lambda: decide_kick(facts(world), ben),
        "ban": lambda: decide_ban(facts(world), BEN, ben, None, ""),
        "mute": lambda: decide_change_member(facts(world), ben, MemberPatch(muted_until=NOW + 5)),
        "nick": lambda: decide_change_member(facts(world), ben, MemberPatch(nick="x")),
    }
    for name, decide in attempts.items():
        try:
            decide()
        except StarlingError:
            continue
        assert rank_of_member(GROUP, roles, ben) < rank_of_member(GROUP, roles, ann)
        if name == "mute":
            assert not permissions_of(GROUP, roles, ben, NOW) & Permission.ADMINISTRATOR


@given(worlds, st.sampled_from((1, *IDS)), bits, bits)
def test_overwrites_say_nothing_that_is_not_held(world: World, target: int, allow: int, deny: int) -> None:
    """What a channel says of a role could be changed only from above, and only in what is held."""
    roles, ann, _ = world
    channel = Channel(7, ChannelType.TEXT, "room", 1)
    overwrite = Overwrite(target, OverwriteType.ROLE, allow, deny)
    mine = permissions_of(GROUP, roles, ann, NOW)
    found: list[Channel] = []
    for decide in (
        lambda: decide_put_overwrite(facts(world), {7: channel}, {}, 7, overwrite),
        lambda: decide_change_channel(facts(world), {7: channel}, {}, 7, {"overwrites": (overwrite,)}),
        lambda: decide_create_channel(facts(world), {}, {}, 8, ChannelType.TEXT, {"overwrites": (overwrite,)}),
    ):
        try:
            event = decide()
        except StarlingError:
            continue
        found += [event.channel] if event is not None else []
    for changed in found:
        for one in changed.overwrites:
            assert not (one.allow | one.deny) & ~mine
            assert not one.allow & one.deny
            if one.allow | one.deny:
                assert rank_of(roles[one.id]) < rank_of_member(GROUP, roles, ann)


AS_OWNER = Facts(GROUP, {1: everyone_of(1)}, Member(1, OWNER, 0), NOW)


def test_limits() -> None:
    """Roles, channels, overwrites and timeouts have their limits, each with its own refusal."""
    many = all_roles(1, (Role(one, 1, "role") for one in range(2, MAX_ROLES + 1)))
    with pytest.raises(TooManyRoles):
        decide_create_role(msgspec.structs.replace(AS_OWNER, roles=many), 999, {})
    channels = {one: Channel(one, ChannelType.TEXT, "x", 1) for one in range(MAX_CHANNELS)}
    with pytest.raises(TooManyChannels):
        decide_create_channel(AS_OWNER, channels, {}, 999, ChannelType.TEXT, {"name": "x"})
    some = tuple(Overwrite(one, OverwriteType.MEMBER, 1) for one in range(MAX_OVERWRITES + 1))
    with pytest.raises(InvalidForm):
        decide_create_channel(AS_OWNER, {}, {}, 999, ChannelType.TEXT, {"overwrites": some})
    with pytest.raises(InvalidForm):
        decide_change_member(AS_OWNER, Member(1, BEN, 0), MemberPatch(muted_until=NOW + MAX_TIMEOUT_MS + 1))


def test_everyone_is_no_role_to_give() -> None:
    """@everyone can't be given, deleted, moved or renamed; what it allows can be changed."""
    for decide in (
        lambda: decide_give_role(AS_OWNER, Member(1, BEN, 0), 1, given=True),
        lambda: decide_delete_role(AS_OWNER, 1),
        lambda: decide_move_roles(AS_OWNER, [(1, 3)]),
        lambda: decide_change_role(AS_OWNER, 1, {"name": "all"}),
    ):
        with pytest.raises(InvalidRole):
            decide()
    changed = decide_change_role(AS_OWNER, 1, {"permissions": DEFAULT | 1 << 60})
    assert changed is None, "unknown bits are dropped"


def test_categories() -> None:
    """A channel stands under a category of its group, has its overwrites at first, and outlives it."""
    hidden = (Overwrite(1, OverwriteType.ROLE, deny=int(Permission.VIEW_CHANNEL)),)
    category = Channel(5, ChannelType.CATEGORY, "rooms", 1, overwrites=hidden)
    text = Channel(6, ChannelType.TEXT, "room", 1, parent_id=5)
    channels = {5: category, 6: text}
    made = decide_create_channel(AS_OWNER, channels, {}, 7, ChannelType.TEXT, {"name": "x", "parent_id": 5})
    assert made.channel == Channel(7, ChannelType.TEXT, "x", 1, position=2, parent_id=5, overwrites=hidden)
    for fields in ({"parent_id": 6}, {"parent_id": 99}):
        with pytest.raises(InvalidForm):
            decide_create_channel(AS_OWNER, channels, {}, 7, ChannelType.TEXT, {"name": "x", **fields})
    with pytest.raises(InvalidForm):
        decide_create_channel(AS_OWNER, channels, {}, 7, ChannelType.CATEGORY, {"name": "x", "parent_id": 5})
    assert decide_delete_channel(AS_OWNER, channels, 5).children == (6,)
    moved = decide_move_channels(AS_OWNER, channels, [{"id": 6, "parent_id": 0}, {"id": 5, "position": 0}])
    assert moved is not None
    assert moved.moves == (ChannelMove(6, 0, 0),)


def test_what_changes_nothing_is_no_event() -> None:
    """The same once more is no event; a repeat of it is answered as the first was."""
    text = Channel(6, ChannelType.TEXT, "room", 1)
    assert decide_change_channel(AS_OWNER, {6: text}, {}, 6, {"name": "room"}) is None
    assert decide_change_member(AS_OWNER, Member(1, BEN, 0, "x"), MemberPatch(nick="x")) is None
    said = decide_put_overwrite(AS_OWNER, {6: text}, {}, 6, Overwrite(1, OverwriteType.ROLE, deny=1 << 11))
    assert isinstance(said, ChannelChanged)
    again = Overwrite(1, OverwriteType.ROLE, deny=1 << 11)
    assert decide_put_overwrite(AS_OWNER, {6: said.channel}, {}, 6, again) is None
    assert said.channel.overwrites[0].deny & ALL
