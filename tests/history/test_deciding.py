"""What the system tells: permitted to nobody in particular, and told nowhere that is no channel any more."""

from __future__ import annotations

import pytest

from services.history.core.deciding import Facts, Verdict, draft_of
from shared.core.errors import MissingAccess
from shared.core.events import MessageCreated
from shared.core.group_errors import UnknownChannel
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
