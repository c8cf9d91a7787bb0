"""What stands in an audit log: one entry for each record that somebody decided, in Discord's numbers and keys."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from shared.core.audit import MAX_TARGETS, Entry, entry_of
from shared.core.events import AnyBody
from shared.core.group_events import (
    BanLifted,
    ChannelChanged,
    ChannelCreated,
    ChannelDeleted,
    ChannelsMoved,
    GroupChanged,
    GroupCreated,
    InviteCreated,
    InviteDeleted,
    MemberAdded,
    MemberBanned,
    MemberChanged,
    MemberRemoved,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    RolesMoved,
    WebhookChanged,
    WebhookCreated,
    WebhookDeleted,
)
from shared.core.ids import ms_of
from shared.core.message_events import (
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    MessagePinned,
    MessagesDeleted,
    MessageUnpinned,
    Target,
)
from shared.core.model import (
    Channel,
    ChannelMove,
    ChannelType,
    Group,
    Invite,
    Member,
    Overwrite,
    OverwriteType,
    Role,
    User,
    Webhook,
)
from shared.core.stream import Record
from shared.core.wire.audit import entry_of as told

GROUP, CHANNEL, NOW = 7, 70, 1_760_000_000_000
ANN, BOB, BOT = User(1, "ann"), User(2, "bob"), User(3, "bot", bot=True)
ROLE = Role(20, GROUP, "staff", 8, 2)
ROLES = {20: ROLE}
TEXT = Channel(CHANNEL, ChannelType.TEXT, "general", GROUP, 3)
DENIED = Overwrite(20, OverwriteType.ROLE, deny=1024)
MEMBER = Member(GROUP, BOB, NOW)
INVITE = Invite("code", GROUP, CHANNEL, ANN, NOW, max_uses=3)
WEBHOOK = Webhook(90, GROUP, CHANNEL, "news", ANN)
TARGET, HELLO = Target(500, 1, 1, BOB.id, 1, 0), MessageCreated(BOB, "hello")


def having(value: Any, **fields: Any) -> Any:
    """Return a value with other fields."""
    return msgspec.structs.replace(value, **fields)


OF_GROUPS: tuple[tuple[AnyBody, dict[str, Any] | None], ...] = (
    (
        GroupChanged(Group(GROUP, "Hall", BOB.id, system_channel_id=70), Group(GROUP, "Room", ANN.id)),
        {
            "action_type": 1,
            "target_id": "7",
            "changes": [
                {"key": "name", "old_value": "Room", "new_value": "Hall"},
                {"key": "owner_id", "old_value": "1", "new_value": "2"},
                {"key": "system_channel_id", "new_value": "70"},
            ],
        },
    ),
    (
        ChannelCreated(TEXT),
        {
            "action_type": 10,
            "target_id": "70",
            "changes": [{"key": "name", "new_value": "general"}, {"key": "position", "new_value": 3}],
        },
    ),
    (
        ChannelChanged(having(TEXT, name="more", slow_s=5, overwrites=(DENIED,)), TEXT),
        {
            "action_type": 11,
            "target_id": "70",
            "changes": [
                {"key": "name", "old_value": "general", "new_value": "more"},
                {"key": "rate_limit_per_user", "old_value": 0, "new_value": 5},
                {
                    "key": "permission_overwrites",
                    "old_value": [],
                    "new_value": [{"id": "20", "type": 0, "allow": "0", "deny": "1024"}],
                },
            ],
        },
    ),
    (
        ChannelChanged(having(TEXT, overwrites=(DENIED,)), TEXT),
        {
            "action_type": 13,
            "target_id": "70",
            "changes": [
                {"key": "id", "new_value": "20"},
                {"key": "allow", "new_value": "0"},
                {"key": "deny", "new_value": "1024"},
            ],
            "options": {"id": "20", "type": "0", "role_name": "staff"},
        },
    ),
    (
        ChannelChanged(
            having(TEXT, overwrites=(Overwrite(2, OverwriteType.MEMBER, allow=8),)),
            having(TEXT, overwrites=(Overwrite(2, OverwriteType.MEMBER),)),
        ),
        {
            "action_type": 14,
            "target_id": "70",
            "changes": [{"key": "allow", "old_value": "0", "new_value": "8"}],
            "options": {"id": "2", "type": "1"},
        },
    ),
    (
        ChannelChanged(TEXT, having(TEXT, overwrites=(having(DENIED, id=21),))),
        {
            "action_type": 15,
            "target_id": "70",
            "changes": [
                {"key": "id", "old_value": "21"},
                {"key": "allow", "old_value": "0"},
                {"key": "deny", "old_value": "1024"},
            ],
            "options": {"id": "21", "type": "0", "role_name": "21"},
        },
    ),
    (
        ChannelDeleted(TEXT),
        {
            "action_type": 12,
            "target_id": "70",
            "changes": [{"key": "name", "old_value": "general"}, {"key": "position", "old_value": 3}],
        },
    ),
    (
        ChannelsMoved((ChannelMove(70, 4, 0),)),
        {"action_type": 11, "target_id": "70", "changes": [{"key": "position", "new_value": 4}]},
    ),
    (
        ChannelsMoved((ChannelMove(70, 4, 0), ChannelMove(71, 5, 0))),
        {"action_type": 11, "target_id": None, "changes": [], "options": {"count": "2"}},
    ),
    (MemberRemoved(BOB), {"action_type": 20, "target_id": "2", "changes": []}),
    (MemberBanned(BOB, was_in=False, by=1), {"action_type": 22, "target_id": "2", "changes": []}),
    (BanLifted(BOB), {"action_type": 23, "target_id": "2", "changes": []}),
    (
        MemberChanged(having(MEMBER, nick="bo", roles=(20,)), MEMBER),
        {
            "action_type": 24,
            "target_id": "2",
            "changes": [
                {"key": "nick", "new_value": "bo"},
                {"key": "$add", "new_value": [{"id": "20", "name": "staff"}]},
            ],
        },
    ),
    (
        MemberChanged(MEMBER, having(MEMBER, roles=(20, 21))),
        {
            "action_type": 25,
            "target_id": "2",
            "changes": [
                {"key": "$remove", "new_value": [{"id": "20", "name": "staff"}, {"id": "21", "name": "21"}]},
            ],
        },
    ),
    (MemberAdded(having(MEMBER, user=BOT)), {"action_type": 28, "target_id": "3", "changes": []}),
    (
        RoleCreated(ROLE),
        {
            "action_type": 30,
            "target_id": "20",
            "changes": [
                {"key": "name", "new_value": "staff"},
                {"key": "permissions", "new_value": "8"},
                {"key": "position", "new_value": 2},
            ],
        },
    ),
    (
        RoleChanged(having(ROLE, hoist=True), ROLE),
        {
            "action_type": 31,
            "target_id": "20",
            "changes": [{"key": "hoist", "old_value": False, "new_value": True}],
        },
    ),
    (
        RoleDeleted(having(ROLE, permissions=0, position=0)),
        {
            "action_type": 32,
            "target_id": "20",
            "changes": [{"key": "name", "old_value": "staff"}, {"key": "permissions", "old_value": "0"}],
        },
    ),
    (RolesMoved((ROLE,)), {"action_type": 31, "target_id": "20", "changes": [{"key": "position", "new_value": 2}]}),
    (
        InviteCreated(INVITE),
        {
            "action_type": 40,
            "target_id": None,
            "changes": [
                {"key": "code", "new_value": "code"},
                {"key": "channel_id", "new_value": "70"},
                {"key": "inviter_id", "new_value": "1"},
                {"key": "max_uses", "new_value": 3},
                {"key": "uses", "new_value": 0},
                {"key": "max_age", "new_value": 0},
                {"key": "temporary", "new_value": False},
            ],
        },
    ),
    (
        WebhookCreated(WEBHOOK),
        {
            "action_type": 50,
            "target_id": "90",
            "changes": [{"key": "name", "new_value": "news"}, {"key": "channel_id", "new_value": "70"}],
        },
    ),
    (
        WebhookChanged(having(WEBHOOK, channel_id=71), WEBHOOK),
        {
            "action_type": 51,
            "target_id": "90",
            "changes": [{"key": "channel_id", "old_value": "70", "new_value": "71"}],
        },
    ),
    (
        WebhookDeleted(WEBHOOK),
        {
            "action_type": 52,
            "target_id": "90",
            "changes": [{"key": "name", "old_value": "news"}, {"key": "channel_id", "old_value": "70"}],
        },
    ),
    (MemberAdded(MEMBER), None),
    (MemberChanged(MEMBER), None),
    (GroupCreated(Group(GROUP, "Room", ANN.id), (TEXT,), having(MEMBER, user=ANN)), None),
    (InviteDeleted("code", CHANNEL), None),
)


@pytest.mark.parametrize(("body", "expected"), OF_GROUPS)
def test_changes_of_a_group(body: AnyBody, expected: dict[str, Any] | None) -> None:
    """What was done, to whom, and what is not as before; nothing of what has no actor, or is nobody's doing."""
    record = Record(9, NOW, body, by=ANN.id, reason="why not")
    entry = entry_of("g:7", GROUP, record, ROLES)
    if expected is None:
        assert entry is None
    else:
        assert entry is not None
        shown = told(entry)
        assert ms_of(int(shown.pop("id"))) == NOW
        assert shown == {"user_id": "1", "reason": "why not", **expected}
    assert entry_of("g:7", GROUP, having(record, by=0), ROLES) is None


