"""Decisions on groups: each fact that matters, each outcome."""

from __future__ import annotations

import pytest

from services.groups.core.decisions import (
    MAX_GROUPS,
    MAX_OWNED_GROUPS,
    decide_follow,
    decide_join,
    decide_leave,
    group_created,
    require_room,
)
from services.groups.core.origin import origin_of
from shared.core.errors import MissingPermissions
from shared.core.group_errors import Banned, TooManyGroups, UnknownGroup
from shared.core.group_events import MemberAdded, MemberRemoved
from shared.core.model import Group, Member, User
from shared.core.user_events import GroupJoined, GroupLeft

ANN, BOB = User(1, "ann"), User(2, "bob")
OPEN = Group(9, "Room", ANN.id, public=True)
CLOSED = Group(9, "Room", ANN.id)
BOB_IN = Member(9, BOB, 5)


def test_join() -> None:
    """Who is not in yet is added, who is in stays; a private group looks like none; who is banned stays out."""

    def decide(group: Group | None, *, is_member: bool = False, is_banned: bool = False) -> MemberAdded | None:
        return decide_join(group, is_member=is_member, is_banned=is_banned, user=BOB, now=5)

    assert decide(OPEN) == MemberAdded(BOB_IN)
    assert decide(OPEN, is_member=True) is None
    assert decide(CLOSED, is_member=True) is None
    for group in (CLOSED, None):
        with pytest.raises(UnknownGroup):
            decide(group)
    with pytest.raises(Banned):
        decide(OPEN, is_banned=True)


def test_leave() -> None:
    """A member goes, once; the owner stays; for who never was in there is no group."""
    assert decide_leave(OPEN, is_member=True, was_member=True, user=BOB) == MemberRemoved(BOB)
    assert decide_leave(OPEN, is_member=False, was_member=True, user=BOB) is None
    with pytest.raises(MissingPermissions):
        decide_leave(OPEN, is_member=True, was_member=True, user=ANN)
    for group in (OPEN, None):
        with pytest.raises(UnknownGroup):
            decide_leave(group, is_member=False, was_member=False, user=BOB)


@pytest.mark.parametrize(
    ("joined", "owned", "fits"),
    [
        (0, 0, True),
        (MAX_GROUPS - 1, 0, True),
        (MAX_GROUPS, 0, False),
        (MAX_OWNED_GROUPS, MAX_OWNED_GROUPS - 1, True),
        (MAX_OWNED_GROUPS, MAX_OWNED_GROUPS, False),
    ],
)
def test_room(joined: int, owned: int, fits: bool) -> None:
    """A user is in so many groups at most, and owns so many."""
    if fits:
        require_room(joined, owned)
    else:
        with pytest.raises(TooManyGroups):
            require_room(joined, owned)


def test_follow() -> None:
    """What a user's own stream says of a group follows the group's seq: later wins, a repeat says nothing."""
    created = group_created(OPEN, ANN, 7, 5)
    assert decide_follow(0, 1, created, 9) == GroupJoined(1, created.owner)
    assert decide_follow(0, 4, MemberAdded(BOB_IN), 9) == GroupJoined(4, BOB_IN)
    assert decide_follow(4, 6, MemberRemoved(BOB), 9) == GroupLeft(9, 6)
    assert decide_follow(6, 6, MemberRemoved(BOB), 9) is None
    assert decide_follow(6, 4, MemberAdded(BOB_IN), 9) is None


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002::/64"),
        ("2001:db8:1:2::1", "20010db800010002::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_origins(address: str, origin: str) -> None:
    """All addresses of one customer share a budget."""
    assert origin_of(address) == origin
