"""The wire: what client libraries need of our shapes (DISCORD_LIBRARIES.md, D3, D4 and D7)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.calls import ChannelView, DirectView, GroupView
from shared.core.events import AnyBody
from shared.core.group_events import ChannelCreated, GroupCreated, MemberAdded, MemberChanged, MemberRemoved
from shared.core.ids import MAX_ID, first_id_at, ms_of
from shared.core.message_events import (
    ChannelOpened,
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    MessagesDeleted,
    MessageStub,
    Target,
)
from shared.core.model import Channel, ChannelType, Group, Member, User
from shared.core.permissions import everyone_of
from shared.core.stream import Event, Record
from shared.core.user_events import GroupJoined, GroupLeft, UserBlocked, UserChanged, UserRegistered
from shared.core.wire.channels import channel_of
from shared.core.wire.dispatches import dispatch_of, ready_of
from shared.core.wire.groups import guild_create_of, guild_of, guild_summary_of
from shared.core.wire.members import encode_members
from shared.core.wire.messages import message_of
from shared.core.wire.values import Json, encode, id_of, iso_of

ANN, BEN = User(11, "ann"), User(12, "ben", "Ben", bot=True)
GROUP = Group(5, "tea", 11)
TEXT = Channel(5, ChannelType.TEXT, "general", 5)
DIRECT = Channel(9, ChannelType.DIRECT, recipients=(ANN, BEN))
MEMBER = Member(5, ANN, 1_700_000_000_123)
AT = 1_700_000_000_123

USER_KEYS = {"id", "username", "discriminator", "avatar", "global_name", "bot"}
MEMBER_KEYS = {"user", "roles", "flags", "joined_at", "nick", "deaf", "mute"}
ROLE_KEYS = {"id", "name", "color", "hoist", "position", "permissions", "managed", "mentionable"}
CHANNEL_KEYS = {"id", "type", "guild_id", "name", "position", "topic", "permission_overwrites", "last_message_id"}
_GUILD = """id name icon splash owner_id afk_channel_id afk_timeout verification_level default_message_notifications
explicit_content_filter emojis features mfa_level application_id system_channel_id system_channel_flags
rules_channel_id vanity_url_code description banner premium_tier preferred_locale public_updates_channel_id
nsfw_level stickers roles"""
_MESSAGE = """id type channel_id content author timestamp edited_timestamp tts attachments embeds pinned flags
mention_everyone mentions mention_roles seq"""
GUILD_KEYS, MESSAGE_KEYS = set(_GUILD.split()), set(_MESSAGE.split())
CREATE_KEYS = GUILD_KEYS | {"voice_states", "members", "channels", "threads", "presences", "joined_at", "member_count"}


def ids_in(value: Any) -> list[Any]:
    """Return everything that stands under a key that names an id."""
    if isinstance(value, dict):
        own = [inner for key, inner in value.items() if key == "id" or key.endswith("_id")]
        return own + [found for inner in value.values() for found in ids_in(inner)]
    return [found for inner in value for found in ids_in(inner)] if isinstance(value, list) else []


def guild_create() -> Json:
    """Return a GUILD_CREATE."""
    view = GroupView(GROUP, 7, (ChannelView(TEXT, 3, 77),), (MEMBER,), 1, (everyone_of(GROUP.id),))
    created: Json = json.loads(encode(guild_create_of(view, AT, encode_members(view.members), {})))
    return created


def test_a_group_has_every_key_that_the_strictest_library_needs() -> None:
    """GUILD_CREATE, its members, channels and roles carry the set of D3; the @everyone role has the group's id."""
    created = guild_create()
    assert created.keys() >= CREATE_KEYS
    assert created["members"][0].keys() >= MEMBER_KEYS
    assert created["members"][0]["user"].keys() >= USER_KEYS
    assert created["channels"][0].keys() >= CHANNEL_KEYS
    (role,) = created["roles"]
    assert role.keys() >= ROLE_KEYS
    assert role["id"] == created["id"]
    assert role["permissions"].isdigit()
    assert (created["last_seq"], created["channels"][0]["last_seq"]) == (7, 3)
    assert guild_of(GROUP, ()).keys() >= GUILD_KEYS


