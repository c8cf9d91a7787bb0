"""One of two nodes on FastAPI's own `@app.websocket` and Redis' channels, as one would write it first.

`python -m tests.bench.peers.fastapi_redis PORT REDIS_URL`; a peer of `make bench-peers`. All nodes hear all,
and know their own clients.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

PORT, URL = int(sys.argv[1]), sys.argv[2]
ROOM = ""
server = redis.asyncio.from_url(URL)
members: dict[str, set[WebSocket]] = defaultdict(set)


async def listen() -> None:
    """Pass on what any node publishes: `name text`, or ` text` for all."""
    async with server.pubsub() as subscription:
        await subscription.subscribe("told")
        async for published in subscription.listen():
            if published["type"] == "message":
                name, _, text = published["data"].decode().partition(" ")
                for socket in tuple(members[name]):
                    await socket.send_text(text)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Listen while there are clients."""
    listening = asyncio.create_task(listen())
    yield
    listening.cancel()


app = FastAPI(lifespan=lifespan)


@app.websocket("/")
async def join(socket: WebSocket, user: str) -> None:
    """Let a client take part until it leaves."""
    await socket.accept()
    for name in (ROOM, user):
        members[name].add(socket)
    try:
        await socket.send_text("joined")
        while True:
            text = await socket.receive_text()
            await server.publish("told", text[1:] if text.startswith("@") else f" {text}")
    except WebSocketDisconnect:
        for name in (ROOM, user):
            members[name].discard(socket)


uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", loop="uvloop", ws_ping_interval=None)
