"""Mail by SMTP: one connection per mail, in a thread, with a deadline at each step.

Ring 3 (adapter). Held by tests/groups/test_smtp.py.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final

from services.groups.mail import Mail, MailFailed
from shared.settings import EmailSettings

_STEPS: Final = 12
"""Answers that a mail waits for at most; each has the deadline."""


class SmtpMailer:
    """A `Mailer` by the server of the settings."""

    def __init__(self, settings: EmailSettings) -> None:
        self._settings = settings
        self._timeout_s = settings.timeout.total_seconds()

    async def send(self, mail: Mail) -> None:
        """Hand one mail over. Raises `MailFailed`."""
        try:
            async with asyncio.timeout(self._timeout_s * _STEPS):
                await asyncio.to_thread(self._send, mail)
        except (smtplib.SMTPException, OSError, ValueError, TimeoutError) as error:
            raise MailFailed(repr(error)) from error

    def _send(self, mail: Mail) -> None:
        ours = self._settings
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = ours.sender, mail.to, mail.subject
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=ours.sender.rpartition("@")[2])
        message.set_content(mail.text)
        with self._open() as smtp:
            if ours.security == "starttls":
                smtp.starttls(context=ssl.create_default_context())
            if ours.username:
                smtp.login(ours.username, ours.password.get_secret_value())
            smtp.send_message(message)

    def _open(self) -> smtplib.SMTP:
        ours = self._settings
        if ours.security == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(ours.host, ours.port, timeout=self._timeout_s, context=context)
        return smtplib.SMTP(ours.host, ours.port, timeout=self._timeout_s)
