"""The client's side of the WebSocket protocol, as the load generator speaks it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from deploy.load.frames import GOOD_BYE, take_frame, take_head, text_of, upgrade_of
from services.gateway.core.websocket import text_frame

SIZES = st.sampled_from((0, 1, 125, 126, 640, 65535, 65536))


@given(st.lists(SIZES, max_size=4), st.lists(st.integers(1, 70_000), max_size=4))
def test_frames_are_taken_however_they_are_cut(sizes: list[int], cuts: list[int]) -> None:
    """What a server sends comes out whole and in order, wherever the network cuts it."""
    sent = [bytes([65 + index]) * size for index, size in enumerate(sizes)]
    stream = b"".join(map(text_frame, sent))
    inbox, taken = bytearray(), []
    for cut in [*cuts, len(stream)]:
        inbox += stream[:cut]
        stream = stream[cut:]
        while (frame := take_frame(inbox)) is not None:
            taken.append(frame)
    assert taken == [(1, payload) for payload in sent]
    assert not inbox


@given(SIZES)
def test_a_server_understands_our_frames(size: int) -> None:
    """A text frame of ours arrives at a server that keeps to the RFC, and so does the good-bye."""
    for data, opcode in ((text_of(b"x" * size), Opcode.TEXT), (GOOD_BYE, Opcode.CLOSE)):
        reader = StreamReader()
        reader.feed_data(data)
        parsing = Frame.parse(reader.read_exact, mask=True)
        try:
            while True:
                next(parsing)
        except StopIteration as done:
            frame = done.value
        assert frame.opcode is opcode
        assert frame.data == (b"x" * size if opcode is Opcode.TEXT else b"\x03\xe8")


def test_a_server_lets_us_in() -> None:
    """The upgrade is accepted, and its answer's head is taken off what follows it."""
    server = ServerProtocol()
    server.receive_data(upgrade_of("/gateway?v=10"))
    (request,) = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]  # the first event is the request
    answer = bytearray(b"".join(server.data_to_send()) + b"\x81\x00")
    half = answer[:20]
    assert take_head(half) is None
    head = take_head(answer)
    assert head is not None
    assert head.startswith(b"HTTP/1.1 101")
    assert answer == b"\x81\x00"
