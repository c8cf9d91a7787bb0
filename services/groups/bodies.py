"""What requests and answers of the groups service look like, for checking and for the OpenAPI document.

Ring 4 (shell). Requests: unknown fields are ignored, types are strict, ids come as strings or integers. Answers
are made by `shared.core.wire`; the models here only describe them, and a test holds the two together.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, StrictBool, StrictInt

from services.groups.core.names import GROUP_NAME_LENGTH, PASSWORD_LENGTH, USERNAME_LENGTH
from services.groups.core.profiles import BIO_LENGTH
from shared.core.model import MAX_RECIPIENTS
from shared.http_bodies import UserBody
from shared.snowflakes import Snowflake

_LONGEST = 1024
"""No text field of a request is longer; the rules of each are in `services.groups.core.names`."""


class Registration(BaseModel):
    """A new account."""

    username: str = Field(max_length=_LONGEST, description=f"{USERNAME_LENGTH[0]}–{USERNAME_LENGTH[1]} characters")
    password: str = Field(max_length=_LONGEST, description=f"{PASSWORD_LENGTH[0]}–{PASSWORD_LENGTH[1]} characters")
    email: str | None = Field(None, max_length=_LONGEST, description="gets a code that proves it")


class DeletedUser(BaseModel):
    """The end of the caller's account."""

    password: str = Field(max_length=_LONGEST)


class Relationship(BaseModel):
    """What another user is to the caller."""

    type: StrictInt = Field(description="2: blocked; there is no other")


class NewApplication(BaseModel):
    """A new application; its bot gets its name."""

    name: str = Field(max_length=_LONGEST, description="a username, which nobody else has")
    description: str = Field("", max_length=_LONGEST, description=f"at most {BIO_LENGTH} characters")


class NewEmail(BaseModel):
    """An address that is to be the caller's."""

    email: str = Field(max_length=_LONGEST)
    password: str = Field(max_length=_LONGEST)


class ToldCode(BaseModel):
    """A code that came by e-mail."""

    code: str = Field(max_length=_LONGEST)


class ForgottenPassword(BaseModel):
    """Whose password is to be set anew."""

    email: str = Field(max_length=_LONGEST)


class ResetPassword(BaseModel):
    """A new password, allowed by a code."""

    email: str = Field(max_length=_LONGEST)
    code: str = Field(max_length=_LONGEST)
    password: str = Field(max_length=_LONGEST, description=f"{PASSWORD_LENGTH[0]}–{PASSWORD_LENGTH[1]} characters")


class Login(BaseModel):
    """Who wants a token."""

    login: str = Field(max_length=_LONGEST, description="the username")
    password: str = Field(max_length=_LONGEST)


class ChangedUser(BaseModel):
    """What is to be other than before; what is left out stays. Another password needs the old one."""

    username: str | None = Field(None, max_length=_LONGEST, description="as at the registration")
    global_name: str | None = Field(None, max_length=_LONGEST, description="the name that is shown; null: the username")
    bio: str | None = Field(None, max_length=_LONGEST, description=f"at most {BIO_LENGTH} characters")
    avatar: str | None = Field(None, description="null only: there are no avatars here")
    password: str | None = Field(None, max_length=_LONGEST, description="the password so far")
    new_password: str | None = Field(
        None, max_length=_LONGEST, description=f"{PASSWORD_LENGTH[0]}–{PASSWORD_LENGTH[1]} characters"
    )


class NewDirect(BaseModel):
    """With whom a direct channel is to be."""

    recipient_id: Snowflake | None = Field(None, description="the other user")
    recipients: list[Snowflake] | None = Field(
        None, max_length=MAX_RECIPIENTS, description="instead: a list of one user; of several for a group DM"
    )


class NewGuild(BaseModel):
    """A new group."""

    name: str = Field(max_length=_LONGEST, description=f"{GROUP_NAME_LENGTH[0]}–{GROUP_NAME_LENGTH[1]} characters")
    public: StrictBool = Field(False, description="anyone may join by the name, which is then unique")


