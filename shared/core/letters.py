"""Dead letters: commands that broke their worker, and envelopes that nobody could read, as they are kept for operators.

Ring 1 (core). A letter holds what it is about as the bytes of an envelope, so that any release can list it and put it
back. It carries contents: what reads letters shows no more of them than a list needs. Who writes them is
`services.history.worker`, who reads them `services.history.letters`.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from shared.core.commands import (
    COMMAND_LIFETIME_MS,
    ENVELOPE_VERSION,
    BadEnvelope,
    Commands,
    decode_for_shard,
    encode_envelope,
)

REASON_CHARACTERS: Final = 300
"""Most of a reason; the log has the rest."""
_DIGEST_CHARACTERS: Final = 16


class DeadLetter(msgspec.Struct, frozen=True, tag_field="k", tag="dead_letter", omit_defaults=True):
    """One command, or one envelope that is no such; `body` is an envelope with the command alone, or the bytes as met.

    `id` is the same each time the same thing dies. `at` is Unix ms. `kind`, `command_id`, `channel_id` and `author_id`
    say nothing ("" and 0) of bytes that could not be read.
    """

    id: str
    shard: int
    at: int
    reason: str
    body: bytes
    kind: str = ""
    command_id: int = 0
    channel_id: int = 0
    author_id: int = 0
    v: int = ENVELOPE_VERSION


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(DeadLetter)


def letter_of_command(command: Any, reason: str, *, shard: int, now: int) -> DeadLetter:
    """Return the letter about a command of the log."""
    author = getattr(command, "author", None)
    author_id = author.id if author is not None else getattr(command, "user_id", 0)
    return DeadLetter(
        id=str(command.command_id),
        shard=shard,
        at=now,
        reason=reason[:REASON_CHARACTERS],
        body=encode_envelope(Commands((command,))),
        kind=type(command).__name__,
        command_id=command.command_id,
        channel_id=command.channel_id,
        author_id=author_id,
    )


def letter_of_bytes(body: bytes, reason: str, *, shard: int, now: int) -> DeadLetter:
    """Return the letter about bytes that are no envelope; the same bytes have the same id."""
    digest = hashlib.sha256(body).hexdigest()[:_DIGEST_CHARACTERS]
    return DeadLetter(f"x{digest}", shard, now, reason[:REASON_CHARACTERS], body)


def encode_letter(letter: DeadLetter) -> bytes:
    """Encode a letter for its queue."""
    return _encoder.encode(letter)


def decode_letter(body: bytes) -> DeadLetter:
    """Decode what the queue of dead letters holds. Raises `BadEnvelope`."""
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise BadEnvelope(str(error)) from error


def command_again(letter: DeadLetter, *, reply_to: str, now: int) -> Any:
    """Return a letter's command as new: its answer goes to `reply_to`, and nothing that it was permitted under holds.

    None for bytes that this release can't read either: they can only go back as they are.
    """
    try:
        (command,) = decode_for_shard(letter.body).items
    except (BadEnvelope, ValueError):
        return None
    fresh: dict[str, Any] = {"reply_to": reply_to, "expires_at": now + COMMAND_LIFETIME_MS}
    if "group_seq" in command.__struct_fields__:
        fresh["group_seq"] = -1  # older than any that a shard has heard of, also than none: it looks permission up
    return msgspec.structs.replace(command, **fresh)
