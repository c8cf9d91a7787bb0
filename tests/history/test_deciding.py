"""What the system tells and deletes: permitted to nobody in particular, and nothing where there is nothing."""

from __future__ import annotations

import pytest

from services.history.core.deciding import Facts, Standing, Verdict, draft_of
from shared.core.commands import PurgeMessages
from shared.core.errors import MissingAccess
from shared.core.group_errors import UnknownChannel
from shared.core.message_events import MessageCreated, MessagesDeleted, Target
from shared.core.model import Member, User
from shared.core.sending import JOIN_NOTICE, join_notice_of

ANN = User(1, "ann")
NOTICE = join_notice_of(9, Member(5, ANN, 0), 7, command_id=3, reply_to="n", expires_at=1)


def test_a_notice_is_told_whoever_it_tells_of() -> None:
    """Who has joined and left at once is told of all the same; so is who may not write there."""
    for verdict in (None, Verdict(0, MissingAccess.__name__)):
        draft = draft_of(NOTICE, Facts(), verdict, 0)
        assert draft is not None
        assert draft.body == MessageCreated(ANN, "", kind=JOIN_NOTICE)
        assert draft.command_id == 3


def test_a_deleted_channel_is_told_nothing() -> None:
    """Nothing is stored behind a channel's end, not even what the system would tell there."""
    with pytest.raises(UnknownChannel):
        draft_of(NOTICE, Facts(), Verdict(0, UnknownChannel.__name__), 0)


def test_a_purge_deletes_what_its_author_wrote_and_nothing_else() -> None:
    """Whatever ids it names, as who asked for it; where nothing of the author's is left there is no event."""
    bob, facts = User(2, "bob"), Facts()
    for number, author in ((5, ANN), (6, bob), (7, ANN)):
        facts.messages[number] = Standing(
            Target(number, number, number, author.id, 1, 0), 0, MessageCreated(author, "x")
        )
    purge = PurgeMessages(3, 9, "n", 1, by=8, author_id=ANN.id, message_ids=(5, 6, 7, 99))
    draft = draft_of(purge, facts, None, 0)
    assert draft is not None
    assert draft.body == MessagesDeleted((facts.messages[7].target, facts.messages[5].target), 8)
    facts.take_in(draft.body)
    assert [*facts.messages] == [6]
    assert draft_of(purge, facts, None, 0) is None
