"""Tokens: minted once, verified by anyone who has the secret, forged by no one."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.auth import Tokens
from shared.core.errors import Unauthorized
from shared.core.group_errors import InvalidWebhookToken
from shared.core.ids import MAX_ID

NOW = 1_760_000_000_000
TOKENS = Tokens("a secret of the tests, long enough")
USER = 1_234_567_890_123_456_789


@given(st.integers(1, MAX_ID), st.sampled_from(["", "Bot ", "Bearer "]))
def test_a_token_tells_its_user(user_id: int, prefix: str) -> None:
    """Whom a token was minted for is who calls, whatever prefix the library puts before it."""
    bearer = TOKENS.verify(prefix + TOKENS.mint(user_id, NOW))
    assert (bearer.user_id, bearer.issued) == (user_id, NOW)


def test_libraries_find_their_own_id_in_the_first_part() -> None:
    """The first part is the base64 of the decimal id, unpadded (trap 8 of the client libraries)."""
    first = TOKENS.mint(USER, NOW).split(".")[0]
    assert "=" not in first
    assert urlsafe_b64decode(first + "==") == str(USER).encode()


def test_no_two_tokens_are_equal() -> None:
    """Two tokens of one user in one millisecond differ, so that one can be revoked alone."""
    assert TOKENS.mint(USER, NOW) != TOKENS.mint(USER, NOW)


def test_another_secret_is_refused() -> None:
    """A token of another installation is worth nothing here."""
    with pytest.raises(Unauthorized):
        TOKENS.verify(Tokens("another secret that is long enough").mint(USER, NOW))


def test_a_secret_is_changed_without_a_logout() -> None:
    """The newest signs; what an older one signed is good while it is told, and no longer."""
    old, new = "the secret of last year, long enough", "the secret of this year, long enough"
    token = Tokens(old).mint(USER, NOW)
    both = Tokens(new, old)
    assert both.verify(token).user_id == USER
    assert Tokens(new).verify(both.mint(USER, NOW)).user_id == USER
    for refusing, refused in ((Tokens(new), token), (Tokens(old), both.mint(USER, NOW))):
        with pytest.raises(Unauthorized):
            refusing.verify(refused)
    with pytest.raises(ValueError, match="32 characters"):
        Tokens(new, "short")


def test_no_other_id_under_the_same_signature() -> None:
    """Swapping the id part of a good token is refused."""
    _, issued, signature = TOKENS.mint(USER, NOW).split(".")
    other = urlsafe_b64encode(b"1").rstrip(b"=").decode()
    with pytest.raises(Unauthorized):
        TOKENS.verify(f"{other}.{issued}.{signature}")


@given(st.data())
def test_every_change_of_a_character_is_refused(data: st.DataObject) -> None:
    """A token has exactly one spelling: no character of it can be another one, be missing or be more."""
    token = TOKENS.mint(USER, NOW)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters().filter(lambda c: c != token[place]))
    with pytest.raises(Unauthorized):
        TOKENS.verify(token[:place] + letter + token[place + 1 :])
    with pytest.raises(Unauthorized):
        TOKENS.verify(token[:place] + token[place + 1 :])
    with pytest.raises(Unauthorized):
        TOKENS.verify(token + letter)


@given(st.text(max_size=300))
def test_anything_else_is_refused(text: str) -> None:
    """Whatever a client sends as a token, the answer is a refusal, never an exception of another kind."""
    with pytest.raises(Unauthorized):
        TOKENS.verify(text)


@pytest.mark.parametrize("token", ["", ".", "..", "Bot ", "a.b.c", "\ud800.\ud800.\ud800", "\0", "é.é.é", "=" * 90])
def test_malformed_tokens_are_refused(token: str) -> None:
    """Empty, lone surrogates, NUL and the like: refused."""
    with pytest.raises(Unauthorized):
        TOKENS.verify(token)


WEBHOOK = st.integers(1, MAX_ID)


@given(WEBHOOK, WEBHOOK)
def test_a_webhooks_token_is_its_own(webhook_id: int, other: int) -> None:
    """It is always the same, 68 letters that an address may hold; another webhook's is refused, as is another text."""
    token = TOKENS.webhook_token(webhook_id)
    assert re.fullmatch(r"[A-Za-z0-9_-]{68}", token)
    TOKENS.require_webhook(webhook_id, token)
    for wrong in (TOKENS.webhook_token(other), token[:-1], f"{token}A", "", "é", "\ud800"):
        if wrong != token:
            with pytest.raises(InvalidWebhookToken):
                TOKENS.require_webhook(webhook_id, wrong)


def test_a_webhooks_token_outlives_a_change_of_the_secret() -> None:
    """Old addresses are good while the older secret is told; new ones are made under the new one."""
    old, new = "a secret of the tests, long enough", "the next secret, which is long enough"
    token = TOKENS.webhook_token(USER)
    both = Tokens(new, old)
    both.require_webhook(USER, token)
    assert both.webhook_token(USER) == Tokens(new).webhook_token(USER) != token
    with pytest.raises(InvalidWebhookToken):
        Tokens(new).require_webhook(USER, token)
