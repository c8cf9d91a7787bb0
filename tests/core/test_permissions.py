"""Permissions: the function agrees with Discord's documented algorithm on any roles and overwrites."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.core.calls import Access
from shared.core.model import Channel, ChannelType, Group, Member, Overwrite, OverwriteType, Role, User
from shared.core.permissions import ALL, DEFAULT, DIRECT, TIMED_OUT, Permission, everyone_of, permissions_of
from shared.core.sending import place_of

GROUP = Group(1, "room", owner_id=10)
ROLES = (1, 2, 3, 4)
USERS = (10, 11, 12)
NOW = 1_000_000

interesting = st.sampled_from([*Permission])
bits = st.lists(interesting, max_size=6).map(lambda some: int(sum(set(some))))
roles = st.dictionaries(st.sampled_from(ROLES), bits)
overwrites = st.dictionaries(
    st.one_of(
        st.tuples(st.just(OverwriteType.ROLE), st.sampled_from(ROLES)),
        st.tuples(st.just(OverwriteType.MEMBER), st.sampled_from(USERS)),
    ),
    st.tuples(bits, bits),
)


def documented(member: Member, permissions: dict[int, int], channel: dict[tuple[OverwriteType, int], Any]) -> int:
    """Return what Discord's documentation computes: `compute_base_permissions`, then `compute_overwrites`."""

    def compute_base_permissions() -> int:
        if member.user.id == GROUP.owner_id:
            return ALL
        result = permissions[GROUP.id]  # get @everyone role
        for role in member.roles:
            result |= permissions[role]
        if result & Permission.ADMINISTRATOR == Permission.ADMINISTRATOR:
            return ALL
        return result

    def compute_overwrites(base_permissions: int) -> int:
        # ADMINISTRATOR overrides any potential permission overwrites, so there is nothing to do here.
        if base_permissions & Permission.ADMINISTRATOR == Permission.ADMINISTRATOR:
            return ALL
        result = base_permissions
        overwrite_everyone = channel.get((OverwriteType.ROLE, GROUP.id))  # Find (@everyone) role overwrite and apply it
        if overwrite_everyone:
            result &= ~overwrite_everyone[1]
            result |= overwrite_everyone[0]
        allow = deny = 0  # Apply role specific overwrites.
        for role_id in member.roles:
            overwrite_role = channel.get((OverwriteType.ROLE, role_id))
            if overwrite_role:
                allow |= overwrite_role[0]
                deny |= overwrite_role[1]
        result &= ~deny
        result |= allow
        overwrite_member = channel.get((OverwriteType.MEMBER, member.user.id))  # Apply member specific overwrite
        if overwrite_member:
            result &= ~overwrite_member[1]
            result |= overwrite_member[0]
        return result

    return compute_overwrites(compute_base_permissions())


def implied(result: int) -> int:
    """Return what is left after the documentation's implicit permissions of a text channel."""
    if not result & Permission.VIEW_CHANNEL:
        return 0
    if not result & Permission.SEND_MESSAGES:
        for one in ("MENTION_EVERYONE", "SEND_TTS_MESSAGES", "ATTACH_FILES", "EMBED_LINKS"):
            result &= ~Permission[one]
    return result


def room(channel: dict[tuple[OverwriteType, int], Any]) -> Channel:
    """Return a channel with these overwrites."""
    its = tuple(Overwrite(target, kind, *pair) for (kind, target), pair in channel.items())
    return Channel(7, ChannelType.TEXT, "room", GROUP.id, overwrites=its)


@given(roles, st.sets(st.sampled_from(ROLES[1:])), st.sampled_from(USERS), overwrites)
def test_it_is_what_discord_documents(
    permissions: dict[int, int], held: set[int], user_id: int, channel: dict[tuple[OverwriteType, int], Any]
) -> None:
    """On any roles, overwrites and member it gives what the documented algorithm and its implicit rules give."""
    permissions = dict.fromkeys(ROLES, 0) | permissions
    member = Member(GROUP.id, User(user_id, "ann"), 0, roles=tuple(held))
    known = {one: Role(one, GROUP.id, "role", allowed) for one, allowed in permissions.items()}
    assert permissions_of(GROUP, known, member, NOW, room(channel)) == implied(documented(member, permissions, channel))
    assert permissions_of(GROUP, known, member, NOW) == documented(member, permissions, {})


@given(roles, st.sets(st.sampled_from(ROLES[1:])), st.sampled_from(USERS), overwrites, st.integers(0, 2 * NOW))
def test_a_timeout_leaves_looking_and_reading(
    permissions: dict[int, int], held: set[int], user_id: int, channel: dict[tuple[OverwriteType, int], Any], until: int
) -> None:
    """Until its end a timeout leaves at most seeing and reading; owner and administrators don't feel it."""
    known = {one: Role(one, GROUP.id, "role", allowed) for one, allowed in permissions.items()}
    member = Member(GROUP.id, User(user_id, "ann"), 0, roles=tuple(held))
    free = permissions_of(GROUP, known, member, NOW, room(channel))
    muted = permissions_of(GROUP, known, msgspec.structs.replace(member, muted_until=until), NOW, room(channel))
    assert muted == (free if free == ALL or until <= NOW else free & TIMED_OUT)


def test_a_group_without_roles_has_just_everyone() -> None:
    """Where no role is stored @everyone is as in a new group; roles that are gone give nothing."""
    member = Member(GROUP.id, User(11, "ben"), 0, roles=(2,))
    assert permissions_of(GROUP, {}, member, NOW) == DEFAULT
    assert permissions_of(GROUP, {1: everyone_of(1)}, member, NOW, room({})) == DEFAULT


def test_bits_are_discords() -> None:
    """The bits that bots are configured with have Discord's places; the constants are made of them."""
    places = {"ADMINISTRATOR": 3, "VIEW_CHANNEL": 10, "MANAGE_MESSAGES": 13, "MANAGE_ROLES": 28, "MODERATE_MEMBERS": 40}
    assert {name: 1 << place for name, place in places.items()} == {name: int(Permission[name]) for name in places}
    assert int(sum(Permission)) == ALL
    assert DEFAULT & ALL == DEFAULT
    assert DIRECT & ALL == DIRECT


def test_a_send_needs_sight_and_leave() -> None:
    """A place refuses who may not see, who may not send, and what is no text channel, in this order."""
    text = Channel(7, ChannelType.TEXT, "room", 1)
    category = Channel(8, ChannelType.CATEGORY, "rooms", 1)
    send_only, view_only = int(Permission.SEND_MESSAGES), int(Permission.VIEW_CHANNEL)
    assert place_of(text, 3, send_only).refusal == "MissingAccess"
    assert place_of(text, 3, view_only).refusal == "MissingPermissions"
    assert place_of(category, 3, DEFAULT).refusal == "NotText"
    assert place_of(text, 3, DEFAULT).refusal == ""


def test_access_tells_sight_and_leave_by_its_bits() -> None:
    """Call sites that ask for sight or leave get it from the permissions."""
    access = Access(None, None, 0, int(Permission.VIEW_CHANNEL))
    assert (access.can_view, access.can_send) == (True, False)
    assert Access(None, None, 0, DEFAULT).can_send
