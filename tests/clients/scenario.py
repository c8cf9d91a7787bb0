"""The scenario: what a bot does and hears, step by step, and what must come of it. The same for every library.

Steps of all libraries run side by side, one step after the other, so that a fault meets all of them at once. What a
library orders its own way (`history(after=…)` begins with the oldest in some) is compared as a set.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.clients.bot import Bot, BotFailed, Fact
from tests.clients.people import Person
from tests.clients.systems import RESUME_WINDOW_S, System

BURST: Final = 14
"""Messages at once: more than a user's budget, so that some are answered 429."""
_QUIET_S: Final = 1.0
"""Before a node is killed: who tells only `s` may get the last quarter of a second before again."""
_BACK_S: Final = 60.0


@dataclass
class Case:
    """One bot in its own group, with the group's owner."""

    bot: Bot
    bot_id: str
    owner: Person
    guest: str
    """Another member, whom the bot moderates."""
    guild: str
    channel: str
    said: list[str] = field(default_factory=list)
    """Ids of the messages in the channel that were not deleted, oldest first."""

    async def say(self, content: str) -> str:
        """Let the owner say something in the group's channel."""
        message = await self.owner.say(self.channel, content)
        self.said.append(message)
        return message

    async def send(self, content: str, **more: Any) -> str:
        """Let the bot say something in the group's channel."""
        message: str = await self.bot.ask("send", channel=self.channel, content=content, **more)
        self.said.append(message)
        return message


def require(holds: bool, text: str) -> None:
    """Raise `BotFailed` with the text unless it holds."""
    if not holds:
        raise BotFailed(text)


def _is_ready(told: list[Fact]) -> bool:
    return any(fact["event"] == "ready" for fact in told)


def _ready_of(case: Case) -> Fact:
    ready = next((fact for fact in case.bot.told if fact["event"] == "ready"), None)
    if ready is None:
        raise BotFailed("it is not ready")
    return ready


async def _log_in(case: Case) -> None:
    await case.bot.wait("ready", _is_ready, timeout_s=_BACK_S)
    ready = _ready_of(case)
    require(ready["user"] == case.bot_id, f"it is {ready['user']}, not {case.bot_id}")


async def _see_groups(case: Case) -> None:
    ready = _ready_of(case)
    require(ready["guilds"] == [case.guild], f"it sees {ready['guilds']}, not {case.guild}")


async def _hear(case: Case) -> None:
    since = len(case.bot.told)
    contents = [f"message {number}" for number in range(5)]
    for content in contents:
        await case.say(content)
    await _require_heard(case, since, contents)


async def _require_heard(case: Case, since: int, contents: list[str], *, others: bool = False) -> None:
    """Wait until these were heard since then; they must have come in order, once, and as messages of the library."""
    bot = case.bot
    await bot.wait(contents[-1], lambda _: contents[-1] in _contents(bot.heard(since)), timeout_s=_BACK_S)
    heard = _contents(bot.heard(since))
    if others:
        heard = [content for content in heard if content in contents]
    require(heard == contents, f"heard {heard}, not {contents}")

    def has_told(told: list[Fact]) -> bool:
        return [fact["content"] for fact in told[since:] if fact["event"] == "message"][-1:] == contents[-1:]

    await bot.wait(f"the library's event of {contents[-1]}", has_told)


def _contents(facts: list[Fact]) -> list[str]:
    return [fact["content"] for fact in facts]


async def _send(case: Case) -> None:
    since = len(case.bot.told)
    nonce = secrets.token_hex(8)
    first = await case.send("once", nonce=nonce)
    again = await case.bot.ask("send", channel=case.channel, content="once", nonce=nonce)
    require(again == first, "the same nonce made another message")
    await _require_heard(case, since, ["once"])


async def _reply(case: Case) -> None:
    answered = await case.bot.ask("reply", channel=case.channel, message=case.said[0], content="an answer")
    require(answered == case.said[0], f"it answers {answered}")
    case.said.append((await _latest(case, 1))[0])


async def _edit(case: Case) -> None:
    message = await case.send("with a mistkae")
    shown = await case.bot.ask("edit", channel=case.channel, message=message, content="without")
    require(shown == "without", f"it shows {shown!r}")
    stored = await case.owner.call("GET", f"/channels/{case.channel}/messages/{message}")
    require(stored["content"] == "without" and stored["edited_timestamp"], "the edit is not stored")


