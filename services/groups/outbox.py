"""The outbox: mails on their way out, so that no request waits for a mail server, nor tells by its time what it did.

Ring 4 (shell). Bounded, and lost with the process: whoever waits for a code asks for another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from services.groups.mail import Mail, Mailer, MailFailed
from shared.streams import StoreUnavailable

MAX_WAITING: Final = 1_000
_FORGET_S: Final = 600.0

log = structlog.get_logger()


class Outbox:
    """Sends mails one after the other. `forget` is called now and then: it drops what is too old to matter."""

    def __init__(self, mailer: Mailer, forget: Callable[[], Awaitable[None]]) -> None:
        self._mailer = mailer
        self._forget = forget
        self._waiting: asyncio.Queue[Mail] = asyncio.Queue(MAX_WAITING)

    @property
    def waiting(self) -> int:
        """How many mails wait."""
        return self._waiting.qsize()

    def post(self, mail: Mail) -> None:
        """Take a mail; where too many wait it is dropped, and the log tells."""
        try:
            self._waiting.put_nowait(mail)
        except asyncio.QueueFull:
            log.warning("mail_dropped", waiting=MAX_WAITING)

    async def run(self) -> None:
        """Send for ever. Run as a supervised task."""
        while True:
            try:
                async with asyncio.timeout(_FORGET_S):
                    mail = await self._waiting.get()
            except TimeoutError:
                await self._tidy()
                continue
            try:
                await self._mailer.send(mail)
            except MailFailed as error:
                log.warning("mail_failed", reason=str(error))

    async def _tidy(self) -> None:
        try:
            await self._forget()
        except StoreUnavailable as error:
            log.warning("codes_not_forgotten", reason=repr(error))
