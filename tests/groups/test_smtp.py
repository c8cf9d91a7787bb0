"""Mail by SMTP, on a server of our own: what is handed over, and what a bad server costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from services.groups.mail import Mail, MailFailed
from services.groups.smtp_mailer import SmtpMailer
from shared.settings import EmailSettings

MAIL = Mail("ann@☂.example", "Your code: 123456", "Your code ☂: 123456\n")


@asynccontextmanager
async def open_server(answer: Callable[[str], str]) -> AsyncIterator[tuple[int, list[str]]]:
    """Open a mail server that answers each line so; yield its port and what it was told."""
    told: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        in_data = False
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            told.append(line)
            if in_data and line != ".":
                while (line := (await reader.readline()).decode().rstrip("\r\n")) != ".":
                    told.append(line)
            reply = answer("." if in_data else line.split(" ")[0].upper())
            if not reply:
                continue
            in_data = reply.startswith("354")
            writer.write(f"{reply}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], told


def settings_of(port: int, seconds: float = 5.0) -> EmailSettings:
    """Return settings for a server without any security."""
    return EmailSettings(
        host="127.0.0.1", port=port, security="none", sender="star@ling.example", timeout=timedelta(seconds=seconds)
    )


def polite(line: str) -> str:
    """Answer as a server that takes everything."""
    return {
        "EHLO": "250-here\r\n250 SMTPUTF8",
        "DATA": "354 go on",
        "QUIT": "221 bye",
    }.get(line, "250 fine")


async def test_a_mail_is_handed_over() -> None:
    """With sender, recipient, subject, date and text, once."""
    async with open_server(polite) as (port, told):
        await SmtpMailer(settings_of(port)).send(MAIL)
    assert any(line.startswith("mail FROM:<star@ling.example>") for line in told)
    assert sum(line.startswith("rcpt TO:<ann@☂.example>") for line in told) == 1
    assert {line.split(":")[0] for line in told} >= {"From", "To", "Subject", "Date", "Message-ID"}


@pytest.mark.parametrize("refusing", ["EHLO", "MAIL", "RCPT", "DATA", "."])
async def test_a_refusal_is_told(refusing: str) -> None:
    """Whatever the server refuses, the mail failed."""
    async with open_server(lambda line: "550 no" if line in (refusing, "HELO") else polite(line)) as (port, _):
        with pytest.raises(MailFailed):
            await SmtpMailer(settings_of(port)).send(MAIL)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    """The deadline of a step ends it; so does a port where nobody is."""
    async with open_server(lambda _: "") as (port, _):
        with pytest.raises(MailFailed):
            await SmtpMailer(settings_of(port, 0.05)).send(MAIL)
    with pytest.raises(MailFailed):
        await SmtpMailer(settings_of(1)).send(MAIL)


async def test_nothing_is_smuggled_into_a_mail() -> None:
    """A line break in an address or subject is refused before anything is sent."""
    async with open_server(polite) as (port, told):
        for mail in (
            Mail("a@b.example\r\nBcc: c@d.example", "x", "x"),
            Mail("a@b.example", "x\nBcc: c@d.example", "x"),
        ):
            with pytest.raises(MailFailed):
                await SmtpMailer(settings_of(port)).send(mail)
    assert told == []