async def _delete(case: Case) -> None:
    message = await case.bot.ask("send", channel=case.channel, content="not for long")
    await case.bot.ask("delete", channel=case.channel, message=message)
    require(message not in await _latest(case, 50), "it is still there")


async def _react(case: Case) -> None:
    shown = await case.bot.ask("react", channel=case.channel, message=case.said[0], emoji="🌱")
    require(shown == [["🌱", 1, True]], f"it shows {shown}")


async def _type(case: Case) -> None:
    since = len(case.bot.told)
    await case.bot.ask("type", channel=case.channel)
    await case.owner.call("POST", f"/channels/{case.channel}/typing")
    await case.bot.wait("TYPING_START", lambda _: bool(case.bot.heard(since, "TYPING_START")), timeout_s=10)


async def _fetch(case: Case) -> None:
    content = await case.bot.ask("fetch", channel=case.channel, message=case.said[0])
    require(content == "message 0", f"it is {content!r}")


async def _page(case: Case) -> None:
    while len(case.said) < 12:
        await case.say(f"more {len(case.said)}")
    said = case.said
    middle = said[6]
    wanted = {
        ("", None): set(said),
        ("before", middle): set(said[2:6]),
        ("after", middle): set(said[7:11]),
    }
    for (how, cursor), messages in wanted.items():
        got = await case.bot.ask("page", channel=case.channel, how=how, cursor=cursor, limit=4 if cursor else 50)
        require(len(got) == len(messages) and set(got) == messages, f"{how or 'all'}: {got}, not {sorted(messages)}")
    around = await case.bot.ask("page", channel=case.channel, how="around", cursor=middle, limit=9)
    require(middle in around and set(around) <= set(said) and len(around) >= 5, f"around: {around}")


async def _latest(case: Case, limit: int) -> list[str]:
    page = await case.owner.call("GET", f"/channels/{case.channel}/messages?limit={limit}")
    return [message["id"] for message in page]


async def _pin(case: Case) -> None:
    pinned = await case.bot.ask("pin", channel=case.channel, message=case.said[0])
    require(pinned == [case.said[0]], f"pinned are {pinned}")


async def _direct(case: Case) -> None:
    since = len(case.bot.told)
    await case.bot.ask("dm", user=case.owner.id, content="between us")
    (channel,) = [one["id"] for one in await case.owner.call("GET", "/users/@me/channels")]
    await case.owner.say(channel, "and back")
    await _require_heard(case, since, ["between us", "and back"], others=True)


async def _members(case: Case) -> None:
    listed = await case.bot.ask("members", guild=case.guild)
    require(sorted(listed) == sorted([case.owner.id, case.guest, case.bot_id]), f"members are {listed}")


async def _bulk_delete(case: Case) -> None:
    messages = [await case.bot.ask("send", channel=case.channel, content=f"spam {number}") for number in range(3)]
    await case.bot.ask("bulk_delete", channel=case.channel, messages=messages)
    require(not set(messages) & set(await _latest(case, 50)), "they are still there")


async def _commands(case: Case) -> None:
    names = await case.bot.ask("commands")
    require(names == ["echo"], f"commands are {names}")


async def _webhook(case: Case) -> None:
    message = await case.bot.ask("webhook", channel=case.channel, content="by a webhook")
    (latest,) = await case.owner.call("GET", f"/channels/{case.channel}/messages?limit=1")
    require(latest["id"] == message and latest["author"]["username"] == "Messenger", f"it is {latest}")


async def _manage(case: Case) -> None:
    managed = await case.bot.ask("manage", guild=case.guild, user=case.guest)
    wanted = {"has_role": True, "invite": True, "topic": "changed", "banned": [case.guest]}
    require(managed == wanted, f"it is {managed}")


async def _burst(case: Case) -> None:
    contents = [f"burst {number}" for number in range(BURST)]
    messages = await case.bot.ask("burst", channel=case.channel, contents=contents, timeout_s=_BACK_S)
    page = await case.owner.call("GET", f"/channels/{case.channel}/messages?limit={BURST}")
    require(sorted(one["content"] for one in page) == sorted(contents), "not each of them is there, once")
    require(len(set(messages)) == BURST, "some were answered alike")


Fault = Callable[[System, Callable[[], Awaitable[None]]], Awaitable[None]]
"""Brings a fault about; calls what it is given while clients are away."""


