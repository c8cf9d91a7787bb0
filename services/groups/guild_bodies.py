"""What requests about roles, channels and members of a guild look like.

Ring 4 (shell). As in `services.groups.bodies`: unknown fields are ignored, types are strict. Each model says which
fields of our own values it changes; what is not given stays as it is.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, StrictBool, WithJsonSchema
from pydantic_core import PydanticCustomError

from services.groups.core.channels import MAX_OVERWRITES, MAX_SLOW_S
from services.groups.core.groups import MAX_SYSTEM_FLAGS, GroupPatch
from services.groups.core.invites import MAX_AGE_S, MAX_USES
from services.groups.core.members import MemberPatch
from services.groups.core.names import (
    CHANNEL_NAME_LENGTH,
    GROUP_NAME_LENGTH,
    MAX_DESCRIPTION,
    MAX_TOPIC,
    NICK_LENGTH,
    ROLE_NAME_LENGTH,
)
from services.groups.core.roles import MAX_ROLES
from services.groups.purging import MAX_SECONDS
from shared.core.errors import InvalidForm
from shared.core.ids import MAX_ID
from shared.core.model import Overwrite, OverwriteType
from shared.http_bodies import UserBody
from shared.snowflakes import Snowflake

_LONGEST = 1024
_MOST_POSITION = 10_000


def _require_bits(value: object) -> int:
    """Return permissions as they came in: a decimal string, or an integer."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ID:
        raise PydanticCustomError("NUMBER_TYPE_COERCE", "The value is not a set of permissions.")
    return value


_MOST_DIGITS = 20
Bits = Annotated[int, BeforeValidator(_require_bits), WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,20}$"})]
"""Permissions; bits that nobody knows are dropped."""


def _characters(bounds: tuple[int, int]) -> str:
    return f"{bounds[0]}–{bounds[1]} characters"


class ChangedGuild(BaseModel):
    """A guild; what is missing stays as it is."""

    name: str | None = Field(None, max_length=_LONGEST, description=_characters(GROUP_NAME_LENGTH))
    public: StrictBool | None = Field(None, description="anyone may join by the name, which is then unique")
    description: str | None = Field(
        None, max_length=2 * MAX_DESCRIPTION, description=f"at most {MAX_DESCRIPTION} characters"
    )
    owner_id: Snowflake | None = Field(None, description="a member who owns it from now on")
    system_channel_id: Snowflake | None = Field(None, description="the channel that is told who joins; null: none")
    system_channel_flags: int | None = Field(None, ge=0, le=MAX_SYSTEM_FLAGS, description="1: it is not told")
    icon: str | None = Field(None, description="null only: there are no icons here")

    def patch(self) -> GroupPatch:
        """Return what is to change. Raises `InvalidForm` for an icon."""
        if self.icon is not None:
            raise InvalidForm({"icon": [("ICON_UNSUPPORTED", "There are no icons here.")]})
        given = self.model_fields_set
        return GroupPatch(
            name=UNSET if self.name is None else self.name,
            public=UNSET if self.public is None else self.public,
            description=self.description if "description" in given else UNSET,
            owner_id=UNSET if self.owner_id is None else self.owner_id,
            system_channel_id=(self.system_channel_id or 0) if "system_channel_id" in given else UNSET,
            system_flags=UNSET if self.system_channel_flags is None else self.system_channel_flags,
        )


class RoleColors(BaseModel):
    """The colours of a role: one is kept."""

    primary_color: int = Field(0, ge=0, le=0xFFFFFF)


class ChangedRole(BaseModel):
    """A role; what is missing or null stays as it is."""

    name: str | None = Field(None, max_length=_LONGEST, description=_characters(ROLE_NAME_LENGTH))
    permissions: Bits | None = None
    color: int | None = Field(None, ge=0, le=0xFFFFFF)
    colors: RoleColors | None = None
    hoist: StrictBool | None = None
    mentionable: StrictBool | None = None

    def fields(self) -> dict[str, Any]:
        """Return what is given, under the names of `Role`."""
        given = {
            "name": self.name,
            "permissions": self.permissions,
            "color": self.color if self.colors is None else self.colors.primary_color,
            "hoist": self.hoist,
            "mentionable": self.mentionable,
        }
        return {name: value for name, value in given.items() if value is not None}


class RolePosition(BaseModel):
    """Where a role is to stand; more is above."""

    id: Snowflake
    position: int | None = Field(None, ge=0, le=MAX_ROLES)


class NewOverwrite(BaseModel):
    """What a role (type 0) or member (type 1) may do in a channel."""

    type: Literal[0, 1]
    allow: Bits | None = None
    deny: Bits | None = None

    def of(self, target: int) -> Overwrite:
        """Return the overwrite of this role or member."""
        return Overwrite(target, OverwriteType(self.type), self.allow or 0, self.deny or 0)


class NamedOverwrite(NewOverwrite):
    """The same, of whom it is."""

    id: Snowflake


_Overwrites = Annotated[list[NamedOverwrite] | None, Field(max_length=MAX_OVERWRITES)]