def test_ready_has_every_key_that_libraries_need() -> None:
    """READY carries D3's set, groups as unavailable, and the flags without which members can't be fetched."""
    ready = ready_of(
        ANN, session_id="s", resume_url="ws://x", group_ids=(5,), directs=(DirectView(DIRECT, 2, 44),), shard=(0, 1)
    )
    assert ready.keys() >= {"v", "user", "guilds", "private_channels", "session_id", "resume_gateway_url", "shard"}
    assert ready["user"].keys() >= USER_KEYS | {"mfa_enabled", "flags"}
    assert ready["guilds"] == [{"id": "5", "unavailable": True}]
    assert ready["application"]["flags"] & (1 << 15)
    (direct,) = ready["private_channels"]
    assert [user["id"] for user in direct["recipients"]] == ["12"]
    assert (direct["last_seq"], direct["last_message_id"]) == (2, "44")


def test_a_message_has_every_key_that_libraries_need() -> None:
    """In a group and in a DM; the DM's names its kind, since discord.js drops it otherwise."""
    record = Record(3, AT, MessageCreated(BEN, "hi", 70), 1, "n1", 71, 2)
    in_group, direct = message_of(record, 5, 5), message_of(record, 9, 0)
    assert in_group.keys() >= MESSAGE_KEYS | {"guild_id", "nonce", "message_reference"}
    assert "channel_type" not in in_group
    assert direct["channel_type"] == 1
    assert "guild_id" not in direct
    assert in_group["message_reference"]["message_id"] == "70"
    assert in_group["type"] == 19
    assert "nonce" not in message_of(Record(3, AT, MessageCreated(BEN, "hi"), id=71), 5, 5)


def test_a_record_that_is_no_message_is_a_mistake_of_ours() -> None:
    """`message_of` raises rather than making something up."""
    with pytest.raises(TypeError):
        message_of(Record(1, AT, MemberRemoved(ANN)), 5, 5)


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Event("c:5", Record(3, AT, MessageCreated(ANN, "x"), id=7), 5), "MESSAGE_CREATE"),
        (Event("c:9", Record(1, AT, ChannelOpened(DIRECT)), to=(11, 12)), "CHANNEL_CREATE"),
        (Event("g:5", Record(2, AT, ChannelCreated(TEXT)), 5), "CHANNEL_CREATE"),
        (Event("g:5", Record(4, AT, MemberAdded(MEMBER)), 5), "GUILD_MEMBER_ADD"),
        (Event("g:5", Record(6, AT, MemberRemoved(ANN)), 5), "GUILD_MEMBER_REMOVE"),
        (Event("g:5", Record(7, AT, MemberChanged(MEMBER)), 5), "GUILD_MEMBER_UPDATE"),
        (Event("u:11", Record(6, AT, GroupLeft(5, 8)), to=(11,)), "GUILD_DELETE"),
        (Event("u:11", Record(7, AT, UserChanged(ANN, "hello")), to=(11,)), "USER_UPDATE"),
        (Event("u:11", Record(8, AT, UserBlocked(BEN)), to=(11,)), "RELATIONSHIP_ADD"),
        (Event("u:11", Record(9, AT, UserBlocked(BEN, present=False)), to=(11,)), "RELATIONSHIP_REMOVE"),
    ],
)
def test_every_dispatch_tells_its_seq(event: Event, name: str) -> None:
    """The name is Discord's, ids are strings, and `seq` is the event's own number in its stream."""
    t, d = dispatch_of(event)
    assert t == name
    assert d is not None
    body = event.record.body
    assert d["seq"] == (body.group_seq if isinstance(body, GroupLeft) else event.record.seq)
    assert all(one is None or isinstance(one, str) for one in ids_in(d))
    assert encode(d)


