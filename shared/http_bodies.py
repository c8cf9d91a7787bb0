"""What several services answer alike, for checking and for their OpenAPI documents.

Ring 4 (shell). The answers themselves are made by `shared.core.wire`.
"""

from __future__ import annotations

from pydantic import BaseModel

from shared.snowflakes import Snowflake


class UserBody(BaseModel):
    """A user as others see it."""

    id: Snowflake
    username: str
    discriminator: str
    global_name: str | None
    avatar: str | None
    bot: bool
    public_flags: int
