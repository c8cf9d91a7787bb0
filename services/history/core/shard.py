"""A shard as its worker knows it: channels, refusals, and how far groups' facts have moved.

Ring 1 (core). All of it may be dropped at any time; what is stored decides. Read `sequencer` next: who uses it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from services.history.core.pacing import Pace
from services.history.core.pulse import SILENCE_MS
from shared.core.commands import COMMAND_LIFETIME_MS, Reply, SendMessage
from shared.core.stream import CHANNEL_LIMITS, Limits
from shared.core.writing import Knowledge

MAX_CHANNELS: Final = 20_000
"""Most channels that a shard's worker keeps knowledge of; the ones not touched for longest go first."""
MAX_REFUSALS: Final = 10_000
"""Most refusals remembered by nonce; the oldest go first."""


class Doubt:
    """A time in which changes of groups may have been missed, up to `until` (Unix ms).

    `sure_of`: groups that were read since it began. What changes them after that is heard, or a new doubt begins.
    """

    def __init__(self, until: int = 0) -> None:
        self.until = until
        self.sure_of: set[int] = set()


class Shard:
    """What a worker knows of the channels of its shard. `forget()` whenever a batch broke off."""

    def __init__(self, limits: Limits = CHANNEL_LIMITS) -> None:
        self.limits = limits
        self.known: dict[str, Knowledge] = {}
        self.refusals: dict[tuple[str, int, str], tuple[int, Reply]] = {}
        self.paces: dict[str, Pace] = {}
        """Of channels with slow mode."""
        self.group_seqs: dict[int, int] = {}
        self.doubt = Doubt()
        self.heard_at = 0
        """When invalidations, or the sign of life that stands for none, were last heard (Unix ms)."""

    def begin_doubt(self, now: int) -> None:
        """From now (Unix ms) until all that was permitted has expired, no group is taken to be as it was heard of."""
        self.doubt = Doubt(now + COMMAND_LIFETIME_MS)

    def is_in_doubt(self, now: int) -> bool:
        """Whether changes of groups may have been missed, so that groups are looked up."""
        return now < self.doubt.until or self._is_silent(now)

    def unsure_of(self, group_ids: Collection[int], now: int) -> tuple[int, ...]:
        """Return which of these groups may have changed without this shard's having heard of it."""
        if self._is_silent(now):
            return tuple(group_ids)
        if now < self.doubt.until:
            return tuple(group_id for group_id in group_ids if group_id not in self.doubt.sure_of)
        return ()

    def _is_silent(self, now: int) -> bool:
        return now - self.heard_at > SILENCE_MS

    def forget(self) -> None:
        """Drop all knowledge of channels. Refusals and groups' seqs stay true."""
        self.known.clear()
        self.paces.clear()

    def note_group_seq(self, group_id: int, seq: int) -> None:
        """Take in that a group has changed: sends permitted under older facts are looked at again."""
        if seq and seq >= self.group_seqs.get(group_id, 0):  # the same again makes it the last to be dropped
            self.group_seqs.pop(group_id, None)
            self.group_seqs[group_id] = seq
            if len(self.group_seqs) > MAX_CHANNELS:
                oldest = next(iter(self.group_seqs))
                del self.group_seqs[oldest]
                self.doubt.sure_of.discard(oldest)

    def remember_refusal(self, stream: str, command: SendMessage, reply: Reply, now: int) -> None:
        """Refuse this nonce alike while an earlier attempt of it can still be unexpired (rule 10)."""
        if command.nonce and command.enforce_nonce:
            self.refusals[stream, command.author.id, command.nonce] = (now + COMMAND_LIFETIME_MS, reply)
        while self.refusals:
            oldest = next(iter(self.refusals))
            if self.refusals[oldest][0] > now and len(self.refusals) <= MAX_REFUSALS:
                break
            del self.refusals[oldest]

    def refused_before(self, stream: str, command: SendMessage, now: int) -> Reply | None:
        """Return the remembered refusal of this author's nonce."""
        if not self.refusals or not command.enforce_nonce:
            return None
        until, reply = self.refusals.get((stream, command.author.id, command.nonce), (0, None))
        return reply if until > now else None

    def trim(self) -> None:
        """Keep to `MAX_CHANNELS`."""
        while len(self.known) > MAX_CHANNELS:
            del self.known[next(iter(self.known))]
        while len(self.paces) > MAX_CHANNELS:
            del self.paces[next(iter(self.paces))]