def test_an_invite_that_was_closed() -> None:
    """All its facts are told, as it was: libraries make an invite of them."""
    entry = entry_of("g:7", GROUP, Record(9, NOW, InviteDeleted("code", CHANNEL, INVITE), by=1), {})
    assert entry is not None
    assert [(one["key"], one.get("old_value")) for one in told(entry)["changes"]] == [
        ("code", "code"),
        ("channel_id", "70"),
        ("inviter_id", "1"),
        ("max_uses", 3),
        ("uses", 0),
        ("max_age", 0),
        ("temporary", False),
    ]


OF_MESSAGES: tuple[tuple[AnyBody, dict[str, Any] | None], ...] = (
    (
        MessageDeleted(TARGET, ANN.id),
        {"action_type": 72, "target_id": "2", "options": {"channel_id": "70", "count": "1"}},
    ),
    (MessageDeleted(TARGET, BOB.id), None),
    (
        MessagesDeleted((TARGET, having(TARGET, id=501)), ANN.id),
        {"action_type": 73, "target_id": "70", "options": {"count": "2"}},
    ),
    (
        MessagePinned(TARGET, NOW, HELLO, ANN.id, NOW),
        {"action_type": 74, "target_id": "2", "options": {"channel_id": "70", "message_id": "500"}},
    ),
    (
        MessageUnpinned(TARGET, NOW, HELLO, ANN.id, 0),
        {"action_type": 75, "target_id": "2", "options": {"channel_id": "70", "message_id": "500"}},
    ),
    (HELLO, None),
    (MessageEdited(TARGET, NOW, HELLO), None),
)


