"""The limit where there is no C compiler: one `send` per delivery, and nothing else. As raw_send.c, in Python.

`python -m tests.bench.peers.raw_send PORT FRAME_BYTES`.
"""

from __future__ import annotations

import select
import socket
import struct
import sys


def main(port: int, payload_bytes: int) -> None:
    """Serve until killed: each byte that a client says is one message to every connection."""
    frame = struct.pack("!BBH", 0x81, 126, payload_bytes) + b"x" * payload_bytes
    members: dict[int, socket.socket] = {}
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener, select.epoll() as queue:
        queue.register(listener, select.EPOLLIN)
        while True:
            for fd, _ in queue.poll(maxevents=1024):
                if fd == listener.fileno():
                    fresh, _ = listener.accept()
                    fresh.setblocking(False)
                    fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    members[fresh.fileno()] = fresh
                    queue.register(fresh, select.EPOLLIN)
                    fresh.send(b"\x81\x00")
                elif said := members[fd].recv(256):
                    for _ in said:
                        for member in members.values():
                            member.send(frame)
                else:
                    queue.unregister(fd)
                    members.pop(fd).close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
