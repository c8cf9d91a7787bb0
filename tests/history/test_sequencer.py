"""The sequencer's rules one by one; their interplay is held by test_stream_model.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.history.core import shard
from services.history.core.deciding import Verdict
from services.history.core.pulse import SILENCE_MS
from services.history.core.sequencer import ATTEMPTS
from shared.core.commands import COMMAND_LIFETIME_MS
from shared.core.ids import IdSource
from shared.core.stream import CHANNEL_LIMITS, Limits, channel_stream, group_stream
from shared.core.writing import DEDUPE_MS, Commit, Publish, RaiseHeads, ReadHead, Together
from tests.history.bench import CHANNEL, NOW, Bench, command

LOOK_UP = Together((ReadHead(group_stream(9)),))


def test_stored_then_head_then_published() -> None:
    """The order of steps is the design's: nothing is published before it is stored and the head tells of it."""
    bench = Bench()
    settled = bench.settle(command(1), command(2))
    assert settled is not None
    assert [type(effect) for effect in bench.effects[-3:]] == [Commit, RaiseHeads, Publish]
    assert [settled.replies[index].seq for index in (0, 1)] == [1, 2]
    assert [event.record.seq for event in bench.published] == [1, 2]


def test_what_was_never_published_goes_out_however_old_it_is() -> None:
    """A crash between commit and publish, over several buckets and long ago: the next batch publishes all of it."""
    bench = Bench(Limits(messages=2, window_ms=CHANNEL_LIMITS.window_ms))
    bench.settle(*(command(number) for number in range(1, 8)), stop_at=RaiseHeads)
    assert bench.published == []
    later = NOW + DEDUPE_MS + 1
    bench.settle(command(99, now=later), now=later)
    assert [event.record.seq for event in bench.published] == list(range(1, 9))


def test_a_bucket_that_was_begun_under_higher_limits_is_sealed_by_the_next_message() -> None:
    """The release before had longer buckets: what it left goes on, and no message waits for room that never comes."""
    bench = Bench(Limits(messages=5, window_ms=CHANNEL_LIMITS.window_ms))
    bench.settle(*(command(number) for number in range(1, 5)))
    bench.shard.limits = Limits(messages=2, window_ms=CHANNEL_LIMITS.window_ms)
    settled = bench.settle(*(command(number) for number in range(5, 9)))
    assert settled is not None
    assert [settled.replies[index].seq for index in range(4)] == [5, 6, 7, 8]
    first = asyncio.run(bench.store.read_bucket(channel_stream(CHANNEL), 1))
    assert first is not None
    assert (first.next_seq, first.sealed) == (6, True)


def test_a_repeat_is_recognised_across_buckets_by_a_fresh_worker() -> None:
    """Within ten minutes a nonce gives the first message, also after the worker and many buckets have changed."""
    bench = Bench(Limits(messages=2, window_ms=CHANNEL_LIMITS.window_ms))
    first = bench.settle(command(1, nonce="n"))
    bench.settle(*(command(number) for number in range(2, 9)))
    bench.shard.forget()
    bench.published.clear()
    again = bench.settle(command(50, nonce="n"), now=NOW + 50_000)
    assert first is not None
    assert again is not None
    assert (again.replies[0].seq, again.replies[0].id) == (first.replies[0].seq, first.replies[0].id)
    assert bench.published[0].record.seq == 1, "its event is published again"


def test_after_ten_minutes_a_nonce_is_free_again() -> None:
    """The promise is ten minutes: then the same nonce is another message."""
    bench = Bench()
    bench.settle(command(1, nonce="n"))
    later = NOW + DEDUPE_MS
    again = bench.settle(command(2, now=later, nonce="n"), now=later)
    assert again is not None
    assert again.replies[0].seq == 2


def test_a_nonce_that_is_not_enforced_is_only_shown() -> None:
    """REST without `enforce_nonce`: each send is a message of its own."""
    bench = Bench()
    settled = bench.settle(command(1, nonce="n", enforce_nonce=False), command(2, nonce="n", enforce_nonce=False))
    assert settled is not None
    assert [settled.replies[index].seq for index in (0, 1)] == [1, 2]


def test_a_lost_commit_is_tried_anew_in_the_same_batch() -> None:
    """The worker drops what it knew of that channel, reads anew and stores; the sender notices nothing."""
    bench = Bench()
    losses = iter((True,))
    bench.fail = lambda stream: next(losses, False)
    settled = bench.settle(command(1))
    assert settled is not None
    assert settled.replies[0].seq == 1


def test_a_channel_that_keeps_losing_is_given_back_and_others_go_on() -> None:
    """After a few tries the shard is given back; the other channels of the bulk are settled."""
    bench = Bench()
    bench.fail = lambda stream: stream == channel_stream(CHANNEL)
    settled = bench.settle(command(1), command(2, channel_id=12))
    assert settled is not None
    assert settled.given_back == (0,)
    assert settled.replies[1].seq == 1
    assert sum(isinstance(effect, Commit) for effect in bench.effects) == ATTEMPTS


def test_an_expired_command_is_refused_and_not_stored() -> None:
    """What was not stored in time never will be; the refusal says that it may be tried again."""
    bench = Bench()
    settled = bench.settle(command(1), now=NOW + COMMAND_LIFETIME_MS)
    assert settled is not None
    assert settled.replies[0].error == "CommandExpired"
    assert bench.published == []


