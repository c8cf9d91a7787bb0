"""A bot on one of discord.py's forks, doing what `lines` is asked for. `python forks.py URL TOKEN MODULE`.

Disnake, nextcord and py-cord have kept the words of discord.py; they differ in where their API is found, in what is
async, and in how bans and pins are listed.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
import sys
from typing import Any

from lines import serve, tell, tell_dispatch

url, token, module = sys.argv[1:4]
lib = importlib.import_module(module)
route = importlib.import_module(f"{module}.http").Route
if hasattr(route, "API_BASE_URL"):
    route.API_BASE_URL = f"{url}/api/v{{API_VERSION}}"
else:
    route.BASE = f"{url}/api/v10"


class Bot(lib.Client):
    """The client; what it hears is told."""

    async def on_ready(self) -> None:
        tell("ready", user=str(self.user.id), guilds=[str(guild.id) for guild in self.guilds])

    async def on_resumed(self) -> None:
        tell("resumed")

    async def on_message(self, message: Any) -> None:
        tell("message", message=str(message.id), content=message.content, author=str(message.author.id))

    async def on_socket_raw_receive(self, text: Any) -> None:
        frame = json.loads(text)
        if frame["op"] == 0:
            tell_dispatch(frame["t"], frame["s"], frame["d"])


def message_of(channel: str, message: str) -> Any:
    return bot.get_channel(int(channel)).get_partial_message(int(message))


async def listed(answer: Any) -> list[Any]:
    """Return what is listed, whether it is awaited or iterated over."""
    if inspect.isawaitable(answer):
        answer = await answer
    return [one async for one in answer] if hasattr(answer, "__aiter__") else list(answer)


async def send(channel: str, content: str) -> str:
    return str((await bot.get_channel(int(channel)).send(content)).id)


async def burst(channel: str, contents: list[str]) -> list[str]:
    return await asyncio.gather(*(send(channel, content) for content in contents))


async def reply(channel: str, message: str, content: str) -> str:
    sent = await message_of(channel, message).reply(content)
    return str(sent.reference.message_id)


async def edit(channel: str, message: str, content: str) -> str:
    await message_of(channel, message).edit(content=content)
    return await fetch(channel, message)


async def delete(channel: str, message: str) -> None:
    await message_of(channel, message).delete()


async def react(channel: str, message: str, emoji: str) -> list[Any]:
    await message_of(channel, message).add_reaction(emoji)
    fetched = await bot.get_channel(int(channel)).fetch_message(int(message))
    return [[str(one.emoji), one.count, one.me] for one in fetched.reactions]


async def type_in(channel: str) -> None:
    async with bot.get_channel(int(channel)).typing():
        pass


async def fetch(channel: str, message: str) -> str:
    return (await bot.get_channel(int(channel)).fetch_message(int(message))).content


async def page(channel: str, how: str = "", cursor: str | None = None, limit: int = 50) -> list[str]:
    where = {how: lib.Object(int(cursor))} if cursor else {}
    return [str(one.id) for one in await listed(bot.get_channel(int(channel)).history(limit=limit, **where))]


async def pin(channel: str, message: str) -> list[str]:
    await message_of(channel, message).pin()
    pins = await listed(bot.get_channel(int(channel)).pins())
    return [str(getattr(one, "message", one).id) for one in pins]


async def direct(user: str, content: str) -> str:
    person = await bot.fetch_user(int(user))
    return str((await person.send(content)).id)


async def members(guild: str) -> list[str]:
    fetched = [str(one.id) for one in await listed(bot.get_guild(int(guild)).fetch_members(limit=None))]
    chunked = [str(one.id) for one in await bot.get_guild(int(guild)).chunk(cache=False)]
    return fetched if sorted(fetched) == sorted(chunked) else [*fetched, "chunked:", *chunked]


async def bulk_delete(channel: str, messages: list[str]) -> None:
    await bot.get_channel(int(channel)).delete_messages([lib.Object(int(one)) for one in messages])


async def webhook(channel: str, content: str) -> str:
    made = await bot.get_channel(int(channel)).create_webhook(name="messenger")
    sent = await made.send(content, username="Messenger", wait=True)
    await made.delete()
    return str(sent.id)


async def manage(guild: str, user: str) -> dict[str, Any]:
    """Make a role, a channel and an invite; give the role to a member; ban and unban them."""
    place = bot.get_guild(int(guild))
    role = await place.create_role(name="helper", permissions=lib.Permissions(manage_messages=True))
    member = await place.fetch_member(int(user))
    await member.add_roles(role)
    has_role = role.id in [one.id for one in (await place.fetch_member(int(user))).roles]
    made = await place.create_text_channel("bots", topic="for bots")
    invite = await made.create_invite(max_age=60)
    await made.edit(topic="changed")
    topic = (await bot.fetch_channel(made.id)).topic
    await made.delete()
    await place.ban(member, reason="a trial")
    banned = [str(entry.user.id) for entry in await listed(place.bans())]
    await place.unban(member)
    return {"has_role": has_role, "invite": bool(invite.code), "topic": topic, "banned": banned}


verbs = {
    "send": send, "burst": burst, "reply": reply, "edit": edit, "delete": delete, "react": react, "type": type_in,
    "fetch": fetch, "page": page, "pin": pin, "dm": direct, "members": members, "bulk_delete": bulk_delete,
    "webhook": webhook, "manage": manage,
}  # fmt: skip


async def main() -> None:
    global bot
    logging.basicConfig(level=logging.INFO)
    bot = Bot(intents=lib.Intents.all(), enable_debug_events=True)
    running = asyncio.create_task(bot.start(token))
    serving = asyncio.create_task(serve(verbs))
    await asyncio.wait((running, serving), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    await bot.close()


asyncio.run(main())
