"""Edits and deletions in the sequencer, rule by rule; their interplay is held by test_stream_model.py."""

from __future__ import annotations

from services.history.core.deciding import Verdict
from services.history.core.marks import PutMarks
from shared.core.ids import IdSource
from shared.core.message_events import MessageDeleted, MessageEdited, MessagesDeleted, MessageStub
from shared.core.permissions import ALL, DEFAULT, Permission
from shared.core.stream import CHANNEL_LIMITS, Limits
from shared.core.writing import (
    Amend,
    Commit,
    FindBucket,
    Publish,
    RaiseHeads,
    Together,
)
from tests.history.bench import BEN, NOW, Bench, command, contents, deletion, edit, sent


def test_a_change_is_stored_then_projected_then_told() -> None:
    """Commit, project, raise the head, publish: by the time of the answer, which says its own seq, it is done."""
    bench = Bench()
    first, _ = sent(bench, 1, 2)
    settled = bench.settle(edit(3, first))
    assert settled is not None
    assert [type(effect) for effect in bench.effects] == [Together, Commit, Amend, RaiseHeads, Publish]
    assert settled.replies[0].seq == 3
    body = bench.published[-1].record.body
    assert isinstance(body, MessageEdited)
    assert (body.target.id, body.target.seq, body.message.content, body.message.edited_at) == (first, 1, "better", NOW)
    assert contents(bench) == ["better", "message 2"]


def test_messages_alone_cost_no_more_than_before() -> None:
    """A batch of plain messages reads nothing once its channels are known, and projects nothing."""
    bench = Bench()
    sent(bench, 1)
    sent(bench, 2, 3)
    assert [type(effect) for effect in bench.effects] == [Commit, RaiseHeads, Publish]


def test_changes_of_one_batch_are_decided_one_after_the_other() -> None:
    """Each sees what those before it made of the messages, and all of a bucket's are projected by one update."""
    bench = Bench()
    first, second = sent(bench, 1, 2)
    settled = bench.settle(
        edit(3, first, "a"), edit(4, first, "b"), deletion(5, first), edit(6, first, "c"), edit(7, second, "d")
    )
    assert settled is not None
    assert [settled.replies[index].error for index in range(5)] == ["", "", "", "UnknownMessage", ""]
    (amend,) = [effect for effect in bench.effects if isinstance(effect, Amend)]
    (amendment,) = amend.amendments
    assert amendment.seq == 6
    assert contents(bench) == [None, "d"]


def test_what_is_cut_off_by_a_full_bucket_is_decided_anew() -> None:
    """A write that fills its bucket takes a part of the batch; the rest is decided on what was stored, not on more."""
    bench = Bench(Limits(messages=3, changes=2, window_ms=CHANNEL_LIMITS.window_ms))
    (first,) = sent(bench, 1)
    settled = bench.settle(edit(2, first, "a"), edit(3, first, "b"), deletion(4, first), edit(5, first))
    assert settled is not None
    assert [settled.replies[index].seq for index in range(4)] == [2, 3, 4, 0]
    assert settled.replies[3].error == "UnknownMessage"
    assert contents(bench) == [None]


def test_who_may_change_what() -> None:
    """The author may edit and delete; who may manage messages may delete; nobody edits what another wrote."""
    bench = Bench()
    first, second, third = sent(bench, 1, 2, 3)
    for asked, error in (
        (edit(10, first, user_id=BEN.id, permissions=ALL), "CannotEditOthers"),
        (deletion(11, first, user_id=BEN.id), "MissingPermissions"),
        (deletion(12, first, second, user_id=BEN.id), "MissingPermissions"),
        (deletion(13, first, second), "MissingPermissions"),
        (edit(14, first, permissions=0), "MissingAccess"),
        (edit(15, first - 1), "UnknownMessage"),
        (edit(16, third << 1), "UnknownMessage"),
        (deletion(17, first, user_id=BEN.id, permissions=DEFAULT | Permission.MANAGE_MESSAGES), ""),
        (deletion(18, first), "UnknownMessage"),
        (deletion(19, first, second, third, third << 1, permissions=ALL), ""),
        (deletion(20, first, second, permissions=ALL), ""),
    ):
        settled = bench.settle(asked)
        assert settled is not None
        assert settled.replies[0].error == error, asked
    assert contents(bench) == [None] * 3
    assert settled is not None
    assert settled.replies[0].seq == 0, "there was nothing to delete"
    assert isinstance(body := bench.published[-1].record.body, MessagesDeleted)
    assert [target.id for target in body.targets] == [third, second]