class JoinedGuild(BaseModel):
    """Which public group to join."""

    name: str = Field(max_length=_LONGEST)


class OwnUserBody(UserBody):
    """A user as it sees itself."""

    flags: int
    mfa_enabled: bool
    verified: bool | None = Field(None, description="whether `email` was proved; a bot needs none")
    locale: str
    bio: str
    email: str | None = None


class ChangedUserBody(OwnUserBody):
    """The caller; after a change of the password with the only token that is good from now on."""

    token: str | None = None


class ApplicationBody(BaseModel):
    """An application; it has its bot's id."""

    id: Snowflake
    name: str
    icon: str | None
    description: str
    summary: str
    approximate_guild_count: int
    approximate_user_install_count: int
    bot_public: bool
    bot_require_code_grant: bool
    verify_key: str
    flags: int
    owner: UserBody
    team: dict[str, Any] | None
    bot: UserBody


class BotWithTokenBody(UserBody):
    """A bot with its token, which is shown only once."""

    token: str


class NewApplicationBody(ApplicationBody):
    """A new application with its bot's token."""

    bot: BotWithTokenBody


class BotTokenBody(BaseModel):
    """A bot's new token, the only one that is good from now on."""

    token: str


class RelationshipBody(BaseModel):
    """A user whom the caller blocks."""

    id: Snowflake
    type: int
    nickname: str | None
    user: UserBody


class ProfileFieldsBody(BaseModel):
    """What a user tells of itself beside its names."""

    bio: str
    accent_color: int | None
    pronouns: str


class ProfileBody(BaseModel):
    """A user with what it tells of itself."""

    user: UserBody
    user_profile: ProfileFieldsBody


class TokenBody(BaseModel):
    """A token and whose it is."""

    token: str
    user: OwnUserBody


class ChannelBody(BaseModel):
    """A channel. In a guild it has a name and a position, a direct one has recipients."""

    id: Snowflake
    type: int = Field(description="0: text channel of a guild, 1: direct, 3: group DM, 4: category of a guild")
    last_message_id: Snowflake | None
    last_seq: int = Field(description="seq of the channel's last event, 0 if there is none")
    last_pin_timestamp: str | None
    flags: int
    guild_id: Snowflake | None = None
    name: str | None = None
    position: int | None = None
    topic: str | None = None
    nsfw: bool | None = None
    parent_id: Snowflake | None = None
    rate_limit_per_user: int | None = None
    permission_overwrites: list[dict[str, Any]] | None = None
    recipients: list[UserBody] | None = None
    owner_id: Snowflake | None = Field(None, description="of a group DM: who may remove others")
    icon: None = Field(None, description="there are no icons here")


class RoleBody(BaseModel):
    """A role of a guild."""

    id: Snowflake
    name: str
    color: int
    colors: dict[str, int | None]
    hoist: bool
    icon: str | None
    unicode_emoji: str | None
    position: int
    permissions: str
    managed: bool
    mentionable: bool
    flags: int


class BanBody(BaseModel):
    """A ban."""

    reason: str | None
    user: UserBody


class GuildBody(BaseModel):
    """A group; beside these the fields that Discord's client libraries expect, at rest."""

    id: Snowflake
    name: str
    owner_id: Snowflake
    public: bool
    roles: list[RoleBody]
    features: list[str]
    channels: list[ChannelBody]


class GuildSummaryBody(BaseModel):
    """A group in a list of one's own."""

    id: Snowflake
    name: str
    icon: str | None
    banner: str | None
    owner: bool
    permissions: str
    features: list[str]


class MemberBody(BaseModel):
    """A user inside a group."""

    user: UserBody
    nick: str | None
    avatar: str | None
    roles: list[Snowflake]
    joined_at: str
    premium_since: str | None
    deaf: bool
    mute: bool
    pending: bool
    flags: int
    communication_disabled_until: str | None
