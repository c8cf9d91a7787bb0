"""What can be done wrong in a history: each takes a correct story and returns one in which a promise is broken.

Core, for the tests of the judge. The stories are those of `invented`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from tests.chaos.history import (
    Acked,
    Bears,
    Began,
    Changed,
    Changing,
    Event,
    FaultBegan,
    FaultEnded,
    Heard,
    Invalid,
    KeptOut,
    LoggedOut,
    Looked,
    Looking,
    Lost,
    Measured,
    Paged,
    Record,
    Refused,
    Removed,
    Resumed,
    Seen,
    Settled,
)
from tests.chaos.invented import CHANNEL, Story


def _places(story: Story, kind: type[Record]) -> list[int]:
    return [place for place, record in enumerate(story) if isinstance(record, kind)]


def _created(story: Story) -> list[int]:
    return [place for place in _places(story, Event) if getattr(story[place], "t", None) == "MESSAGE_CREATE"]


def _replaced(story: Story, place: int, **values: object) -> Story:
    return [*story[:place], msgspec.structs.replace(story[place], **values), *story[place + 1 :]]


def _without(story: Story, places: set[int]) -> Story:
    return [record for place, record in enumerate(story) if place not in places]


def lose_acknowledged(story: Story) -> Story:
    """Lose the last message, which was acknowledged."""
    last = story[_created(story)[-1]]
    gone = {
        place
        for place, one in enumerate(story)
        if isinstance(one, Event | Paged | Heard) and getattr(one, "seq", 0) == getattr(last, "seq", 0)
    }
    return _without(story, gone)


def forget_edit(story: Story) -> Story:
    """Answer an edit as done and keep the old content."""
    place = next(one for one in reversed(_created(story)))
    event = story[place]
    assert isinstance(event, Event)
    settled = _places(story, Settled)[0]
    changes: Story = [
        Changing(event.at, event.author, CHANNEL, event.id, "new"),
        Changed(event.at, event.author, CHANNEL, event.id, "new"),
    ]
    return [*story[:settled], *changes, *story[settled:]]


def swap_ids(story: Story) -> Story:
    """Give two neighbours each other's ids."""
    one, other = _created(story)[-2:]
    first, second = story[one], story[other]
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    return _replaced(_replaced(story, one, id=second.id), other, id=first.id)


def leave_hole(story: Story) -> Story:
    """Leave a hole in the middle of the seqs."""
    return _without(story, {_places(story, Event)[-2]})


def disorder_page(story: Story) -> Story:
    """Show two messages the other way round in one reading of the pages."""
    one, other = _places(story, Paged)[-2:]
    return [*story[:one], story[other], story[one], *story[other + 1 :]]


def ack_otherwise(story: Story) -> Story:
    """Acknowledge the same nonce once more, as another message."""
    place = _places(story, Acked)[-1]
    ack = story[place]
    assert isinstance(ack, Acked)
    return [*story[: place + 1], msgspec.structs.replace(ack, id=ack.id + 1, seq=ack.seq + 1), *story[place + 1 :]]


def store_twice(story: Story) -> Story:
    """Let a nonce stand for two messages."""
    one, other = _created(story)[-2:]
    first = story[one]
    assert isinstance(first, Event)
    return _replaced(story, other, nonce=first.nonce)


def miss_one(story: Story) -> Story:
    """Keep one event between two others from a session."""
    heard = [place for place in _places(story, Heard) if getattr(story[place], "session", None) == 0]
    return _without(story, {heard[-2]})


def miss_last(story: Story) -> Story:
    """Keep the last event from a session."""
    heard = [place for place in _places(story, Heard) if getattr(story[place], "session", None) == 0]
    return _without(story, {heard[-1]})


def tell_twice(story: Story) -> Story:
    """Tell a session an event twice, while it is connected: after a loss that may be excepted."""
    lost: set[int] = set()
    connected: list[int] = []
    for place, one in enumerate(story):
        if isinstance(one, Lost):
            lost.add(one.session)
        elif isinstance(one, Resumed | Began):
            lost.discard(one.session)
        elif isinstance(one, Heard) and one.session not in lost:
            connected.append(place)
    place = connected[-1]
    return [*story[: place + 1], story[place], *story[place + 1 :]]


def tell_disordered(story: Story) -> Story:
    """Tell a session two events the other way round."""
    one, other = [place for place in _places(story, Heard) if getattr(story[place], "session", None) == 1][-2:]
    return [*story[:one], story[other], *story[one + 1 : other], story[one], *story[other + 1 :]]


def invalidate(story: Story) -> Story:
    """Tell a session that it can't go on, without an excuse."""
    settled = _places(story, Settled)[0]
    return [*story[:settled], Invalid(0.0, 0), *story[settled:]]


def stay_away(story: Story) -> Story:
    """Let a session never come back."""
    settled = _places(story, Settled)[0]
    return [*story[:settled], Lost(0.0, 1), *story[settled:]]