@pytest.mark.parametrize("body", [UserRegistered(ANN), GroupCreated(GROUP, (TEXT,), MEMBER), GroupJoined(3, MEMBER)])
def test_what_clients_do_not_get_has_no_dispatch(body: AnyBody) -> None:
    """Accounts and groups coming to be are no dispatches; a join is a GUILD_CREATE made from the body."""
    assert dispatch_of(Event("u:11", Record(1, AT, body))) == (None, None)


def test_all_ids_are_strings() -> None:
    """Everywhere, at any depth: JavaScript can't hold 64 bits in a number."""
    for payload in (guild_create(), guild_summary_of(GROUP, 11, 0), channel_of(DIRECT, viewer=11)):
        assert all(one is None or isinstance(one, str) for one in ids_in(payload))


@given(st.integers(0, 4_000_000_000_000))
def test_times_are_iso_with_an_offset(ms: int) -> None:
    """ISO 8601 in UTC with `+00:00`, exact to the millisecond, as parsers before Python 3.11 read it."""
    text = iso_of(ms)
    assert text.endswith("+00:00")
    assert datetime.fromisoformat(text) - datetime.fromisoformat("1970-01-01T00:00:00+00:00") == timedelta(
        milliseconds=ms
    )


@given(st.integers(1, MAX_ID))
def test_ids_come_as_strings_and_integers(value: int) -> None:
    """Both forms are the same id, and the id tells its time."""
    assert id_of(value) == id_of(str(value)) == value
    assert ms_of(first_id_at(AT)) == AT


@pytest.mark.parametrize(
    "value", [None, True, 0, -1, MAX_ID + 1, "", "0", "-1", "1e3", "٣", " 1", "1" * 400, 1.0, [], {}, b"1"]
)
def test_what_is_no_id_is_none(value: object) -> None:
    """Anything else is no id, and never an exception."""
    assert id_of(value) is None


def test_payloads_are_plain_json() -> None:
    """The encoder's bytes are what any JSON parser reads, unescaped UTF-8 inside."""
    assert json.loads(encode(guild_create()))["name"] == "tea"
    assert "ü".encode() in encode({"name": "grün"})


TARGET = Target(77, 3, 2, 11, 1, 0)


@pytest.mark.parametrize("group_id", [5, 0], ids=["group", "direct"])
def test_an_edit_is_told_as_the_whole_message(group_id: int) -> None:
    """MESSAGE_UPDATE has what MESSAGE_CREATE has; the time of the edit; as `seq` its own."""
    edited = MessageEdited(TARGET, AT, MessageCreated(ANN, "better", edited_at=AT + 1000))
    t, d = dispatch_of(Event("c:6", Record(9, AT + 1000, edited, 1), group_id, () if group_id else (11, 12)))
    assert d is not None
    assert t == "MESSAGE_UPDATE"
    assert d.keys() >= MESSAGE_KEYS | ({"guild_id"} if group_id else {"channel_type"})
    assert (d["id"], d["channel_id"], d["content"], d["seq"]) == ("77", "6", "better", 9)
    assert (d["timestamp"], d["edited_timestamp"]) == (iso_of(AT), iso_of(AT + 1000))


@pytest.mark.parametrize("group_id", [5, 0], ids=["group", "direct"])
def test_deletions_tell_ids_only(group_id: int) -> None:
    """MESSAGE_DELETE and MESSAGE_DELETE_BULK name what is gone, where, and their own seq."""
    where: dict[str, object] = {"channel_id": "6", "seq": 9} | ({"guild_id": "5"} if group_id else {})
    one = Event("c:6", Record(9, AT, MessageDeleted(TARGET, 11), 1), group_id)
    assert dispatch_of(one) == ("MESSAGE_DELETE", {"id": "77", **where})
    many = Event("c:6", Record(9, AT, MessagesDeleted((TARGET, TARGET), 11), 1), group_id)
    assert dispatch_of(many) == ("MESSAGE_DELETE_BULK", {"ids": ["77", "77"], **where})


def test_what_is_deleted_today_is_told_as_nothing() -> None:
    """A creation that is read from the stream when its message is gone is an event without a dispatch."""
    assert dispatch_of(Event("c:6", Record(3, AT, MessageStub(11), id=77), 5)) == (None, None)
