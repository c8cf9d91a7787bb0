"""Mandatory keys: each key without which a released client library breaks is in every payload that is made here.

The table is what was found by taking each key out of full payloads before discord.py, hikari and discord.js (D3 of
DISCORD_LIBRARIES.md): the strictest one's. `a.b` is a key inside, `a[].b` one of each in a list that is not empty.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from msgspec.structs import replace

from services.gateway.rest import BotGateway, SessionStartLimit
from services.gateway.resuming import RESUMED
from shared.core.calls import ChannelView, DirectView, GroupView
from shared.core.commands import Typed
from shared.core.events import AnyBody
from shared.core.group_events import (
    ChannelChanged,
    ChannelCreated,
    ChannelDeleted,
    MemberAdded,
    MemberChanged,
    MemberRemoved,
    RoleChanged,
    RoleCreated,
    WebhookCreated,
)
from shared.core.message_events import (
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    MessagePinned,
    MessagesDeleted,
    Reaction,
    ReactionAdded,
    ReactionRemoved,
    Target,
)
from shared.core.model import (
    Activity,
    Channel,
    ChannelType,
    Group,
    Member,
    Overwrite,
    OverwriteType,
    Presence,
    Role,
    User,
    Webhook,
)
from shared.core.permissions import everyone_of
from shared.core.stream import Event, Record
from shared.core.wire.channels import channel_of, typing_of
from shared.core.wire.dispatches import dispatch_of, ready_of
from shared.core.wire.groups import guild_create_of, guild_of
from shared.core.wire.members import encode_members, member_of, presence_of, role_of
from shared.core.wire.messages import message_of, reactions_of
from shared.core.wire.users import application_of, own_user_of, user_of
from shared.core.wire.values import encode
from shared.core.wire.webhooks import webhook_of

AT: Final = 1_700_000_000_123
ANN, BOT = User(11, "ann"), User(12, "robot", bot=True)
GROUP = Group(5, "tea", 11)
MEMBER = Member(5, ANN, AT, roles=(6,))
ROLE = Role(6, 5, "mods")
TEXT = Channel(5, ChannelType.TEXT, "general", 5, overwrites=(Overwrite(6, OverwriteType.ROLE, 1, 2),))
DIRECT = Channel(9, ChannelType.DIRECT, recipients=(ANN, BOT))
WEBHOOK = Webhook(8, 5, 5, "deploys", ANN)
TARGET = Target(71, 3, 2, 11, first_seq=1, index=2)
SHOWN = Presence("dnd", (Activity("chess", since=AT),))
SAID = MessageCreated(ANN, "hi", reference_id=70, mentions=(BOT,), reactions=(Reaction("🌱", 2, 1),))


def _inside(place: str, keys: str) -> str:
    return " ".join(f"{place}.{key}" for key in keys.split())


USER = "id username discriminator avatar"
OWN_USER = f"{USER} mfa_enabled flags"
MEMBER_KEYS = f"{_inside('user', USER)} roles flags joined_at"
ROLE_KEYS = "id name color hoist position permissions managed mentionable colors.primary_color"
CHANNEL = "id type position name permission_overwrites topic guild_id"
OVERWRITE = _inside("permission_overwrites[]", "id type allow deny")
GUILD = f"""id name icon splash owner_id afk_channel_id afk_timeout verification_level default_message_notifications
explicit_content_filter emojis features mfa_level application_id system_channel_id system_channel_flags rules_channel_id
vanity_url_code description banner premium_tier preferred_locale public_updates_channel_id nsfw_level stickers
{_inside("roles[]", ROLE_KEYS)}"""
PRESENCE = f"guild_id status client_status user.id {_inside('activities[]', 'name type created_at')}"
CREATED = f"""{GUILD} voice_states threads {_inside("presences[]", PRESENCE)} {_inside("members[]", MEMBER_KEYS)}
{_inside("channels[]", f"{CHANNEL} {OVERWRITE}")}"""
MESSAGE = f"""id type channel_id content timestamp edited_timestamp tts attachments embeds pinned flags
{_inside("author", USER)} {_inside("mentions[]", USER)}"""
REACTION = "emoji.name me count count_details.burst count_details.normal"
IN_GROUP = "guild_id channel_id"

MANDATORY: Final = {
    "READY": f"""session_id resume_gateway_url guilds[].id shard v application.id application.flags
{_inside("user", OWN_USER)}""",
    "RESUMED": "",
    "user": USER,
    "GET /users/@me": OWN_USER,
    "application": f"""id name icon description approximate_guild_count bot_public bot_require_code_grant verify_key
{_inside("owner", USER)}""",
    "GET /gateway/bot": f"""url shards
{_inside("session_start_limit", "total remaining reset_after max_concurrency")}""",
    "GUILD_CREATE": CREATED,
    "guild": GUILD,
    "role": ROLE_KEYS,
    "member": MEMBER_KEYS,
    "channel": f"{CHANNEL} {OVERWRITE}",
    "direct channel": f"id type {_inside('recipients[]', USER)}",
    "message": MESSAGE,
    "direct message": f"{MESSAGE} channel_type",
    "message by a webhook": f"{MESSAGE} webhook_id",
    "webhook": f"id type guild_id channel_id name avatar {_inside('user', USER)}",
    "WEBHOOKS_UPDATE": IN_GROUP,
    "reaction": REACTION,
    "CHANNEL_CREATE": f"{CHANNEL} {OVERWRITE}",
    "CHANNEL_UPDATE": f"{CHANNEL} {OVERWRITE}",
    "CHANNEL_DELETE": f"{CHANNEL} {OVERWRITE}",
    "GUILD_ROLE_CREATE": f"guild_id {_inside('role', ROLE_KEYS)}",
    "GUILD_ROLE_UPDATE": f"guild_id {_inside('role', ROLE_KEYS)}",
    "GUILD_MEMBER_ADD": f"guild_id {MEMBER_KEYS}",
    "GUILD_MEMBER_UPDATE": f"guild_id {MEMBER_KEYS}",
    "GUILD_MEMBER_REMOVE": f"guild_id {_inside('user', USER)}",
    "MESSAGE_CREATE": f"{MESSAGE} guild_id",
    "MESSAGE_UPDATE": f"{MESSAGE} guild_id",
    "MESSAGE_UPDATE by a pin": f"{MESSAGE} guild_id",
    "MESSAGE_DELETE": f"id {IN_GROUP}",
    "MESSAGE_DELETE_BULK": f"ids {IN_GROUP}",
    "MESSAGE_REACTION_ADD": f"{IN_GROUP} user_id message_id emoji.name type {_inside('member', MEMBER_KEYS)}",
    "MESSAGE_REACTION_REMOVE": f"{IN_GROUP} user_id message_id emoji.name type",
    "PRESENCE_UPDATE": PRESENCE,
    "TYPING_START": f"{IN_GROUP} user_id timestamp {_inside('member', MEMBER_KEYS)}",
}


def _dispatched(stream: str, body: AnyBody) -> Any:
    return dispatch_of(Event(stream, Record(3, AT, body, id=71), 5))[1]


def _made() -> dict[str, Any]:
    record = Record(3, AT, SAID, id=71)
    roles = (everyone_of(5), ROLE)
    view = GroupView(GROUP, 7, (ChannelView(TEXT, 3, 77),), (MEMBER,), 1, roles)
    limit = SessionStartLimit(total=1, remaining=1, reset_after=1, max_concurrency=1)
    return {
        "READY": ready_of(
            BOT, session_id="s", resume_url="ws://x", group_ids=(5,), directs=(DirectView(DIRECT, 2, 4),), shard=(0, 1)
        ),
        "RESUMED": json.loads(RESUMED),
        "user": user_of(ANN),
        "GET /users/@me": own_user_of(ANN),
        "application": application_of(BOT, "beep", ANN, 1),
        "GET /gateway/bot": BotGateway(url="ws://x", shards=1, session_start_limit=limit).model_dump(),
        "GUILD_CREATE": guild_create_of(view, AT, encode_members(view.members), {11: SHOWN}),
        "guild": guild_of(GROUP, roles),
        "role": role_of(ROLE),
        "member": member_of(MEMBER),
        "channel": channel_of(TEXT),
        "direct channel": channel_of(DIRECT),
        "message": message_of(record, 5, 5),
        "direct message": message_of(record, 9, 0),
        "message by a webhook": message_of(Record(3, AT, replace(SAID, by_webhook=True), id=71), 5, 5),
        "webhook": webhook_of(WEBHOOK, "token", "https://x"),
        "WEBHOOKS_UPDATE": _dispatched("g:5", WebhookCreated(WEBHOOK)),
        "reaction": reactions_of(record, ())[0],
        "CHANNEL_CREATE": _dispatched("g:5", ChannelCreated(TEXT)),
        "CHANNEL_UPDATE": _dispatched("g:5", ChannelChanged(TEXT, TEXT)),
        "CHANNEL_DELETE": _dispatched("g:5", ChannelDeleted(TEXT)),
        "GUILD_ROLE_CREATE": _dispatched("g:5", RoleCreated(ROLE)),
        "GUILD_ROLE_UPDATE": _dispatched("g:5", RoleChanged(ROLE, ROLE)),
        "GUILD_MEMBER_ADD": _dispatched("g:5", MemberAdded(MEMBER)),
        "GUILD_MEMBER_UPDATE": _dispatched("g:5", MemberChanged(MEMBER)),
        "GUILD_MEMBER_REMOVE": _dispatched("g:5", MemberRemoved(ANN)),
        "MESSAGE_CREATE": _dispatched("c:5", SAID),
        "MESSAGE_UPDATE": _dispatched("c:5", MessageEdited(TARGET, AT, SAID)),
        "MESSAGE_UPDATE by a pin": _dispatched("c:5", MessagePinned(TARGET, AT, SAID, 11, AT)),
        "MESSAGE_DELETE": _dispatched("c:5", MessageDeleted(TARGET, 11)),
        "MESSAGE_DELETE_BULK": _dispatched("c:5", MessagesDeleted((TARGET,), 11)),
        "MESSAGE_REACTION_ADD": _dispatched("c:5", ReactionAdded(TARGET, "🌱", ANN, MEMBER, SAID.reactions)),
        "MESSAGE_REACTION_REMOVE": _dispatched("c:5", ReactionRemoved(TARGET, "🌱", 11, SAID.reactions)),
        "PRESENCE_UPDATE": presence_of(11, 5, SHOWN),
        "TYPING_START": typing_of(Typed(5, 11, AT, 5, (), MEMBER)),
    }


def lacking(payload: Any, path: str) -> bool:
    """Whether a mandatory key is not there: in the payload, or in any of what a list in it holds."""
    key, _, rest = path.partition(".")
    name = key.removesuffix("[]")
    if not isinstance(payload, dict) or name not in payload:
        return True
    inner = payload[name]
    if key.endswith("[]"):
        return not inner or any(lacking(one, rest) for one in inner)
    return bool(rest) and lacking(inner, rest)


def _without(payload: Any, path: str) -> Iterator[Any]:
    """Yield the payload without the key, once for each place where it stands."""
    key, _, rest = path.partition(".")
    name = key.removesuffix("[]")
    if not rest:
        yield {other: value for other, value in payload.items() if other != name}
        return
    if not key.endswith("[]"):
        for inner in _without(payload[name], rest):
            yield {**payload, name: inner}
        return
    for index, one in enumerate(payload[name]):
        for inner in _without(one, rest):
            yield {**payload, name: [*payload[name][:index], inner, *payload[name][index + 1 :]]}


@pytest.mark.parametrize("name", MANDATORY)
def test_each_mandatory_key_is_there(name: str) -> None:
    """In what our serializers make, as it is encoded; and taking any of them out is noticed."""
    payload = json.loads(encode(_made()[name]))
    assert isinstance(payload, dict), "discord.py stops for good where d is null"
    paths = MANDATORY[name].split()
    assert [path for path in paths if lacking(payload, path)] == []
    for path in paths:
        before = copy.deepcopy(payload)
        for mutated in _without(payload, path):
            assert lacking(mutated, path), f"nobody notices that {path} is gone"
        assert payload == before


def test_all_that_is_made_is_held() -> None:
    """Each payload has its row."""
    assert _made().keys() == MANDATORY.keys()
