"""Mail: how a code leaves this system. The seam, and where there is no mail server.

Ring 2. `SmtpMailer` is services/groups/smtp_mailer.py.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import structlog

log = structlog.get_logger()


class Mail(NamedTuple):
    """One mail to one person."""

    to: str
    subject: str
    text: str


class MailFailed(Exception):
    """The mail was not taken, or nobody knows."""


class Mailer(Protocol):
    """Sends mail."""

    async def send(self, mail: Mail) -> None:
        """Hand one mail over. Raises `MailFailed`; returns or raises in bounded time."""


class LogMailer:
    """Writes mails to the log, for the local mode: whoever runs it reads the code there."""

    async def send(self, mail: Mail) -> None:
        """Write one mail to the log."""
        log.warning("mail_not_sent_but_logged", to=mail.to, subject=mail.subject)


class MemoryMailer:
    """Keeps mails, for tests; fails while told so."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self.is_failing = False

    async def send(self, mail: Mail) -> None:
        """Keep one mail."""
        if self.is_failing:
            raise MailFailed("told to fail")
        self.sent.append(mail)