def show_ghost(story: Story) -> Story:
    """Tell a session what was never stored."""
    place = _places(story, Heard)[-1]
    heard = story[place]
    assert isinstance(heard, Heard)
    return _replaced(story, place, id=heard.id + 1)


def grow(story: Story) -> Story:
    """Let something grow above its bound."""
    return _replaced(story, _places(story, Measured)[0], value=101.0)


def tell_removed(story: Story) -> Story:
    """Tell who is out what was sent after that was answered."""
    removed = next(one for one in story if isinstance(one, Removed))
    began = next(one for one in story if isinstance(one, Began) and one.who == removed.who)
    place = _places(story, Heard)[-1]
    heard = story[place]
    assert isinstance(heard, Heard)
    return [*story[: place + 1], msgspec.structs.replace(heard, session=began.session), *story[place + 1 :]]


def hear_removed(story: Story) -> Story:
    """Acknowledge what somebody sends who is out."""
    place = _places(story, Refused)[-1]
    refusal = story[place]
    assert isinstance(refusal, Refused)
    ack = Acked(refusal.at, refusal.who, CHANNEL, refusal.nonce, 10**6, 10**6)
    return [*story[: place + 1], ack, *story[place + 1 :]]


def show_removed(story: Story) -> Story:
    """Show a page to who is out."""
    place = _places(story, Removed)[-1]
    removed = story[place]
    assert isinstance(removed, Removed)
    looks: Story = [Looking(0.0, 999, removed.who, CHANNEL), Looked(0.0, 999, ())]
    return [*story[: place + 1], *looks, *story[place + 1 :]]


def tell_removed_of_an_edit(story: Story) -> Story:
    """Tell who is out of an edit that was asked for after that was answered."""
    removed = next(one for one in story if isinstance(one, Removed))
    began = next(one for one in story if isinstance(one, Began) and one.who == removed.who)
    edit: Story = [Changing(0.0, 0, CHANNEL, 1, "new"), Heard(0.0, began.session, 0, CHANNEL, 1, "MESSAGE_UPDATE", 1)]
    told = [msgspec.structs.replace(edit[1], content="new")]
    place = story.index(removed)
    return [*story[: place + 1], edit[0], *told, *story[place + 1 :]]


def let_in(story: Story) -> Story:
    """Never refuse a revoked token at one of the doors."""
    return _without(story, {_places(story, KeptOut)[1]})


def refuse_late(story: Story) -> Story:
    """Let a session go on for long after its token was revoked, while nothing else is wrong."""
    quiet: Story = [one for one in story if not isinstance(one, FaultBegan | FaultEnded)]
    place = _places(quiet, KeptOut)[0]
    return _replaced(quiet, place, at=quiet[place].at + 9.0)


def begin_revoked(story: Story) -> Story:
    """Begin a session with a token that was revoked."""
    place = _places(story, LoggedOut)[0]
    return [
        *story[: place + 1],
        Began(0.0, 997, getattr(story[place], "who", 0), True, "gateway-1"),
        *story[place + 1 :],
    ]


def forget_mark(story: Story) -> Story:
    """Show nothing of a reaction, or a pin, that was answered as done, in one reading."""
    return _without(story, {_places(story, Bears)[-1]})


def show_mark(story: Story) -> Story:
    """Show one reaction more than there are."""
    place = _places(story, Bears)[-1]
    return _replaced(story, place, count=getattr(story[place], "count", 0) + 1)


def never_tell_of_group(story: Story) -> Story:
    """Begin a session without a word of the group that its user is in."""
    gone = {place for place in _places(story, Seen) if getattr(story[place], "session", None) == 0}
    heard = {place for place in _places(story, Heard) if getattr(story[place], "session", None) == 0}
    return _without(story, gone | heard)


def show_no_page(story: Story) -> Story:
    """Show nothing at all in one reading of the pages."""
    return _without(story, {place for place in _places(story, Paged) if getattr(story[place], "reading", 0) == 2})


def hide_acknowledged(story: Story) -> Story:
    """Leave a message out of a page that was asked for after its ack."""
    settled = _places(story, Settled)[0]
    looks: Story = [Looking(0.0, 998, 0, CHANNEL), Looked(0.0, 998, ())]
    return [*story[:settled], *looks, *story[settled:]]


WRONGS: Final[dict[Callable[[Story], Story], int]] = {
    lose_acknowledged: 1,
    forget_edit: 1,
    hide_acknowledged: 1,
    swap_ids: 2,
    leave_hole: 2,
    disorder_page: 2,
    ack_otherwise: 3,
    store_twice: 3,
    miss_one: 4,
    miss_last: 4,
    tell_twice: 4,
    tell_disordered: 4,
    invalidate: 4,
    stay_away: 4,
    show_ghost: 5,
    grow: 6,
    tell_removed: 7,
    hear_removed: 7,
    show_removed: 7,
    tell_removed_of_an_edit: 7,
    let_in: 7,
    refuse_late: 7,
    begin_revoked: 7,
    forget_mark: 1,
    show_mark: 5,
    never_tell_of_group: 4,
    show_no_page: 2,
}
"""What can be done wrong, and which promise it breaks."""
