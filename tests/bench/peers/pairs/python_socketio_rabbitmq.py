"""One of two nodes on python-socketio with its RabbitMQ manager: a room of all, and each user's own.

`python python_socketio_rabbitmq.py PORT RABBITMQ_URL`; a peer of `make bench-peers`.
"""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import parse_qs

import socketio
import uvicorn

PORT, URL = int(sys.argv[1]), sys.argv[2]
sio = socketio.AsyncServer(
    async_mode="asgi",
    transports=["websocket"],
    client_manager=socketio.AsyncAioPikaManager(URL),
    # No heartbeats: nobody else in this comparison has any.
    ping_interval=3600,
    ping_timeout=3600,
)


@sio.event
async def connect(sid: str, environ: dict[str, Any]) -> None:
    """Let a client in."""
    user = parse_qs(environ["QUERY_STRING"])["user"][0]
    await sio.enter_room(sid, "room")
    await sio.enter_room(sid, f"user:{user}")


@sio.event
async def ready(sid: str) -> None:
    """Tell a client that it is in; before the connection is accepted nothing can be told."""
    await sio.emit("joined", to=sid, ignore_queue=True)


@sio.event
async def message(sid: str, text: str) -> None:
    """Tell all."""
    await sio.emit("message", text, room="room")


@sio.event
async def direct(sid: str, name: str, text: str) -> None:
    """Tell one."""
    await sio.emit("message", text, room=f"user:{name}")


uvicorn.run(
    socketio.ASGIApp(sio), host="127.0.0.1", port=PORT, log_level="warning", loop="uvloop", ws_ping_interval=None
)
