"""What requests and answers about webhooks look like.

Ring 4 (shell). As in `services.groups.bodies`: unknown fields are ignored, types are strict.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from shared.core.errors import InvalidForm
from shared.core.webhooks import WEBHOOK_NAME_LENGTH
from shared.http_bodies import UserBody
from shared.snowflakes import Snowflake

_LONGEST = 1024
_CHARACTERS = f"{WEBHOOK_NAME_LENGTH[0]}–{WEBHOOK_NAME_LENGTH[1]} characters"


class RenamedWebhook(BaseModel):
    """A webhook as who has its token may change it; what is missing or null stays as it is."""

    name: str | None = Field(None, max_length=_LONGEST, description=_CHARACTERS)
    avatar: str | None = Field(None, description="null only: pictures are told with each message")

    def fields(self) -> dict[str, Any]:
        """Return what is given, under the names of `Webhook`. Raises `InvalidForm`."""
        if self.avatar is not None:
            raise InvalidForm({"avatar": [("AVATAR_UNSUPPORTED", "There are no avatars here.")]})
        return {} if self.name is None else {"name": self.name}


class ChangedWebhook(RenamedWebhook):
    """A webhook as who manages it may change it; what is missing or null stays as it is."""

    channel_id: Snowflake | None = Field(None, description="another channel of the same guild")

    def fields(self) -> dict[str, Any]:
        """Return what is given, under the names of `Webhook`. Raises `InvalidForm`."""
        return super().fields() | ({} if self.channel_id is None else {"channel_id": self.channel_id})


class NewWebhook(RenamedWebhook):
    """A new webhook."""

    name: str = Field(max_length=_LONGEST, description=_CHARACTERS)


class WebhookBody(BaseModel):
    """A webhook."""

    id: Snowflake
    type: int = Field(description="1: it takes messages")
    guild_id: Snowflake
    channel_id: Snowflake
    name: str
    avatar: str | None
    application_id: Snowflake | None
    token: str = Field(description="whoever has it may write into the channel")
    url: str = Field(description="where messages are posted to")
    user: UserBody | None = Field(None, description="who made it, as they looked then; not told by token")
