"""A bot on discord.py, doing what `lines` is asked for. `python discordpy.py URL TOKEN`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import discord
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route
from lines import serve, tell, tell_dispatch
from yarl import URL

url, token = sys.argv[1:3]
Route.BASE = f"{url}/api/v10"
DiscordWebSocket.DEFAULT_GATEWAY = URL(url.replace("http", "ws", 1) + "/gateway")


class Bot(discord.Client):
    """The client; what it hears is told."""

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents.all(), enable_debug_events=True)
        self.tree = app_commands.CommandTree(self)

    async def on_ready(self) -> None:
        tell("ready", user=str(self.user.id), guilds=[str(guild.id) for guild in self.guilds])

    async def on_resumed(self) -> None:
        tell("resumed")

    async def on_message(self, message: discord.Message) -> None:
        tell("message", message=str(message.id), content=message.content, author=str(message.author.id))

    async def on_socket_raw_receive(self, text: str) -> None:
        frame = json.loads(text)
        if frame["op"] == 0:
            tell_dispatch(frame["t"], frame["s"], frame["d"])
        else:
            tell("frame", op=frame["op"])


bot = Bot()


def channel_of(channel: str) -> Any:
    return bot.get_channel(int(channel)) or bot.get_partial_messageable(int(channel))


def message_of(channel: str, message: str) -> discord.PartialMessage:
    return channel_of(channel).get_partial_message(int(message))


async def send(channel: str, content: str, nonce: str | None = None) -> str:
    return str((await channel_of(channel).send(content, nonce=nonce)).id)


async def burst(channel: str, contents: list[str]) -> list[str]:
    return await asyncio.gather(*(send(channel, content) for content in contents))


async def reply(channel: str, message: str, content: str) -> str:
    sent = await message_of(channel, message).reply(content)
    return str(sent.reference.message_id)


async def edit(channel: str, message: str, content: str) -> str:
    return (await message_of(channel, message).edit(content=content)).content


async def delete(channel: str, message: str) -> None:
    await message_of(channel, message).delete()


async def react(channel: str, message: str, emoji: str) -> list[Any]:
    await message_of(channel, message).add_reaction(emoji)
    fetched = await channel_of(channel).fetch_message(int(message))
    return [[str(one.emoji), one.count, one.me] for one in fetched.reactions]


async def type_in(channel: str) -> None:
    await channel_of(channel).typing()


async def fetch(channel: str, message: str) -> str:
    return (await channel_of(channel).fetch_message(int(message))).content


async def page(channel: str, how: str = "", cursor: str | None = None, limit: int = 50) -> list[str]:
    where = {how: discord.Object(int(cursor))} if cursor else {}
    return [str(one.id) async for one in channel_of(channel).history(limit=limit, **where)]


async def pin(channel: str, message: str) -> list[str]:
    await message_of(channel, message).pin()
    return [str(one.id) async for one in bot.get_channel(int(channel)).pins()]


async def direct(user: str, content: str) -> str:
    person = await bot.fetch_user(int(user))
    return str((await person.send(content)).id)


async def members(guild: str) -> list[str]:
    fetched = [str(one.id) async for one in bot.get_guild(int(guild)).fetch_members(limit=None)]
    chunked = [str(one.id) for one in await bot.get_guild(int(guild)).chunk(cache=False)]
    return fetched if sorted(fetched) == sorted(chunked) else [*fetched, "chunked:", *chunked]


async def bulk_delete(channel: str, messages: list[str]) -> None:
    await bot.get_channel(int(channel)).delete_messages([discord.Object(int(one)) for one in messages])


async def sync_commands() -> list[str]:
    @bot.tree.command(name="echo", description="Say it again")
    async def echo(interaction: discord.Interaction, text: str) -> None:
        await interaction.response.send_message(text)

    return [command.name for command in await bot.tree.sync()]


async def webhook(channel: str, content: str) -> str:
    made = await bot.get_channel(int(channel)).create_webhook(name="messenger")
    sent = await made.send(content, username="Messenger", wait=True)
    await made.delete()
    return str(sent.id)


async def manage(guild: str, user: str) -> dict[str, Any]:
    """Make a role, a channel and an invite; give the role to a member; ban and unban them."""
    place = bot.get_guild(int(guild))
    role = await place.create_role(name="helper", permissions=discord.Permissions(manage_messages=True))
    member = await place.fetch_member(int(user))
    await member.add_roles(role)
    has_role = role.id in [one.id for one in (await place.fetch_member(int(user))).roles]
    made = await place.create_text_channel("bots", topic="for bots")
    invite = await made.create_invite(max_age=60)
    await made.edit(topic="changed")
    topic = (await bot.fetch_channel(made.id)).topic
    await made.delete()
    await place.ban(member, reason="a trial")
    banned = [str(entry.user.id) async for entry in place.bans()]
    await place.unban(member)
    return {"has_role": has_role, "invite": bool(invite.code), "topic": topic, "banned": banned}


verbs = {
    "send": send, "burst": burst, "reply": reply, "edit": edit, "delete": delete, "react": react, "type": type_in,
    "fetch": fetch, "page": page, "pin": pin, "dm": direct, "members": members, "bulk_delete": bulk_delete,
    "commands": sync_commands, "webhook": webhook, "manage": manage,
}  # fmt: skip


async def main() -> None:
    discord.utils.setup_logging()
    async with bot:
        running = asyncio.create_task(bot.start(token))
        serving = asyncio.create_task(serve(verbs))
        await asyncio.wait((running, serving), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()


asyncio.run(main())
