"""Codes by e-mail: what an address is, what a code is worth, and what stands in the mail.

Ring 1 (core). Six digits are few: a code lives for ten minutes and five tries, a mailbox gets ten a day, so that who
guesses all day long gets in once in 50 years. What is stored is a keyed hash, of no use to who reads the database.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from typing import Final

import msgspec

from shared.core.errors import InvalidForm

LIFETIME_MS: Final = 10 * 60 * 1000
TRIES: Final = 5
CODES_A_DAY: Final = 10
DIGITS: Final = 6
EMAIL_LENGTH: Final = (3, 254)
_LOCAL_LENGTH: Final = 64
_DAY_MS: Final = 24 * 3600 * 1000

VERIFY: Final = "verify"
RESET: Final = "reset"


class Code(msgspec.Struct, frozen=True):
    """A code that was sent to `email` for an account (0: nobody's, so nothing was sent). `at`: when (Unix ms).

    `key` says what it is for. `sent` counts those of the day of `at`. A used one has no tries left.
    """

    key: str
    user_id: int
    email: str
    digest: str
    at: int
    tries: int = TRIES
    sent: int = 1

    def is_good(self, now: int) -> bool:
        """Whether it may still be told."""
        return self.tries > 0 and now - self.at < LIFETIME_MS


def next_code(before: Code | None, key: str, user_id: int, email: str, digest: str, now: int) -> Code | None:
    """Return the code that takes the place of the one before; None if there were enough of them today."""
    sent = before.sent + 1 if before is not None and before.at // _DAY_MS == now // _DAY_MS else 1
    return Code(key, user_id, email, digest, now, sent=sent) if sent <= CODES_A_DAY else None


def digest_of(secret: bytes, key: str, code: str) -> str:
    """Return what is stored of a code."""
    return hmac.new(secret, f"{key}:{code}".encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def email_key(email: str) -> str:
    """Return the claim key of an address: case makes no difference."""
    return f"e:{unicodedata.normalize('NFKC', email).casefold()}"


def reset_key(email: str) -> str:
    """Return what a code for a new password is kept under: it tells nobody the address."""
    return f"{RESET}:{hashlib.sha256(email_key(email).encode(errors='surrogatepass')).hexdigest()[:32]}"


def verify_key(user_id: int) -> str:
    """Return what a code for an address of this user is kept under."""
    return f"{VERIFY}:{user_id}"


def require_email(email: str) -> str:
    """Return the address as it is written to. Raises `InvalidForm`."""
    address = unicodedata.normalize("NFC", email).strip()
    local, at, domain = address.rpartition("@")
    low, high = EMAIL_LENGTH
    if (
        not at
        or not low <= len(address) <= high
        or not 0 < len(local) <= _LOCAL_LENGTH
        or "." not in domain.strip(".")
        or "@" in local
        or not address.isprintable()
        or any(letter.isspace() or letter in '<>()[],;:\\"' for letter in address)
    ):
        raise InvalidForm({"email": [("EMAIL_TYPE_INVALID_EMAIL", "Not a well formed email address.")]})
    return address


def email_taken() -> InvalidForm:
    """Return the refusal of an address that another account has; told only to who reads its mail."""
    return InvalidForm({"email": [("EMAIL_ALREADY_REGISTERED", "Email is already registered.")]})


def wrong_code() -> InvalidForm:
    """Return the one refusal of a code, whatever was wrong: the code, the address, its age, too many tries."""
    return InvalidForm({"code": [("INVALID_CODE", "The code is wrong, used, or too old.")]})


def mail_text(kind: str, code: str) -> tuple[str, str]:
    """Return subject and text of a mail."""
    minutes = LIFETIME_MS // 60_000
    if kind == VERIFY:
        what, why = "Confirm your address", "to confirm that this is your address"
    else:
        what, why = "Set a new password", "to set a new password"
    text = f"Your code {why}: {code}\n\nIt is good for {minutes} minutes. If you did not ask for it, do nothing.\n"
    return f"{what}: {code}", text