def test_what_expires_while_its_batch_waits_is_not_stored() -> None:
    """A commit that was lost after a long time is not tried anew too late, nor stored after a long wait for groups."""
    bench = Bench()
    bench.waits_ms = COMMAND_LIFETIME_MS
    losses = iter((True,))
    bench.fail = lambda stream: next(losses, False)
    late = bench.settle(command(1))
    bench.shard.note_group_seq(9, 6)
    doubtful = bench.settle(command(2))
    assert late is not None
    assert doubtful is not None
    assert late.replies[0].error == doubtful.replies[0].error == "CommandExpired"
    assert bench.published == []


def test_permission_is_looked_at_again_when_facts_moved_on() -> None:
    """A command permitted under older facts than the worker has heard of is refused if today says no."""
    bench = Bench()
    bench.shard.note_group_seq(9, 6)
    bench.verdict = Verdict(0, "MissingAccess")
    refused = bench.settle(command(1), command(2, group_seq=6))
    assert refused is not None
    assert refused.replies[0].error == "MissingAccess"
    assert refused.replies[1].seq == 1


def test_permission_is_looked_at_again_in_silence() -> None:
    """While nothing was heard of invalidations for two seconds, a group is taken to be as its head tells."""
    bench = Bench()
    bench.verdict = Verdict(0, "MissingAccess")
    bench.move_group(6)
    bench.silent_ms = 2_000
    trusted = bench.settle(command(1))
    bench.silent_ms = 2_001
    doubted = bench.settle(command(2), command(3, group_seq=6))
    assert trusted is not None
    assert doubted is not None
    assert trusted.replies[0].seq == 1
    assert (doubted.replies[0].error, doubted.replies[1].seq) == ("MissingAccess", 2)


def test_in_doubt_a_group_is_looked_up_once() -> None:
    """After a gap one look at each group's head is enough, until the next gap or until nobody listens any more."""
    bench = Bench()

    def look_ups(number: int) -> int:
        assert bench.settle(command(number)) is not None
        return bench.effects.count(LOOK_UP)

    assert look_ups(1) == 0
    for number in (2, 4):
        bench.shard.begin_doubt(NOW)
        assert [look_ups(number), look_ups(number + 1)] == [1, 0]
    bench.silent_ms = SILENCE_MS + 1
    assert [look_ups(6), look_ups(7)] == [1, 1]


def test_a_gap_while_a_group_is_looked_up() -> None:
    """What was read before the gap may be out of date: the group is looked up again."""
    bench = Bench()
    bench.shard.begin_doubt(NOW)
    gaps = iter((True,))

    def lose(effect: Any) -> None:
        if effect == LOOK_UP and next(gaps, False):
            bench.shard.begin_doubt(NOW)

    bench.meanwhile = lose
    bench.settle(command(1))
    bench.move_group(6)
    bench.verdict = Verdict(0, "MissingAccess")
    refused = bench.settle(command(2))
    assert refused is not None
    assert refused.replies[0].error == "MissingAccess"


def test_a_group_forgotten_for_room_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is sure of a group whose seq is not kept any more."""
    monkeypatch.setattr(shard, "MAX_CHANNELS", 1)
    bench = Bench()
    bench.shard.begin_doubt(NOW)
    bench.move_group(5)
    bench.settle(command(1))
    assert bench.shard.unsure_of([9], NOW) == ()
    bench.shard.note_group_seq(10, 1)
    assert bench.shard.unsure_of([9], NOW) == (9,)


def test_the_groups_of_a_batch_are_the_last_to_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up one group pushes out another than those that are looked up with it, though they were known before."""
    monkeypatch.setattr(shard, "MAX_CHANNELS", 2)
    bench = Bench()
    bench.move_group(5)
    bench.shard.note_group_seq(9, 5)
    bench.shard.note_group_seq(10, 1)
    bench.shard.begin_doubt(NOW)
    bench.settle(command(1))
    bench.shard.note_group_seq(11, 1)
    assert bench.shard.group_seqs == {9: 5, 11: 1}


def test_a_refused_nonce_stays_refused_while_an_earlier_attempt_may_come() -> None:
    """A gateway's refusal has the shard's word: an attempt that comes after it is refused too (rule 10)."""
    bench = Bench()
    first = bench.settle(command(1, nonce="n", refusal="MissingPermissions"))
    second = bench.settle(command(2, nonce="n"))
    later = NOW + COMMAND_LIFETIME_MS
    third = bench.settle(command(3, now=later, nonce="n"), now=later)
    assert first is not None
    assert second is not None
    assert third is not None
    assert [one.replies[0].error for one in (first, second, third)] == ["MissingPermissions"] * 2 + [""]


def test_a_refusal_of_a_stored_nonce_is_the_ack() -> None:
    """The nonce is stored already: whatever a gateway thinks, the sender gets the message."""
    bench = Bench()
    bench.settle(command(1, nonce="n"))
    settled = bench.settle(command(2, nonce="n", refusal="MissingPermissions"))
    assert settled is not None
    assert (settled.replies[0].error, settled.replies[0].seq) == ("", 1)


def test_ids_go_on_behind_a_clock_that_ran_ahead() -> None:
    """The next id is above the last of the channel, whatever this worker's clock says."""
    bench = Bench()
    bench.settle(command(1, now=NOW + 5_000), now=NOW + 5_000)
    bench.ids = IdSource(2)
    settled = bench.settle(command(2))
    assert settled is not None
    first, second = (event.record.id for event in bench.published)
    assert second > first