@pytest.mark.parametrize(("body", "expected"), OF_MESSAGES)
def test_changes_of_messages(body: AnyBody, expected: dict[str, Any] | None) -> None:
    """Those of others' messages, and of pins; in direct channels nothing."""
    record = Record(9, NOW, body, reason="spam")
    entry = entry_of("c:70", GROUP, record, {})
    if expected is None:
        assert entry is None
    else:
        assert entry is not None
        shown = told(entry)
        del shown["id"]
        assert shown == {"user_id": "1", "reason": "spam", "changes": [], **expected}
    assert entry_of("c:70", 0, record, {}) is None


def test_ids() -> None:
    """Entries of one stream have different ids, also of the same moment; the later moment has the higher id."""
    entries = [entry_of("g:7", GROUP, Record(seq, NOW, MemberRemoved(BOB), by=1), {}) for seq in range(1, 10_000)]
    ids = {entry.id for entry in entries if entry is not None}
    assert len(ids) == len(entries)
    later = entry_of("g:7", GROUP, Record(1, NOW + 1, MemberRemoved(BOB), by=1), {})
    assert later is not None
    assert later.id > max(ids)


def test_an_entry_is_bounded() -> None:
    """Of a change with hundreds of targets some are named, and all are counted."""
    moves = tuple(ChannelMove(number, number, 0) for number in range(1, 501))
    entry = entry_of("g:7", GROUP, Record(1, NOW, ChannelsMoved(moves), by=1), {})
    assert entry is not None
    assert (len(entry.targets), entry.options) == (MAX_TARGETS, {"count": "500"})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=Entry) == entry
    json.dumps(told(entry))
