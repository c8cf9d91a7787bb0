"""The account finds every fault: perfect talks of any kind are good, and one invented fault makes exactly its count."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.replay.account import Account, Paged, Verdict

MEMBERS = 4


@dataclass
class Heard:
    """A delivery to be told to the account, as a value that faults can change."""

    member: int
    number: int
    author: int
    content: str

    @property
    def id(self) -> int:
        """The id that the ack told too."""
        return 1000 + self.number


@dataclass
class Talk:
    """A perfect run: members come and go and say things; everybody inside hears all."""

    actions: list[int]
    account: Account = field(init=False)
    heard: list[Heard] = field(default_factory=list)
    outside: list[tuple[int, Heard]] = field(default_factory=list)
    pages: list[Paged] = field(default_factory=list)
    inside: list[int] = field(init=False)

    def __post_init__(self) -> None:
        """Play: member 0 is always inside; an action lets a member come or go, or say something when it is >= 4."""
        said = 0
        self.account = Account(sum(action >= MEMBERS for action in self.actions))
        self.inside = inside = [0]
        self._join(0)
        for action in self.actions:
            member = action % MEMBERS
            if action >= MEMBERS:
                author = inside[member % len(inside)]
                said += 1
                self._say(author, said, inside)
            elif member and member in inside:
                inside.remove(member)
                self.account.leave_sent(member)
                self.account.leave_answered(member)
            elif member:
                inside.append(member)
                self._join(member)

    def _join(self, member: int) -> None:
        self.account.join_sent(member)
        self.account.join_answered(member)

    def _say(self, author: int, number: int, inside: list[int]) -> None:
        content = f"message {number}"
        self.account.sent(str(number), author, content, 0.0)
        self.account.acked(str(number), 1000 + number, number, 0.01)
        self.pages.append(Paged(1000 + number, number, author, content))
        for member in range(MEMBERS):
            one = Heard(member, number, author, content)
            if member in inside:
                self.heard.append(one)
            else:
                self.outside.append((len(self.heard), one))

    def verdict(self, *pages: list[Paged]) -> Verdict:
        """Tell the account what was heard and paged, and let it judge."""
        for one in self.heard:
            self.account.received(one.member, one.id, one.number, str(one.number), one.author, one.content, 0.02)
        for page in pages or (self.pages, self.pages):
            self.account.paged(page)
        return self.account.verdict(is_strict=True)


actions = st.lists(st.integers(0, 3 * MEMBERS - 1), max_size=30)
talks = st.builds(Talk, actions)
busy_talks = st.builds(lambda some: Talk([*some, 4, 1, 4, 5]), actions)
"""At least three messages, two of which somebody beside the first member may hear."""


def faults_of(verdict: Verdict) -> dict[str, int]:
    """Return the counts that must be 0 and are not."""
    names = ("unsent", "lost", "doubled", "unordered", "uninvited", "wrong", "unlike_log", "unlike_pages")
    return {name: count for name in names if (count := getattr(verdict, name))}


@given(talks)
def test_a_perfect_talk_is_good(talk: Talk) -> None:
    """Whoever comes and goes, a run without a fault has none in the account, and everything owed was heard."""
    verdict = talk.verdict()
    assert verdict.is_good
    assert faults_of(verdict) == {}
    assert verdict.deliveries == verdict.owed == len(talk.heard)
    assert len(talk.account.deliveries_s) == len(talk.heard)


@given(busy_talks, st.data())
def test_a_lost_delivery_is_found(talk: Talk, data: st.DataObject) -> None:
    """One member does not hear one message: lost is 1."""
    del talk.heard[data.draw(st.integers(0, len(talk.heard) - 1))]
    assert faults_of(talk.verdict()) == {"lost": 1}


@given(busy_talks, st.data())
def test_a_doubled_delivery_is_found(talk: Talk, data: st.DataObject) -> None:
    """One member hears one message again, then or later: doubled is 1, and it is not called unordered too."""
    index = data.draw(st.integers(0, len(talk.heard) - 1))
    talk.heard.insert(data.draw(st.integers(index, len(talk.heard))), talk.heard[index])
    assert faults_of(talk.verdict()) == {"doubled": 1}


@given(busy_talks, st.data())
def test_a_swapped_delivery_is_found(talk: Talk, data: st.DataObject) -> None:
    """One member hears two messages in the wrong order: unordered is 1."""
    own = [index for index, one in enumerate(talk.heard) if one.member == 0]
    place = data.draw(st.integers(0, len(own) - 2))
    first, second = own[place], own[place + 1]
    talk.heard[first], talk.heard[second] = talk.heard[second], talk.heard[first]
    assert faults_of(talk.verdict()) == {"unordered": 1}


def outside_of(talk: Talk, *, at_the_end: bool) -> list[tuple[int, Heard]]:
    """Return what members did not hear for being outside: of those who are (not) inside again when it is told."""
    return [(place, one) for place, one in talk.outside if (one.member in talk.inside) is not at_the_end]


@given(busy_talks.filter(lambda talk: outside_of(talk, at_the_end=True)), st.data())
def test_a_delivery_to_who_is_not_inside_is_found(talk: Talk, data: st.DataObject) -> None:
    """Somebody hears a message from after the leave, or without ever having joined."""
    place, one = data.draw(st.sampled_from(outside_of(talk, at_the_end=True)))
    talk.heard.insert(place, one)
    assert faults_of(talk.verdict()) == {"uninvited": 1}


@given(busy_talks.filter(lambda talk: outside_of(talk, at_the_end=False)), st.data())
def test_a_delivery_of_a_node_that_was_behind_is_no_fault(talk: Talk, data: st.DataObject) -> None:
    """Somebody who is inside hears a message from before the join: counted, and nothing against the promise."""
    place, one = data.draw(st.sampled_from(outside_of(talk, at_the_end=False)))
    talk.heard.insert(place, one)
    verdict = talk.verdict()
    assert faults_of(verdict) == {}
    assert verdict.early == 1


@pytest.mark.parametrize("change", [{"content": "other"}, {"author": 3}, {"number": 99}])
def test_a_delivery_of_something_else_is_found(change: dict[str, object]) -> None:
    """Content, author, and id and seq of a delivery are what was sent and acknowledged."""
    talk = Talk([4, 4])
    talk.heard.append(Heard(**{**vars(talk.heard[0]), **change}))
    assert talk.verdict().wrong > 0


@given(busy_talks, st.data())
def test_pages_that_differ_are_found(talk: Talk, data: st.DataObject) -> None:
    """A page lacks a message, has one twice, in the wrong place, or changed: that reading is not the log."""
    pages = list(talk.pages)
    index = data.draw(st.integers(0, len(pages) - 2))
    fault = data.draw(st.sampled_from(("lack", "double", "swap", "change")))
    if fault == "lack":
        del pages[index]
    elif fault == "double":
        pages.insert(index, pages[index])
    elif fault == "swap":
        pages[index], pages[index + 1] = pages[index + 1], pages[index]
    else:
        pages[index] = Paged(pages[index].id, pages[index].seq, pages[index].author, "other")
    verdict = talk.verdict(talk.pages, pages)
    assert (verdict.pages, faults_of(verdict)) == (2, {"unlike_pages": 1})


def test_between_asking_and_answer_either_is_allowed() -> None:
    """A message acknowledged while a join or a leave is under way may be heard and may be missed."""
    for is_heard in (True, False):
        account = Account(2)
        account.join_sent(0)
        account.join_answered(0)
        account.join_sent(1)
        say(account, 1)
        account.join_answered(1)
        account.leave_sent(1)
        say(account, 2)
        account.leave_answered(1)
        for member in (0, 1) if is_heard else (0,):
            for number in (1, 2):
                account.received(member, 1000 + number, number, str(number), 0, "text")
        account.paged([Paged(1001, 1, 0, "text"), Paged(1002, 2, 0, "text")])
        verdict = account.verdict(is_strict=True)
        assert verdict.is_good
        assert verdict.owed == 2


def test_who_was_cut_while_leaving_owes_only_what_was_heard() -> None:
    """After the leave nothing can be read any more: what was acknowledged but not heard before the cut is excused."""
    account = Account(2)
    account.join_sent(0)
    account.join_answered(0)
    say(account, 1)
    say(account, 2)
    account.leave_sent(0)
    account.received(0, 1001, 1, "1", 0, "text")
    account.excuse(0, 1)
    account.leave_answered(0)
    account.paged([Paged(1001, 1, 0, "text"), Paged(1002, 2, 0, "text")])
    assert account.verdict(is_strict=True).is_good


def test_what_was_not_said_is_found() -> None:
    """A log that was not played to its end is not proved, nor is one whose pages nobody read."""
    account = Account(2)
    say(account, 1)
    assert account.verdict(is_strict=True).unsent == 1
    assert not Account(0).verdict(is_strict=True).is_good


def test_another_order_than_the_logs_is_found() -> None:
    """The channel's order is the log's; with several in flight only each author's own must be."""
    for other, loose in ((0, 1), (1, 0)):
        account = Account(2)
        account.sent("1", 0, "text", 0.0)
        account.sent("2", other, "text", 0.0)
        account.acked("2", 1001, 1, 0.0)
        account.acked("1", 1002, 2, 0.0)
        assert account.verdict(is_strict=True).unlike_log == 1
        assert account.verdict(is_strict=False).unlike_log == loose


def say(account: Account, number: int) -> None:
    """Let member 0 say something."""
    account.sent(str(number), 0, "text", 0.0)
    account.acked(str(number), 1000 + number, number, 0.0)
