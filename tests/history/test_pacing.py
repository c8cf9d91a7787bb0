"""Slow mode: who wrote lately waits, by what is stored, on whatever worker; others do not."""

from __future__ import annotations

from services.history.core.deciding import Verdict
from shared.core.commands import AnyCommand
from shared.core.model import Channel, ChannelType, User
from shared.core.permissions import ALL, DEFAULT, Permission
from shared.core.sending import place_of
from shared.core.stream import CHANNEL_LIMITS, Limits
from tests.history.bench import NOW, Bench, command

BEN = User(31, "ben")
SLOW_S = 3600


def errors_of(bench: Bench, *commands: AnyCommand, now: int = NOW) -> list[str]:
    """Settle a batch; return the error of each reply."""
    settled = bench.settle(*commands, now=now)
    assert settled is not None
    return [settled.replies[index].error for index in range(len(commands))]


def test_a_second_message_waits_for_the_pause() -> None:
    """Within the pause it is refused with how long to wait, in the same batch, too; then the same nonce is stored."""
    bench = Bench()
    batch = [command(number, slow_s=SLOW_S, nonce=f"n{number}") for number in (1, 2)]
    settled = bench.settle(*batch)
    assert settled is not None
    assert settled.replies[0].seq == 1
    assert (settled.replies[1].error, settled.replies[1].retry_after) == ("SlowMode", SLOW_S)
    soon = NOW + 600_000
    settled = bench.settle(command(3, now=soon, slow_s=SLOW_S, nonce="n2"), now=soon)
    assert settled is not None
    assert (settled.replies[0].error, settled.replies[0].retry_after) == ("SlowMode", SLOW_S - 600)
    later = NOW + SLOW_S * 1000
    assert errors_of(bench, command(4, now=later, slow_s=SLOW_S, nonce="n2"), now=later) == [""]


def test_others_do_not_wait() -> None:
    """The pause is each author's own, and who is free of slow mode writes on; a repeat is told what is stored."""
    bench = Bench()
    assert errors_of(bench, command(1, slow_s=SLOW_S, nonce="n"), command(2, slow_s=SLOW_S, author=BEN)) == ["", ""]
    assert errors_of(bench, command(3), command(4, slow_s=SLOW_S, nonce="n")) == ["", ""]
    assert errors_of(bench, command(5, slow_s=SLOW_S, author=BEN)) == ["SlowMode"]


def test_slow_mode_that_was_turned_on_meanwhile_counts() -> None:
    """A send that its node knew no pause for waits by what is looked up again, for what was written before, too."""
    bench = Bench()
    assert errors_of(bench, command(1)) == [""]
    bench.shard.note_group_seq(9, 6)
    bench.verdict = Verdict(ALL, slow_s=SLOW_S)
    assert errors_of(bench, command(2), command(3, author=BEN)) == ["SlowMode", ""]


def test_a_fresh_worker_knows_who_wrote() -> None:
    """Who wrote within the pause is read from the stream, over many buckets, longer ago than nonces are kept."""
    bench = Bench(Limits(messages=2, window_ms=CHANNEL_LIMITS.window_ms))
    assert errors_of(bench, command(1)) == [""]
    for number in range(2, 12):
        assert errors_of(bench, command(number, author=BEN)) == [""]
    later = NOW + 1_800_000
    bench.shard.forget()
    assert errors_of(bench, command(50, now=later, slow_s=SLOW_S), now=later) == ["SlowMode"]
    bench.shard.forget()
    after = NOW + SLOW_S * 1000
    assert errors_of(bench, command(51, now=after, slow_s=SLOW_S), now=after) == [""]


def test_who_is_free_of_slow_mode() -> None:
    """Whoever manages messages or channels, or may pass by slow mode, writes without a pause."""
    channel = Channel(7, ChannelType.TEXT, "slow", 9, slow_s=SLOW_S)
    assert place_of(channel, 1, DEFAULT).slow_s == SLOW_S
    for one in (Permission.MANAGE_MESSAGES, Permission.MANAGE_CHANNELS, Permission.BYPASS_SLOWMODE):
        assert place_of(channel, 1, DEFAULT | one).slow_s == 0
