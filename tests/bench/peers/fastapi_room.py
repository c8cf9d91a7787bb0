"""A room on FastAPI's own `@app.websocket` under uvicorn: whatever a client says goes to all.

`python -m tests.bench.peers.fastapi_room PORT`; a peer of `make bench-gateway`, as one would write it first.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
room: set[WebSocket] = set()


@app.websocket("/")
async def join(socket: WebSocket) -> None:
    """Let a client take part until it leaves."""
    await socket.accept()
    room.add(socket)
    try:
        await socket.send_text("joined")
        while True:
            text = await socket.receive_text()
            for other in tuple(room):
                await other.send_text(text)
    except WebSocketDisconnect:
        room.discard(socket)


if __name__ == "__main__":
    # No heartbeats: nobody else in this comparison has any.
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", loop="uvloop", ws_ping_interval=None)
