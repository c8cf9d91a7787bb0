"""Messages sent on a session by op 100, and their answers by nonce.

A client's shell. A loss of the connection leaves nothing waiting: what was not answered has to be asked again.
"""

from __future__ import annotations

import asyncio
from typing import Final

from deploy.replay.frames import MESSAGE_SEND, SEND_ACK, SEND_REJECT, Ack, Frame, Reject, decode_ack, decode_reject
from deploy.replay.session import Session

_ANSWER_S: Final = 15.0
"""How long an answer may take; the gateway answers within 10 s if it lives."""


class Asking:
    """What one user asked for on its sessions, and has no answer to yet."""

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Future[Ack | Reject]] = {}

    def take(self, frame: Frame) -> None:
        """Take in a frame; what answers nothing is passed over."""
        if frame.op == SEND_ACK:
            self._settle(decode_ack(frame.d))
        elif frame.op == SEND_REJECT:
            self._settle(decode_reject(frame.d))

    def _settle(self, answer: Ack | Reject) -> None:
        if (waiting := self._answers.pop(answer.nonce, None)) is not None and not waiting.done():
            waiting.set_result(answer)

    def lost(self) -> None:
        """Take in that the connection is gone."""
        for answer in self._answers.values():
            answer.cancel()
        self._answers.clear()

    async def ask(self, session: Session, channel_id: int, nonce: str, content: str) -> Ack | Reject | None:
        """Send a message once; None if there was no answer. A session that does not answer in time is cut."""
        answer: asyncio.Future[Ack | Reject] = asyncio.get_running_loop().create_future()
        self._answers[nonce] = answer
        payload = {"channel_id": str(channel_id), "content": content, "nonce": nonce}
        try:
            async with asyncio.timeout(_ANSWER_S):
                if await session.send(MESSAGE_SEND, payload):
                    await asyncio.wait((answer,))
        except TimeoutError:
            session.cut()
        finally:
            self._answers.pop(nonce, None)
        return answer.result() if answer.done() and not answer.cancelled() else None