class ChangedChannel(BaseModel):
    """A channel; what is missing stays as it is."""

    name: str | None = Field(None, max_length=_LONGEST, description=_characters(CHANNEL_NAME_LENGTH))
    topic: str | None = Field(None, max_length=2 * MAX_TOPIC, description=f"at most {MAX_TOPIC} characters")
    position: int | None = Field(None, ge=0, le=_MOST_POSITION)
    parent_id: Snowflake | None = Field(None, description="the category it stands under")
    nsfw: StrictBool | None = None
    rate_limit_per_user: int | None = Field(None, ge=0, le=MAX_SLOW_S, description="slow mode, seconds")
    permission_overwrites: _Overwrites = None

    def fields(self) -> dict[str, Any]:
        """Return what is given, under the names of `Channel`; null where that means none."""
        given = self.model_fields_set
        overwrites = tuple(one.of(one.id) for one in self.permission_overwrites or ())
        fields = {
            "name": self.name,
            "position": self.position,
            "nsfw": self.nsfw,
            "parent_id": self.parent_id or 0,
            "slow_s": self.rate_limit_per_user or 0,
            "overwrites": overwrites,
        }
        named = {"slow_s": "rate_limit_per_user", "overwrites": "permission_overwrites"}
        fields = {name: one for name, one in fields.items() if named.get(name, name) in given and one is not None}
        return fields | ({"topic": self.topic} if "topic" in given else {})


class NewChannel(ChangedChannel):
    """A new channel: text (type 0) or a category (type 4)."""

    name: str = Field(max_length=_LONGEST, description=_characters(CHANNEL_NAME_LENGTH))
    type: Literal[0, 4] = 0


class ChannelPosition(BaseModel):
    """Where a channel is to stand."""

    id: Snowflake
    position: int | None = Field(None, ge=0, le=_MOST_POSITION)
    parent_id: Snowflake | None = None
    lock_permissions: StrictBool | None = Field(None, description="true: overwrites become those of its category")

    def fields(self) -> dict[str, int]:
        """Return what is given, under the names of `Channel`."""
        position = {} if self.position is None else {"position": self.position}
        parent = {"parent_id": self.parent_id or 0} if "parent_id" in self.model_fields_set else {}
        return {"id": self.id, **position, **parent}


class ChangedOwnMember(BaseModel):
    """What one is called in a guild oneself."""

    nick: str | None = Field(None, max_length=_LONGEST, description=_characters(NICK_LENGTH))

    def patch(self) -> MemberPatch:
        """Return what is to change."""
        return MemberPatch(nick=self.nick if "nick" in self.model_fields_set else UNSET)


class ChangedMember(ChangedOwnMember):
    """A member; what is missing stays as it is."""

    roles: list[Snowflake] | None = Field(None, max_length=MAX_ROLES)
    communication_disabled_until: AwareDatetime | None = Field(None, description="the end of a timeout")

    def patch(self) -> MemberPatch:
        """Return what is to change."""
        until = self.communication_disabled_until
        return MemberPatch(
            nick=self.nick if "nick" in self.model_fields_set else UNSET,
            roles=frozenset(self.roles or ()) if "roles" in self.model_fields_set else UNSET,
            muted_until=(max(0, int(until.timestamp() * 1000)) if until is not None else 0)
            if "communication_disabled_until" in self.model_fields_set
            else UNSET,
        )


class AddedMember(BaseModel):
    """What a new member begins with."""

    nick: str | None = Field(None, max_length=_LONGEST, description=_characters(NICK_LENGTH))
    roles: list[Snowflake] | None = Field(None, max_length=MAX_ROLES)


class NewBan(BaseModel):
    """A ban. What the user wrote in the last seconds or days is deleted, soon after the answer."""

    delete_message_seconds: int | None = Field(None, ge=0, le=MAX_SECONDS)
    delete_message_days: int | None = Field(None, ge=0, le=7, description="the older way to say it")

    def seconds(self) -> int:
        """Return how far back messages are deleted."""
        return self.delete_message_seconds or (self.delete_message_days or 0) * 24 * 3600


class NewBans(BaseModel):
    """Bans of several users."""

    user_ids: list[Snowflake] = Field(min_length=1, max_length=200)
    delete_message_seconds: int | None = Field(None, ge=0, le=MAX_SECONDS)


class BansBody(BaseModel):
    """Who of several is banned now, and who can't be."""

    banned_users: list[Snowflake]
    failed_users: list[Snowflake]


class NewInvite(BaseModel):
    """A way into a guild. 0: without an end."""

    max_age: int = Field(86_400, ge=0, le=MAX_AGE_S, description="seconds")
    max_uses: int = Field(0, ge=0, le=MAX_USES)
    temporary: bool = Field(False, description="kept, without effect: members stay")
    unique: bool = Field(False, description="never answer one that is there already")


class AuditLogBody(BaseModel):
    """A page of a guild's audit log; lists of what there is not here are empty."""

    audit_log_entries: list[dict[str, Any]]
    users: list[UserBody]
    application_commands: list[dict[str, Any]]
    auto_moderation_rules: list[dict[str, Any]]
    guild_scheduled_events: list[dict[str, Any]]
    integrations: list[dict[str, Any]]
    threads: list[dict[str, Any]]
    webhooks: list[dict[str, Any]]


class InviteBody(BaseModel):
    """An invite as everybody may see it who has its code."""

    type: int
    code: str
    inviter: UserBody
    guild_id: Snowflake
    guild: dict[str, Any]
    channel: dict[str, Any]
    expires_at: str | None
    flags: int


class InviteFactsBody(InviteBody):
    """An invite as those see it who manage it."""

    created_at: str
    max_age: int
    max_uses: int
    uses: int
    temporary: bool
