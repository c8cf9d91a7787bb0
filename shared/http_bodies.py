"""What several services take and answer alike, for checking and for their OpenAPI documents.

Ring 4 (shell). The answers themselves are made by `shared.core.wire`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel

from shared.snowflakes import Snowflake

WebhookToken = Annotated[str, Path(min_length=1, max_length=256, description="the webhook's token")]
"""A route's parameter: what is to be a webhook's token, judged by nobody yet."""


class UserBody(BaseModel):
    """A user as others see it."""

    id: Snowflake
    username: str
    discriminator: str
    global_name: str | None
    avatar: str | None
    bot: bool
    public_flags: int
