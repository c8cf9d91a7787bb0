"""Frames and the session machine: whatever bytes come there is an answer, and its laws hold in any order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.gateway.core import frames
from services.gateway.core.frames import CloseCode, Op
from services.gateway.core.session import (
    Action,
    Close,
    Confirm,
    Continue,
    FindMembers,
    Open,
    Phase,
    Post,
    Session,
    SessionRules,
)
from shared.core.drafts import NONCE_CHARACTERS, nonce_of

LIMIT = frames.send_bytes_limit(2000)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_get_an_answer(data: bytes, text: bool) -> None:
    """Garbage is a close code, never an exception."""
    assert isinstance(frames.decode_frame(data, text=text, send_limit=LIMIT), CloseCode)


@given(st.sampled_from([int(op) for op in Op]) | st.integers(), json_values)
def test_any_json_gets_an_answer(op: int, d: object) -> None:
    """Whatever stands in `d`, the answer is a typed frame or a close code."""
    data = json.dumps({"op": op, "d": d, "extra": d}).encode()
    frame = frames.decode_frame(data, text=True, send_limit=LIMIT)
    assert isinstance(frame, CloseCode | frames.ClientFrame)


@given(json_values)
def test_a_nonce_is_valid_or_not(value: object) -> None:
    """A nonce is stored as 1 to 25 characters; none is empty; anything else is refused."""
    nonce = nonce_of(value)
    assert nonce is None or len(nonce) <= NONCE_CHARACTERS
    assert (nonce == "") is (value is None)


@pytest.mark.parametrize("code", list(CloseCode))
def test_every_close_code_says_what_to_do(code: CloseCode) -> None:
    """Each has a meaning and tells the client whether to come again; none is 1000, which makes libraries forget."""
    assert code.meaning
    assert code.then in ("resume", "identify", "never")
    assert code == 1007 or 4000 <= code <= 4014
    assert len(code.meaning.encode()) <= 123


def test_a_large_frame_is_only_a_send() -> None:
    """4,096 bytes for any frame, 12 bytes per character of content for MESSAGE_SEND."""
    content = "x" * (LIMIT - 200)
    send = json.dumps({"op": 100, "d": {"content": content}}).encode()
    assert isinstance(frames.decode_frame(send, text=True, send_limit=LIMIT), frames.SendMessage)
    beat = json.dumps({"op": 1, "d": content}).encode()
    assert frames.decode_frame(beat, text=True, send_limit=LIMIT) is CloseCode.DECODE_ERROR
    assert frames.decode_frame(b"x" * (LIMIT + 1), text=True, send_limit=LIMIT) is CloseCode.DECODE_ERROR


def test_silence_is_measured_from_the_last_sign_of_life() -> None:
    """Any frame, ping or pong is one; two intervals without are too many."""
    session = Session(SessionRules(heartbeat_interval_s=10, identify_timeout_s=1000), 0.0)
    session.receive(b'{"op":1,"d":null}', 15.0)
    assert session.tick(34.9) is None
    session.control(34.0)
    assert session.tick(53.9) is None
    assert session.tick(54.0) == Close(CloseCode.UNKNOWN_ERROR, "no heartbeat in time")
    assert session.tick(99.0) is None


def test_a_window_begins_anew() -> None:
    """120 frames pass in each minute, however long it goes on."""
    session = Session(SessionRules(), 0.0)
    for minute in range(3):
        for _ in range(120):
            assert isinstance(session.receive(b'{"op":1}', 60.0 * minute), Confirm)
    closed = session.receive(b'{"op":1}', 120.1)
    assert isinstance(closed, Close)
    assert closed.code is CloseCode.RATE_LIMITED


class Conversation(RuleBasedStateMachine):
    """Any client, in any order, at any pace."""

    @initialize()
    def begin(self) -> None:
        """Connect."""
        self.now = 0.0
        self.heard = 0.0
        self.rules_of = SessionRules(10.0, 5.0, 20, 100)
        self.session = Session(self.rules_of, 0.0)
        self.began = 0.0
        self.is_asking: Open | Continue | None = None
        self.is_open = False
        self.is_closed = False
        self.counted: list[float] = []

    def told(self, action: Action | None) -> None:
        """Hold every action to what is so."""
        if self.is_closed:
            assert action is None
        match action:
            case Open() | Continue():
                assert self.is_asking is None
                assert not self.is_open, "one session for each connection"
                self.is_asking = action
            case Post() | FindMembers():
                assert self.is_open
            case Close():
                self.is_closed = True

    def say(self, op: int, d: Any) -> Action | None:
        """Say a frame."""
        self.heard = self.now
        action = self.session.receive(json.dumps({"op": op, "d": d}).encode(), self.now)
        self.told(action)
        return action

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @rule()
    def heartbeat(self) -> None:
        """Heartbeats are answered in every phase."""
        was_closed = self.is_closed
        action = self.say(1, None)
        if not was_closed:
            assert action == Confirm(None) or (isinstance(action, Close) and action.code is CloseCode.RATE_LIMITED)

    @rule()
    def identify(self) -> None:
        """Identify, perhaps again."""
        self.say(2, {"token": "t"})

    @rule()
    def resume(self) -> None:
        """Ask to go on."""
        self.say(6, {"token": "t", "session_id": "s", "seq": 1})

    @rule()
    def send(self) -> None:
        """Send a message, perhaps too early."""
        self.say(100, {"channel_id": 1, "content": "x"})

    @rule(op=st.sampled_from([0, 3, 4, 5, 8, 9, 10, 11, 31, 101]), d=json_values)
    def anything(self, op: int, d: Any) -> None:
        """Say anything else."""
        self.say(op, d)

    @precondition(lambda self: self.is_asking)
    @rule()
    def opened(self) -> None:
        """Tell that the session is open or goes on, unless the connection ended meanwhile."""
        self.is_open = self.session.opened()
        self.is_asking = None
        assert self.is_open is not self.is_closed

    @precondition(lambda self: isinstance(self.is_asking, Continue))
    @rule()
    def not_resumed(self) -> None:
        """Tell that the session can't go on: the client may identify on the same connection, as a new one."""
        may_identify = self.session.not_resumed(self.now)
        self.is_asking = None
        assert may_identify is not self.is_closed
        if may_identify:
            self.began = self.now
            assert self.session.phase is Phase.NEW

    @rule(code=st.sampled_from(CloseCode))
    def close(self, code: CloseCode) -> None:
        """Close from our side, for whatever reason: once."""
        action = self.session.close(code)
        assert (action is None) is self.is_closed
        self.is_closed = True

    @rule()
    def lose(self) -> None:
        """Lose the connection: nothing comes of it any more."""
        self.session.ended()
        self.is_closed = True

    @rule()
    def look(self) -> None:
        """Look at the clock: exactly who is silent is closed."""
        was_closed, was_new = self.is_closed, self.session.phase is Phase.NEW
        action = self.session.tick(self.now)
        self.told(action)
        if not was_closed:
            is_silent = self.now - self.heard >= self.rules_of.silence_s
            is_late = was_new and self.now - self.began >= self.rules_of.identify_timeout_s
            assert (action is not None) is (is_silent or is_late)

    @invariant()
    def phases_agree(self) -> None:
        """Hold that closed is closed."""
        assert (self.session.phase is Phase.CLOSED) is self.is_closed


Conversation.TestCase.settings = settings(max_examples=1_000, stateful_step_count=25)
TestConversation = Conversation.TestCase
