"""What requests about the commands of bots look like.

Ring 4 (shell). Unknown fields are ignored; what is known is kept as it came. What Discord's rules say beyond shapes is
`services.groups.core.application_commands`'.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr

from shared.snowflakes import Snowflake

_WHOLE = 1 << 53
"""Numbers beyond it are not the same in every language."""
_Name = Annotated[str, Field(min_length=1, max_length=32)]
_Description = Annotated[str, Field(max_length=100)]
_Integer = Annotated[StrictInt, Field(ge=-_WHOLE, le=_WHOLE)]
_Number = _Integer | Annotated[float, Field(ge=-_WHOLE, le=_WHOLE, allow_inf_nan=False)]
_Locale = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{2,8}$")]
_Names = Annotated[dict[_Locale, _Name], Field(max_length=40)] | None
_Descriptions = Annotated[dict[_Locale, _Description], Field(max_length=40)] | None
_Kinds = Annotated[list[Annotated[StrictInt, Field(ge=0, le=100)]], Field(max_length=20)] | None
_Permissions = Annotated[str, Field(pattern=r"^[0-9]{1,20}$")] | None


class CommandChoice(BaseModel):
    """A value to choose."""

    name: str = Field(min_length=1, max_length=100)
    name_localizations: (
        Annotated[dict[_Locale, Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=40)] | None
    ) = None
    value: Annotated[StrictStr, Field(max_length=100)] | _Number


class CommandOption(BaseModel):
    """What a command is given, or a subcommand."""

    type: StrictInt = Field(ge=1, le=11)
    name: _Name
    name_localizations: _Names = None
    description: str = Field(min_length=1, max_length=100)
    description_localizations: _Descriptions = None
    required: StrictBool | None = None
    choices: Annotated[list[CommandChoice], Field(max_length=25)] | None = None
    options: Annotated[list[CommandOption], Field(max_length=25)] | None = None
    channel_types: _Kinds = None
    min_value: _Number | None = None
    max_value: _Number | None = None
    min_length: Annotated[StrictInt, Field(ge=0, le=6000)] | None = None
    max_length: Annotated[StrictInt, Field(ge=1, le=6000)] | None = None
    autocomplete: StrictBool | None = None


class ChangedCommand(BaseModel):
    """A command; what is missing stays as it is."""

    name: _Name | None = None
    name_localizations: _Names = None
    description: _Description | None = None
    description_localizations: _Descriptions = None
    options: Annotated[list[CommandOption], Field(max_length=25)] | None = None
    default_member_permissions: _Permissions = None
    dm_permission: StrictBool | None = None
    default_permission: StrictBool | None = None
    nsfw: StrictBool | None = None
    integration_types: _Kinds = None
    contexts: _Kinds = None

    def fields(self) -> dict[str, Any]:
        """Return what is given; a name or description of null is none."""
        given = self.model_dump(exclude_unset=True)
        return {name: one for name, one in given.items() if one is not None or name not in ("name", "description")}


class NewCommand(ChangedCommand):
    """A command that a bot offers. Type 1 is called by name, 2 of a user, 3 of a message."""

    name: _Name
    type: Literal[1, 2, 3] = 1

    def fields(self) -> dict[str, Any]:
        """Return what is given, and the type."""
        return {**super().fields(), "type": self.type}


class CommandBody(BaseModel):
    """A command that a bot offers."""

    id: Snowflake
    application_id: Snowflake
    guild_id: Snowflake | None = None
    version: Snowflake
    type: int
    name: str
    name_localizations: dict[str, str] | None
    description: str
    description_localizations: dict[str, str] | None
    options: list[dict[str, Any]] | None = None
    default_member_permissions: str | None
    dm_permission: bool | None = None
    default_permission: bool | None
    nsfw: bool
    integration_types: list[int] | None
    contexts: list[int] | None
