"""What is written by webhooks looks like, for checking and for the OpenAPI document.

Ring 4 (shell). As in `services.history.bodies`: unknown fields are ignored, as tools send many.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, StrictBool

_LONGEST = 4096


class WebhookMessage(BaseModel):
    """A message for a webhook to write; what it shows is judged as that of any message."""

    content: str | None = Field(None, description="as in a new message; it, embeds, or both")
    username: str | None = Field(
        None, max_length=_LONGEST, description="another name for this message, 1–80 characters"
    )
    avatar_url: str | None = Field(None, max_length=_LONGEST, description="another picture for this message, http(s)")
    embeds: list[dict[str, Any]] | None = Field(None, description="up to 10, by Discord's limits")
    allowed_mentions: dict[str, Any] | None = Field(None, description="{parse?, users?, roles?}")
    flags: int | None = Field(None, description="4: suppress embeds, 4096: suppress notifications; others are ignored")
    nonce: int | str | None = Field(None, description="as in a new message")
    enforce_nonce: StrictBool = Field(False, description="the same nonce again within 10 minutes: the first message")
    thread_name: str | None = Field(None, description="refused: there are no threads here")


class SlackMessage(BaseModel):
    """A message in Slack's shape; in a form its JSON is `payload`. `blocks` are not shown: send `text` with them."""

    text: Any = Field(None, description="the content")
    username: Any = Field(None, description="another name for this message")
    icon_url: Any = Field(None, description="another picture for this message")
    attachments: Any = Field(
        None,
        description="[{title?, title_link?, text?, pretext?, fallback?, color?, fields?: [{title, value, short}], ts?, "
        "footer?, footer_icon?, author_name?, author_link?, author_icon?, image_url?, thumb_url?}]",
    )
