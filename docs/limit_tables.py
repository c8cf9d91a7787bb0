"""The table of limits in docs/protocol.md, from the settings and from what the code holds to.

Which limits clients meet, and what is beyond each, stands here by name.
"""

from __future__ import annotations

from datetime import timedelta

from docs.markdown import code, table
from services.gateway.core.frames import MAX_FRAME_BYTES, send_bytes_limit
from services.gateway.listening import MOST_WAIT_S, POLL_BYTES, POLL_FRAMES
from services.gateway.sending import IN_FLIGHT
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
from services.history.core.pinning import MAX_PINS
from services.history.core.reacting import MAX_REACTIONS
from services.history.pages import MAX_LIMIT
from services.history.rest_changes import BULK, BULK_AGE_MS
from shared.core.calls import SESSION_DIRECTS, SMALL_GROUP
from shared.core.commands import COMMAND_LIFETIME_MS
from shared.core.drafts import NONCE_CHARACTERS
from shared.core.embeds import MAX_BYTES, MAX_EMBEDS, MAX_TEXT
from shared.core.mentions import MAX_MENTIONS
from shared.core.webhooks import WEBHOOK_NAME_LENGTH
from shared.core.writing import DEDUPE_MS
from shared.settings import Settings


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
        ("no IDENTIFY", f"{seconds(ours.identify_timeout):g} s", "GATEWAY__IDENTIFY_TIMEOUT", "close 4000"),
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
