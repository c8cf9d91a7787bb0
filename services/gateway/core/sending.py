"""Answering a MESSAGE_SEND: what its sender is told. What is sent is judged by `shared.core.sending`.

Ring 1 (core). `services.gateway.sending` performs it.
"""

from __future__ import annotations

from typing import Any, Final

from services.gateway.core import frames
from services.gateway.core.frames import Op
from shared.core.commands import Reply
from shared.core.drafts import nonce_of
from shared.core.errors import InvalidForm, StarlingError

_RETRY_AFTER_S: Final = 1.0
"""When to try again after a retryable error that does not say it."""


def encode_ack(nonce: Any, reply: Reply) -> bytes:
    """Encode SEND_ACK: the message is stored. The nonce goes back as it came."""
    return frames.encode_frame(Op.SEND_ACK, {"nonce": nonce, "id": str(reply.id), "seq": reply.seq})


def encode_reject(nonce: Any, error: StarlingError) -> bytes:
    """Encode SEND_REJECT. With `retry_after` (seconds): try again with the same nonce; without: final."""
    told = {"nonce": _echo(nonce), "code": error.code, "message": _message_of(error)}
    if error.retryable:
        told["retry_after"] = round(error.retry_after or _RETRY_AFTER_S, 3)
    return frames.encode_frame(Op.SEND_REJECT, told)


def _message_of(error: StarlingError) -> str:
    if isinstance(error, InvalidForm):
        return "; ".join(f"{field}: {text}" for field, reasons in error.fields.items() for _, text in reasons)
    return error.text


def _echo(nonce: Any) -> Any:
    """Return a nonce that may be sent back as it came: not some object of any size."""
    return nonce if nonce_of(nonce) else None
