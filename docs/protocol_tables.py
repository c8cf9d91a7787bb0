"""The tables of docs/protocol.md, from the catalogue, the frames, the routes and the limits.

What the code does not say of itself (who sends a frame, what a route refuses beside what all refuse) stands here
by name; a name that the code does not have, or one that is missing here, is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from docs.markdown import code, first_line, table
from services.gateway.core.frames import MAX_FRAME_BYTES, CloseCode, Op, send_bytes_limit
from services.gateway.listening import MOST_WAIT_S, POLL_BYTES, POLL_FRAMES
from services.gateway.rest import router as gateway_router
from services.gateway.sending import IN_FLIGHT
from services.groups.app import router as groups_router
from services.groups.blocks import MAX_BLOCKED
from services.groups.core.application_commands import MAX_CHARACTERS, SCOPE_BYTES
from services.groups.core.application_commands import MOST as MOST_COMMANDS
from services.groups.core.applications import MAX_APPLICATIONS
from services.groups.core.channels import MAX_CHANNELS, MAX_OVERWRITES, MAX_SLOW_S
from services.groups.core.codes import CODES_A_DAY, LIFETIME_MS, TRIES
from services.groups.core.decisions import MAX_GROUPS, MAX_OWNED_GROUPS
from services.groups.core.members import MAX_TIMEOUT_MS
from services.groups.core.names import (
    CHANNEL_NAME_LENGTH,
    GROUP_NAME_LENGTH,
    MAX_DESCRIPTION,
    MAX_TOPIC,
    NICK_LENGTH,
    PASSWORD_LENGTH,
    ROLE_NAME_LENGTH,
    USERNAME_LENGTH,
)
from services.groups.core.profiles import BIO_LENGTH, GLOBAL_NAME_LENGTH
from services.groups.core.revoking import MAX_NAMED
from services.groups.core.roles import MAX_ROLES
from services.groups.core.webhooks import MAX_GROUP_WEBHOOKS, MAX_WEBHOOKS
from services.history.app import router as history_router
from services.history.core.pinning import MAX_PINS
from services.history.core.reacting import MAX_REACTIONS
from services.history.pages import MAX_LIMIT
from services.history.rest_changes import BULK, BULK_AGE_MS
from shared.core import account_errors, errors, group_errors, message_errors
from shared.core.calls import SESSION_DIRECTS, SMALL_GROUP
from shared.core.commands import COMMAND_LIFETIME_MS
from shared.core.drafts import NONCE_CHARACTERS
from shared.core.embeds import MAX_BYTES, MAX_EMBEDS, MAX_TEXT
from shared.core.error_catalogue import CATALOGUE
from shared.core.mentions import MAX_MENTIONS
from shared.core.webhooks import WEBHOOK_NAME_LENGTH
from shared.core.writing import DEDUPE_MS
from shared.http import create_app
from shared.metrics import Metrics
from shared.settings import HttpSettings, Settings

_FRAMES: Final = {
    Op.DISPATCH: ("server", "An event: its name is `t`, its payload `d`."),
    Op.HEARTBEAT: ("client", "I live. `d` is ignored. Answered by 11."),
    Op.IDENTIFY: ("client", "Begin a session. `{token, properties, intents?, shard?, presence?}`."),
    Op.PRESENCE_UPDATE: ("client", "Show me so: `{status, activities, since, afk}`; also `presence` in IDENTIFY."),
    Op.VOICE_STATE_UPDATE: ("client", "Accepted, without effect."),
    Op.RESUME: ("client", "Go on with a session, on any node. Answered by what was missed and RESUMED, or by 9."),
    Op.RECONNECT: ("server", "The node goes down: connect again. A close with 4000 follows."),
    Op.REQUEST_GUILD_MEMBERS: ("client", "`{guild_id, query, limit}` or `{guild_id, user_ids}`, `nonce?`."),
    Op.INVALID_SESSION: ("server", "The session can't go on (`d` is `false`): identify anew."),
    Op.HELLO: ("server", "The first frame. `{heartbeat_interval}` in ms."),
    Op.HEARTBEAT_ACK: ("server", "Answers 1."),
    Op.MESSAGE_SEND: ("client", "Send a message. Starling's own."),
    Op.SEND_ACK: ("server", "The message is stored. Starling's own."),
    Op.SEND_REJECT: ("server", "The message was refused. Starling's own."),
}

_THEN: Final = {"resume": "connect again", "identify": "connect again, identify", "never": "stop; a person must act"}

_MODERATED: Final = (group_errors.UnknownGroup, errors.MissingPermissions)
_IN_GROUP_DIRECT: Final = (
    group_errors.UnknownChannel,
    group_errors.WrongChannelType,
    group_errors.CannotActInDirect,
)
_IN_CHANNEL: Final = (group_errors.UnknownChannel, errors.MissingAccess, errors.MissingPermissions)
_OF_WEBHOOK: Final = (group_errors.UnknownWebhook, errors.MissingAccess, errors.MissingPermissions)
_BY_TOKEN: Final = (group_errors.InvalidWebhookToken, group_errors.UnknownWebhook)
_OF_MESSAGES: Final = (
    errors.RateLimited,
    group_errors.UnknownChannel,
    errors.MissingAccess,
    message_errors.UnknownMessage,
    errors.MissingPermissions,
)
"""What every change of a message may be refused with."""

_OF_APPLICATION: Final = (account_errors.UnknownApplication, account_errors.NotForBots, account_errors.OnlyForBots)
_OFFERED_IN_GROUP: Final = (*_OF_APPLICATION, errors.MissingAccess)
"""What nobody but a bot and its owner may do."""

_REFUSALS: Final[Mapping[str, tuple[type[errors.StarlingError], ...]]] = {
    "register": (errors.RateLimited,),
    "login": (account_errors.AccountBlocked, errors.RateLimited),
    "logout": (),
    "change_email": (errors.RateLimited,),
    "verify_email": (errors.RateLimited,),
    "resend_code": (errors.RateLimited,),
    "ask_reset": (errors.RateLimited,),
    "reset_password": (errors.RateLimited,),
    "find_users": (),
    "change_current_user": (errors.RateLimited,),
    "get_profile": (account_errors.UnknownUser,),
    "delete_current_user": (account_errors.OwnsGroups, errors.RateLimited),
    "list_relationships": (),
    "block_user": (account_errors.UnknownUser, account_errors.TooManyBlocked),
    "unblock_user": (account_errors.UnknownUser,),
    "list_applications": (account_errors.NotForBots,),
    "create_application": (
        account_errors.NotForBots,
        account_errors.TooManyApplications,
        account_errors.NotVerified,
        errors.RateLimited,
    ),
    "get_oauth2_application": (account_errors.OnlyForBots,),
    "get_current_application": (account_errors.OnlyForBots,),
    "get_application": (account_errors.UnknownApplication, account_errors.NotForBots),
    "delete_application": (account_errors.UnknownApplication, account_errors.NotForBots),
    "reset_bot_token": (
        account_errors.UnknownApplication,
        account_errors.NotForBots,
        account_errors.AccountBlocked,
        errors.RateLimited,
    ),
    "list_commands": _OF_APPLICATION,
    "create_command": (*_OF_APPLICATION, account_errors.TooManyApplicationCommands),
    "overwrite_commands": (*_OF_APPLICATION, account_errors.TooManyApplicationCommands),
    "get_command": (*_OF_APPLICATION, account_errors.UnknownApplicationCommand),
    "change_command": (*_OF_APPLICATION, account_errors.UnknownApplicationCommand),
    "delete_command": (*_OF_APPLICATION, account_errors.UnknownApplicationCommand),
    "list_guild_commands": _OFFERED_IN_GROUP,
    "create_guild_command": (*_OFFERED_IN_GROUP, account_errors.TooManyApplicationCommands),
    "overwrite_guild_commands": (*_OFFERED_IN_GROUP, account_errors.TooManyApplicationCommands),
    "list_command_permissions": _OFFERED_IN_GROUP,
    "get_guild_command": (*_OFFERED_IN_GROUP, account_errors.UnknownApplicationCommand),
    "change_guild_command": (*_OFFERED_IN_GROUP, account_errors.UnknownApplicationCommand),
    "delete_guild_command": (*_OFFERED_IN_GROUP, account_errors.UnknownApplicationCommand),
    "get_command_permissions": (*_OFFERED_IN_GROUP, account_errors.UnknownCommandPermissions),
    "get_current_user": (),
    **dict.fromkeys(("list_default_sounds", "list_sticker_packs", "list_voice_regions", "list_application_emojis"), ()),
    **dict.fromkeys(
        (
            "list_emojis",
            "list_stickers",
            "list_scheduled_events",
            "list_guild_regions",
            "list_guild_sounds",
            "list_active_threads",
        ),
        (group_errors.UnknownGroup,),
    ),
    "list_directs": (),
    "open_direct": (
        account_errors.UnknownUser,
        account_errors.CannotMessageUser,
        account_errors.NotVerified,
        account_errors.NotForBots,
        group_errors.InvalidRecipients,
        group_errors.TooManyRecipients,
        group_errors.TooManyDirects,
    ),
    "list_own_guilds": (),
    "leave_guild": (group_errors.UnknownGroup, errors.MissingPermissions),
    "get_user": (account_errors.UnknownUser,),
    "create_guild": (group_errors.TooManyGroups, account_errors.NotVerified),
    "change_guild": (
        *_MODERATED,
        group_errors.UnknownMember,
        errors.MissingAccess,
        group_errors.TooManyGroups,
    ),
    "delete_guild": _MODERATED,
    "delete_guild_by_older_path": _MODERATED,
    "join_guild": (
        group_errors.UnknownGroup,
        group_errors.TooManyGroups,
        group_errors.TooManyMembers,
        group_errors.Banned,
        account_errors.NotVerified,
    ),
    "get_guild": (group_errors.UnknownGroup,),
    "list_guild_channels": (group_errors.UnknownGroup,),
    "create_guild_channel": (*_MODERATED, group_errors.TooManyChannels),
    "move_channels": (*_MODERATED, group_errors.UnknownChannel),
    "change_channel": (*_IN_CHANNEL, group_errors.CannotActInDirect),
    "delete_channel": _IN_CHANNEL,
    "ack_message": (*_IN_CHANNEL, message_errors.UnknownMessage, account_errors.NotForBots),
    "get_read_state": (*_IN_CHANNEL, account_errors.NotForBots),
    "add_recipient": (
        *_IN_GROUP_DIRECT,
        account_errors.UnknownUser,
        group_errors.InvalidRecipients,
        group_errors.TooManyRecipients,
    ),
    "remove_recipient": (*_IN_GROUP_DIRECT, group_errors.InvalidRecipients, errors.MissingPermissions),
    "put_overwrite": _IN_CHANNEL,
    "drop_overwrite": (*_IN_CHANNEL, group_errors.UnknownOverwrite),
    "list_roles": (group_errors.UnknownGroup,),
    "get_role": (group_errors.UnknownGroup, group_errors.UnknownRole),
    "create_role": (*_MODERATED, group_errors.TooManyRoles),
    "move_roles": (*_MODERATED, group_errors.UnknownRole, group_errors.InvalidRole),
    "change_role": (*_MODERATED, group_errors.UnknownRole, group_errors.InvalidRole),
    "delete_role": (*_MODERATED, group_errors.UnknownRole, group_errors.InvalidRole),
    "give_role": (*_MODERATED, group_errors.UnknownMember, group_errors.UnknownRole, group_errors.InvalidRole),
    "take_role": (*_MODERATED, group_errors.UnknownMember, group_errors.UnknownRole, group_errors.InvalidRole),
    "change_own_member": _MODERATED,
    "add_member": (
        *_MODERATED,
        account_errors.UnknownUser,
        group_errors.Banned,
        group_errors.TooManyGroups,
        group_errors.TooManyMembers,
        group_errors.UnknownRole,
    ),
    "change_member": (*_MODERATED, group_errors.UnknownMember, group_errors.UnknownRole, group_errors.InvalidRole),
    "kick_member": (*_MODERATED, group_errors.UnknownMember),
    "search_members": (group_errors.UnknownGroup,),
    "read_audit_log": (*_MODERATED,),
    "list_bans": _MODERATED,
    "get_ban": (*_MODERATED, group_errors.UnknownBan),
    "ban_users": (*_MODERATED, group_errors.BansFailed),
    "ban_user": (*_MODERATED, account_errors.UnknownUser),
    "lift_ban": (*_MODERATED, group_errors.UnknownBan),
    "create_invite": (*_IN_CHANNEL, group_errors.TooManyInvites),
    "list_channel_invites": _IN_CHANNEL,
    "list_guild_invites": _MODERATED,
    "get_invite": (group_errors.UnknownInvite, errors.RateLimited),
    "accept_invite": (
        group_errors.UnknownInvite,
        group_errors.Banned,
        group_errors.TooManyGroups,
        group_errors.TooManyMembers,
        account_errors.NotVerified,
        errors.RateLimited,
    ),
    "delete_invite": (group_errors.UnknownInvite, errors.MissingAccess, errors.MissingPermissions, errors.RateLimited),
    "create_webhook": (*_IN_CHANNEL, message_errors.NotText, group_errors.TooManyWebhooks),
    "list_channel_webhooks": _IN_CHANNEL,
    "list_guild_webhooks": _MODERATED,
    "get_webhook": _OF_WEBHOOK,
    "change_webhook": (
        *_OF_WEBHOOK,
        group_errors.UnknownChannel,
        message_errors.NotText,
        group_errors.TooManyWebhooks,
    ),
    "delete_webhook": _OF_WEBHOOK,
    "execute_webhook": (*_BY_TOKEN, errors.RateLimited, message_errors.EmptyMessage),
    "execute_slack_webhook": (*_BY_TOKEN, errors.RateLimited, message_errors.EmptyMessage),
    "execute_github_webhook": (errors.NotFound,),
    "get_webhook_message": (*_BY_TOKEN, message_errors.UnknownMessage),
    "edit_webhook_message": (
        *_BY_TOKEN,
        errors.RateLimited,
        message_errors.UnknownMessage,
        message_errors.EmptyMessage,
    ),
    "delete_webhook_message": (*_BY_TOKEN, errors.RateLimited, message_errors.UnknownMessage),
    "get_webhook_by_token": _BY_TOKEN,
    "change_webhook_by_token": _BY_TOKEN,
    "delete_webhook_by_token": _BY_TOKEN,
    "list_members": (group_errors.UnknownGroup,),
    "get_member": (group_errors.UnknownGroup, group_errors.UnknownMember),
    "get_channel": (group_errors.UnknownChannel, errors.MissingAccess),
    "list_messages": (group_errors.UnknownChannel, errors.MissingAccess),
    "get_message": (*_IN_CHANNEL, message_errors.UnknownMessage),
    "create_message": (
        errors.RateLimited,
        message_errors.EmptyMessage,
        group_errors.UnknownChannel,
        errors.MissingAccess,
        errors.MissingPermissions,
        message_errors.CannotReply,
    ),
    "edit_message": (
        errors.RateLimited,
        message_errors.EmptyMessage,
        group_errors.UnknownChannel,
        errors.MissingAccess,
        message_errors.UnknownMessage,
        message_errors.CannotEditOthers,
        errors.MissingPermissions,
    ),
    "delete_message": (
        errors.RateLimited,
        group_errors.UnknownChannel,
        errors.MissingAccess,
        message_errors.UnknownMessage,
        errors.MissingPermissions,
    ),
    "delete_messages": (
        errors.RateLimited,
        message_errors.WrongCountToDelete,
        group_errors.UnknownChannel,
        errors.MissingAccess,
        group_errors.CannotActInDirect,
        errors.MissingPermissions,
        message_errors.TooOldToDelete,
    ),
    "list_pins": _IN_CHANNEL,
    "list_pinned_messages": _IN_CHANNEL,
    "pin_message": (*_OF_MESSAGES, message_errors.TooManyPins, message_errors.CannotActOnSystemMessage),
    "pin_message_by_older_path": (*_OF_MESSAGES, message_errors.TooManyPins, message_errors.CannotActOnSystemMessage),
    "unpin_message": _OF_MESSAGES,
    "unpin_message_by_older_path": _OF_MESSAGES,
    "list_reactions": (*_IN_CHANNEL, message_errors.UnknownMessage, message_errors.UnknownEmoji),
    "add_reaction": (*_OF_MESSAGES, message_errors.UnknownEmoji, message_errors.TooManyReactions),
    "remove_own_reaction": (*_OF_MESSAGES, message_errors.UnknownEmoji),
    "remove_reaction": (*_OF_MESSAGES, message_errors.UnknownEmoji),
    "clear_reactions": (*_OF_MESSAGES, message_errors.UnknownEmoji),
    "clear_all_reactions": _OF_MESSAGES,
    "list_events": _IN_CHANNEL,
    "get_gateway": (),
    "get_gateway_bot": (),
    "get_gateway_events": (errors.MissingAccess, errors.RateLimited),
    "start_typing": (group_errors.UnknownChannel, errors.MissingAccess, errors.MissingPermissions, errors.RateLimited),
}


def opcodes() -> str:
    """Return all opcodes: number, name, who sends it, what it means."""
    rows = []
    for op in Op:
        sender, meaning = _FRAMES[op]
        rows.append((int(op), op.name, sender, meaning))
    return table(("op", "name", "from", "meaning"), rows)


def close_codes() -> str:
    """Return all close codes with what the client should do then."""
    rows = [(int(one), one.name, one.meaning, _THEN[one.then]) for one in CloseCode]
    return table(("code", "name", "meaning", "then"), rows)


def error_catalogue() -> str:
    """Return every error that a client can be told."""
    kinds: tuple[type[errors.StarlingError], ...] = (errors.InvalidForm, *CATALOGUE.values())
    rows = [
        (kind.code, kind.status, kind.__name__, kind.message, "yes" if kind.retryable else "", _when(kind))
        for kind in sorted(kinds, key=lambda kind: (kind.code, kind.status))
    ]
    return table(("code", "HTTP", "name", "message", "try again", "when"), rows)


def _when(kind: type) -> str:
    return first_line(kind.__doc__).partition(". ")[0].removesuffix(".") + "."


def routes() -> str:
    """Return the REST routes of all services, from their OpenAPI document."""
    routers = (groups_router, history_router, gateway_router)
    document = create_app(HttpSettings(), metrics=Metrics(), routers=routers).openapi()
    schemas = document["components"]["schemas"]
    rows = []
    names = set()
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            names.add(route["operationId"])
            rows.append(
                (
                    code(f"{method.upper()} {path.removeprefix('/api/v10')}"),
                    route["tags"][0],
                    "token" if "security" in route else "",
                    ", ".join(_inputs_of(route, schemas)),
                    next(iter(route["responses"])),
                    first_line(route["description"]),
                    ", ".join(f"{kind.code or kind.status}" for kind in _REFUSALS[route["operationId"]]),
                )
            )
    if unknown := _REFUSALS.keys() - names:
        raise KeyError(f"no such routes: {sorted(unknown)}")
    return table(("route", "service", "needs", "body or query", "answer", "what", "refuses also"), rows)


def _inputs_of(route: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    for parameter in route.get("parameters", ()):
        if parameter["in"] == "query":
            yield code(parameter["name"]) + _bounds_of(parameter["schema"])
    if "requestBody" in route:
        schema = route["requestBody"]["content"]["application/json"]["schema"]
        schema = next((one for one in schema.get("anyOf", ()) if "$ref" in one), schema)  # where it may be left out
        if is_list := "items" in schema:
            schema = schema["items"]
        name = schema["$ref"].rpartition("/")[2]
        if is_list:
            yield "a list of"
        for field in schemas[name]["properties"]:
            yield code(field + ("" if field in schemas[name].get("required", ()) else "?"))


def _bounds_of(schema: Mapping[str, Any]) -> str:
    if "maximum" not in schema or schema["maximum"] > 1_000_000:
        return ""
    return f" ({schema['minimum']}–{schema['maximum']}, else {schema['default']})"


def limits() -> str:
    """Return what clients meet as limits, with the settings that change them."""
    settings = Settings.model_construct()
    ours, budgets, http = settings.gateway, settings.limits, settings.http
    seconds = timedelta.total_seconds
    rows = (
        ("message content", f"{budgets.content_characters:,} characters", "LIMITS__CONTENT_CHARACTERS", "50035"),
        ("nonce", f"{NONCE_CHARACTERS} characters, or an integer", "", "50035"),
        ("pinned messages of a channel", MAX_PINS, "", "30003"),
        ("different reactions on a message", MAX_REACTIONS, "", "30010"),
        ("embeds of a message", f"{MAX_EMBEDS}, {MAX_TEXT:,} characters, {MAX_BYTES:,} bytes", "", "50035"),
        ("users, and as many roles, that a message mentions", MAX_MENTIONS, "", "the rest is text"),
        ("the same nonce is recognised", f"{DEDUPE_MS // 60_000} minutes after storing", "", ""),
        ("a message waits to be stored", f"{COMMAND_LIFETIME_MS // 1000} s at most, then never", "", "503"),
        (
            "messages, edits and deletions of one user",
            f"{budgets.sends_per_second:g}/s, burst of 2 s",
            "LIMITS__SENDS_PER_SECOND",
            "429",
        ),
        (
            "messages, edits and deletions of one webhook",
            f"{budgets.webhook_sends_per_second:g}/s, burst of 2 s",
            "LIMITS__WEBHOOK_SENDS_PER_SECOND",
            "429",
        ),
        ("messages of one session without an answer", IN_FLIGHT, "", "429"),
        (
            "registrations, logins, new passwords and applications of one address",
            f"{budgets.auth_per_minute}/min",
            "LIMITS__AUTH_PER_MINUTE",
            "429",
        ),
        (
            "logins, new passwords, usernames and applications of one account",
            f"{budgets.auth_per_account_and_minute}/min",
            "LIMITS__AUTH_PER_ACCOUNT_AND_MINUTE",
            "429",
        ),
        ("frame, but for op 100", f"{MAX_FRAME_BYTES:,} bytes", "", "close 4002"),
        ("op 100", f"{send_bytes_limit(budgets.content_characters):,} bytes", "", "close 4002"),
        ("frames but for op 100", f"{budgets.frames_per_minute}/min", "LIMITS__FRAMES_PER_MINUTE", "close 4008"),
        ("no IDENTIFY", f"{seconds(ours.identify_timeout):g} s", "GATEWAY__IDENTIFY_TIMEOUT", "close 4009"),
        ("silence of a client", "two heartbeat intervals", "GATEWAY__HEARTBEAT_INTERVAL", "close 4000"),
        ("bytes unread by a client", f"{ours.send_buffer_bytes:,}", "GATEWAY__SEND_BUFFER_BYTES", "close 4000"),
        (
            "how long something stays unread",
            f"{seconds(ours.send_buffer_time):g} s",
            "GATEWAY__SEND_BUFFER_TIME",
            "close 4000",
        ),
        ("sessions of one user on a node", budgets.sessions_per_user, "LIMITS__SESSIONS_PER_USER", "close 4008"),
        (
            "IDENTIFYs of one user",
            f"{budgets.identifies_per_minute}/min",
            "LIMITS__IDENTIFIES_PER_MINUTE",
            "close 4008",
        ),
        (
            "connections of one address to a node",
            budgets.connections_per_address,
            "LIMITS__CONNECTIONS_PER_ADDRESS",
            "429 at the upgrade",
        ),
        ("connections of a node", f"{ours.max_connections:,}", "GATEWAY__MAX_CONNECTIONS", "503 at the upgrade"),
        ("event streams and polls of a node", f"{ours.max_streams:,}", "GATEWAY__MAX_STREAMS", "503"),
        ("event streams and polls of one user", f"{budgets.polls_per_minute}/min", "LIMITS__POLLS_PER_MINUTE", "429"),
        ("how long a poll waits", f"{MOST_WAIT_S} s", "", "50035"),
        ("frames of an answer to a poll", f"{POLL_FRAMES:,}, or {POLL_BYTES:,} bytes", "", "`has_more`"),
        ("request body", f"{http.max_body_bytes:,} bytes", "HTTP__MAX_BODY_BYTES", "413"),
        ("messages or events of one page", MAX_LIMIT, "", "50035"),
        ("applications of one user", MAX_APPLICATIONS, "", "400"),
        (
            "commands that a bot offers, everywhere or in one group",
            f"{MOST_COMMANDS[1]} by name, {MOST_COMMANDS[2]} of users, {MOST_COMMANDS[3]} of messages",
            "",
            "30032",
        ),
        ("one of them", f"{MAX_CHARACTERS:,} characters", "", "50035"),
        ("all of them, everywhere or in one group", f"{SCOPE_BYTES:,} bytes", "", "50035"),
        ("messages deleted at once", f"{BULK[0]}–{BULK[1]}", "", "50016"),
        ("age of messages deleted at once", f"{BULK_AGE_MS // 86_400_000} days", "", "50034"),
        ("users whom one blocks", f"{MAX_BLOCKED:,}", "", "30002"),
        (
            "codes to one mailbox",
            f"{budgets.mails_per_minute}/min, {CODES_A_DAY} a day",
            "LIMITS__MAILS_PER_MINUTE",
            "429; nothing is sent",
        ),
        ("a code", f"{LIFETIME_MS // 60_000} minutes, {TRIES} tries", "", "50035"),
        ("groups of one user", MAX_GROUPS, "", "30001"),
        ("groups owned by one user", MAX_OWNED_GROUPS, "", "30001"),
        ("members of a group", f"{Settings().groups.max_members:,}", "GROUPS__MAX_MEMBERS", "30019"),
        ("channels of a group", MAX_CHANNELS, "", "30013"),
        ("roles of a group", MAX_ROLES, "", "30005"),
        ("roles and members that a channel says something of", MAX_OVERWRITES, "", "50035"),
        ("webhooks of a channel", MAX_WEBHOOKS, "", "30007"),
        ("webhooks of a group", f"{MAX_GROUP_WEBHOOKS:,}", "", "30007"),
        ("name of a webhook", _length(WEBHOOK_NAME_LENGTH), "", "50035"),
        ("slow mode", f"{MAX_SLOW_S:,} s", "", "50035"),
        ("a timeout", f"{MAX_TIMEOUT_MS // 86_400_000} days", "", "50035"),
        ("members in a GUILD_CREATE", f"all up to {SMALL_GROUP}; of a larger group the user alone", "", ""),
        ("direct channels in READY", f"the {SESSION_DIRECTS} newest", "", ""),
        ("logouts of one user remembered one by one", MAX_NAMED, "", "older tokens of the user go, too"),
        ("username", _length(USERNAME_LENGTH), "", "50035"),
        ("shown name", _length(GLOBAL_NAME_LENGTH), "", "50035"),
        ("bio", f"{BIO_LENGTH} characters", "", "50035"),
        ("password", _length(PASSWORD_LENGTH), "", "50035"),
        ("name of a group", _length(GROUP_NAME_LENGTH), "", "50035"),
        ("description of a group", f"{MAX_DESCRIPTION:,} characters", "", "50035"),
        ("name of a channel", _length(CHANNEL_NAME_LENGTH), "", "50035"),
        ("topic of a channel", f"{MAX_TOPIC:,} characters", "", "50035"),
        ("name of a role", _length(ROLE_NAME_LENGTH), "", "50035"),
        ("nick of a member", _length(NICK_LENGTH), "", "50035"),
    )
    shown = ((what, limit, code(f"STARLING_{name}") if name else "", then) for what, limit, name, then in rows)
    return table(("what", "limit", "setting", "beyond it"), shown)


def _length(bounds: tuple[int, int]) -> str:
    return f"{bounds[0]}–{bounds[1]} characters"