async def _cut(system: System, meanwhile: Callable[[], Awaitable[None]]) -> None:
    # New connections wait: where one is refused discord.js and disnake begin anew instead of resuming.
    system.proxy.silence()
    system.proxy.cut()
    await meanwhile()
    system.proxy.resume()


async def _stay_away(system: System, meanwhile: Callable[[], Awaitable[None]]) -> None:
    # New connections wait: who is refused again and again comes back after minutes (discord.py after up to four).
    system.proxy.silence()
    system.proxy.cut()
    await meanwhile()
    await asyncio.sleep(RESUME_WINDOW_S + 10)  # the window, and what a node takes to look
    system.proxy.resume()


async def _kill(system: System, meanwhile: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(_QUIET_S)
    system.kill("gateway-1")
    await meanwhile()


async def _kill_other(system: System, meanwhile: Callable[[], Awaitable[None]]) -> None:
    await system.wait_ready()
    await asyncio.sleep(_QUIET_S)
    system.kill("gateway-2")
    await meanwhile()


async def _drain(system: System, meanwhile: Callable[[], Awaitable[None]]) -> None:
    await system.wait_ready()
    restarting = asyncio.create_task(system.restart("gateway-1"))
    await meanwhile()
    await restarting
    await system.restart("gateway-2")


async def _restart(system: System, meanwhile: Callable[[], Awaitable[None]]) -> None:
    await meanwhile()
    await system.restart_all()


@dataclass(frozen=True)
class Step:
    """A step that each bot takes by itself."""

    name: str
    take: Callable[[Case], Awaitable[None]]


@dataclass(frozen=True)
class FaultStep:
    """A step that meets all bots at once. `resumes`: each hears what was said meanwhile, once; else it begins anew."""

    name: str
    faults: tuple[Fault, ...]
    resumes: bool
    in_cluster: bool | None = None
    """None: in every mode."""


STEPS: Final = (
    Step("log in", _log_in),
    Step("groups", _see_groups),
    Step("hear", _hear),
    Step("send, nonce", _send),
    Step("reply", _reply),
    Step("edit", _edit),
    Step("delete", _delete),
    Step("react", _react),
    Step("type", _type),
    Step("fetch", _fetch),
    Step("page", _page),
    Step("pin", _pin),
    Step("direct", _direct),
    Step("members", _members),
    Step("bulk delete", _bulk_delete),
    Step("roles, channels, invites, bans", _manage),
    Step("commands", _commands),
    Step("webhook", _webhook),
    Step("429", _burst),
    FaultStep("cut, RESUME", (_cut,), resumes=True),
    FaultStep("kill -9, RESUME", (_kill, _kill_other), resumes=True, in_cluster=True),
    FaultStep("drain (op 7), RESUME", (_drain,), resumes=True, in_cluster=True),
    FaultStep("restart (op 7, 9)", (_restart,), resumes=False, in_cluster=False),
    FaultStep("too long away (op 9)", (_stay_away,), resumes=False),
)


async def meet(step: FaultStep, system: System, cases: list[Case]) -> list[str]:
    """Bring the faults about; return for each case what went wrong, or ""."""
    wrong = [""] * len(cases)
    for fault in step.faults:
        contents = [f"meanwhile {secrets.token_hex(3)}" for _ in range(3)]
        since = [len(case.bot.told) for case in cases]

        async def meanwhile(contents: list[str] = contents) -> None:
            for content in contents:
                await asyncio.gather(*(case.say(content) for case in cases))

        await fault(system, meanwhile)
        checks = (_came_back(step, case, mark, contents) for case, mark in zip(cases, since, strict=True))
        wrong = [before or after for before, after in zip(wrong, await asyncio.gather(*checks), strict=True)]
    return wrong


async def _came_back(step: FaultStep, case: Case, since: int, contents: list[str]) -> str:
    """Return what went wrong with a bot that a fault has met, or ""."""
    bot = case.bot
    try:
        if step.resumes:
            await _require_heard(case, since, contents)
            require(not bot.heard(since, "READY"), "it began anew")
        else:
            await bot.wait("READY", lambda _: bool(bot.heard(since, "READY")), timeout_s=2 * _BACK_S)
            await bot.wait("its group", lambda _: bool(bot.heard(since, "GUILD_CREATE")))
        since = len(bot.told)
        await case.say(f"after {step.name}")
        await _require_heard(case, since, [f"after {step.name}"])
    except (BotFailed, httpx.HTTPError) as failure:
        return str(failure) or type(failure).__name__
    return ""
