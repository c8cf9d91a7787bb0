"""One of two nodes on Django Channels with channels_redis: a room of all, and each user's own.

`python channels_redis_layer.py PORT REDIS_URL`; a peer of `make bench-peers`.
"""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from django.conf import settings

PORT, URL = int(sys.argv[1]), sys.argv[2]
settings.configure(
    CHANNEL_LAYERS={"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [URL]}}}
)

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402 (settings come first)


class Member(AsyncWebsocketConsumer):  # type: ignore[misc]
    """A client."""

    async def connect(self) -> None:
        """Let it in."""
        user = parse_qs(self.scope["query_string"].decode())["user"][0]
        self.its = ("room", f"user.{user}")
        for group in self.its:
            await self.channel_layer.group_add(group, self.channel_name)
        await self.accept()
        await self.send(text_data="joined")

    async def disconnect(self, code: int) -> None:
        """Let it go."""
        for group in self.its:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, text_data: str = "", bytes_data: bytes = b"") -> None:
        """Tell all, or one: `@name text`."""
        if text_data.startswith("@"):
            name, _, text = text_data[1:].partition(" ")
            await self.channel_layer.group_send(f"user.{name}", {"type": "told", "text": text})
        else:
            await self.channel_layer.group_send("room", {"type": "told", "text": text_data})

    async def told(self, event: dict[str, Any]) -> None:
        """Pass on what was told."""
        await self.send(text_data=event["text"])


uvicorn.run(
    Member.as_asgi(),
    host="127.0.0.1",
    port=PORT,
    log_level="warning",
    loop="uvloop",
    lifespan="off",
    ws_ping_interval=None,
)