def test_a_change_is_looked_at_again_when_facts_moved_on() -> None:
    """What a moderator was allowed to do under older facts is refused if today says no, and the other way round."""
    bench = Bench()
    first, second = sent(bench, 1, 2)
    bench.shard.note_group_seq(9, 6)
    bench.verdict = Verdict(DEFAULT)
    refused = bench.settle(deletion(3, first, second, permissions=ALL))
    bench.verdict = Verdict(0, "UnknownChannel")
    unknown = bench.settle(deletion(4, first))
    bench.verdict = Verdict(ALL)
    allowed = bench.settle(deletion(5, first, user_id=BEN.id))
    for settled, error in ((refused, "MissingPermissions"), (unknown, "UnknownChannel"), (allowed, "")):
        assert settled is not None
        assert settled.replies[0].error == error


def test_a_repeated_change_is_not_done_again() -> None:
    """A redelivered command is recognised by a fresh worker: answered and published as before."""
    bench = Bench()
    (first,) = sent(bench, 1)
    once = bench.settle(edit(2, first, "a"))
    bench.settle(edit(3, first, "b"), deletion(4, first))
    bench.shard.forget()
    bench.published.clear()
    again = bench.settle(edit(2, first, "a"), deletion(4, first), command(1))
    assert once is not None
    assert again is not None
    assert [again.replies[index].seq for index in range(3)] == [once.replies[0].seq, 4, 1]
    told = {event.record.seq: type(event.record.body) for event in bench.published}
    assert told == {1: MessageStub, 2: MessageEdited, 3: MessageEdited, 4: MessageDeleted}
    assert contents(bench) == [None]


def test_what_a_dead_worker_did_not_project_its_successor_projects_first() -> None:
    """Between commit and projection a worker dies: the next decides on complete messages, and tells all of it."""
    bench = Bench()
    (first,) = sent(bench, 1)
    assert bench.settle(deletion(2, first), stop_at=Amend) is None
    assert contents(bench) == ["message 1"]
    settled = bench.settle(edit(3, first))
    assert settled is not None
    assert settled.replies[0].error == "UnknownMessage"
    assert contents(bench) == [None]
    assert isinstance(bench.published[-1].record.body, MessageDeleted)


def test_a_change_that_lost_its_commit_is_decided_anew() -> None:
    """A rival deleted the message meanwhile: the edit that was lost to it finds no message any more."""
    bench, rival = Bench(), Bench()
    rival.store = bench.store
    (first,) = sent(bench, 1)
    rival.settle(deletion(2, first))
    settled = bench.settle(edit(3, first))
    assert settled is not None
    assert settled.replies[0].error == "UnknownMessage"
    assert contents(bench) == [None]


def test_messages_are_found_in_whichever_bucket_they_stand() -> None:
    """A deletion of many reads each bucket once, the newest first."""
    bench = Bench(Limits(messages=2, window_ms=CHANNEL_LIMITS.window_ms))
    ids = sent(bench, *range(1, 8))
    settled = bench.settle(deletion(20, *ids[1:6], permissions=ALL))
    assert settled is not None
    done = [one for effect in bench.effects if isinstance(effect, Together) for one in effect.effects]
    assert [type(one) for one in done] == [FindBucket] * 3 + [Amend, PutMarks]
    amend = done[3]
    assert sorted(amendment.first_seq for amendment in amend.amendments) == [1, 3, 5]
    assert contents(bench) == ["message 1", None]


def test_who_knows_of_no_message_yet_learns_of_a_rivals() -> None:
    """A worker that knew the channel empty, or shorter, changes what a rival wrote meanwhile, and refuses nothing."""
    bench, rival = Bench(), Bench()
    rival.store = bench.store
    rival.ids = IdSource(2)
    bench.settle(edit(1, 5))
    (first,) = sent(rival, 2)
    settled = bench.settle(edit(3, first))
    assert settled is not None
    assert (settled.replies[0].error, settled.replies[0].seq) == ("", 2)
    (second,) = sent(rival, 4)
    settled = bench.settle(edit(5, second))
    assert settled is not None
    assert (settled.replies[0].error, settled.replies[0].seq) == ("", 4)
