"""A bot on hikari, doing what `lines` is asked for. `python hikari_bot.py URL TOKEN`."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import hikari
from lines import serve, tell, tell_dispatch

url, token = sys.argv[1:3]
bot = hikari.GatewayBot(token, intents=hikari.Intents.ALL, rest_url=f"{url}/api/v10", banner=None, logs=None)
rest = bot.rest


@bot.listen()
async def on_payload(event: hikari.ShardPayloadEvent) -> None:
    tell_dispatch(event.name, None, dict(event.payload))


@bot.listen()
async def on_ready(event: hikari.StartedEvent) -> None:
    tell("ready", user=str(bot.get_me().id), guilds=[str(one) for one in bot.cache.get_guilds_view()])


@bot.listen()
async def on_resumed(event: hikari.ShardResumedEvent) -> None:
    tell("resumed")


@bot.listen()
async def on_message(event: hikari.MessageCreateEvent) -> None:
    tell("message", message=str(event.message_id), content=event.content, author=str(event.author_id))


async def send(channel: str, content: str, nonce: str | None = None) -> str:
    more = {"nonce": nonce} if nonce is not None else {}
    return str((await rest.create_message(int(channel), content, **more)).id)


async def burst(channel: str, contents: list[str]) -> list[str]:
    return await asyncio.gather(*(send(channel, content) for content in contents))


async def reply(channel: str, message: str, content: str) -> str:
    sent = await rest.create_message(int(channel), content, reply=int(message))
    return str(sent.message_reference.id)


async def edit(channel: str, message: str, content: str) -> str:
    return (await rest.edit_message(int(channel), int(message), content)).content


async def delete(channel: str, message: str) -> None:
    await rest.delete_message(int(channel), int(message))


async def react(channel: str, message: str, emoji: str) -> list[Any]:
    await rest.add_reaction(int(channel), int(message), emoji)
    fetched = await rest.fetch_message(int(channel), int(message))
    return [[str(one.emoji), one.count, one.is_me] for one in fetched.reactions]


async def type_in(channel: str) -> None:
    await rest.trigger_typing(int(channel))


async def fetch(channel: str, message: str) -> str:
    return (await rest.fetch_message(int(channel), int(message))).content


async def page(channel: str, how: str = "", cursor: str | None = None, limit: int = 50) -> list[str]:
    where = {how: int(cursor)} if cursor else {}
    return [str(one.id) for one in await rest.fetch_messages(int(channel), **where).limit(limit)]


async def pin(channel: str, message: str) -> list[str]:
    await rest.pin_message(int(channel), int(message))
    return [str(one.message.id) async for one in rest.fetch_pins(int(channel))]


async def direct(user: str, content: str) -> str:
    channel = await rest.create_dm_channel(int(user))
    return str((await rest.create_message(channel, content)).id)


async def members(guild: str) -> list[str]:
    fetched = [str(one.id) async for one in rest.fetch_members(int(guild))]
    with bot.stream(hikari.MemberChunkEvent, timeout=10).filter(lambda event: event.nonce == "all") as stream:
        await bot.request_guild_members(int(guild), nonce="all")
        chunked: list[str] = []
        async for event in stream:
            chunked += [str(one) for one in event.members]
            if event.chunk_index + 1 == event.chunk_count:
                break
    return fetched if sorted(fetched) == sorted(chunked) else [*fetched, "chunked:", *chunked]


async def bulk_delete(channel: str, messages: list[str]) -> None:
    await rest.delete_messages(int(channel), [int(one) for one in messages])


async def sync_commands() -> list[str]:
    application = await rest.fetch_application()
    option = hikari.CommandOption(type=hikari.OptionType.STRING, name="text", description="What", is_required=True)
    command = rest.slash_command_builder("echo", "Say it again").add_option(option)
    return [one.name for one in await rest.set_application_commands(application, [command])]


async def webhook(channel: str, content: str) -> str:
    made = await rest.create_webhook(int(channel), "messenger")
    sent = await made.execute(content, username="Messenger")
    await rest.delete_webhook(made)
    return str(sent.id)


async def manage(guild: str, user: str) -> dict[str, Any]:
    """Make a role, a channel and an invite; give the role to a member; ban and unban them."""
    place, person = int(guild), int(user)
    role = await rest.create_role(place, name="helper", permissions=hikari.Permissions.MANAGE_MESSAGES)
    await rest.add_role_to_member(place, person, role)
    has_role = role.id in (await rest.fetch_member(place, person)).role_ids
    made = await rest.create_guild_text_channel(place, "bots", topic="for bots")
    invite = await rest.create_invite(made, max_age=60)
    await rest.edit_channel(made, topic="changed")
    topic = (await rest.fetch_channel(made)).topic
    await rest.delete_channel(made)
    await rest.ban_user(place, person, reason="a trial")
    banned = [str(entry.user.id) async for entry in rest.fetch_bans(place)]
    await rest.unban_user(place, person)
    return {"has_role": has_role, "invite": bool(invite.code), "topic": topic, "banned": banned}


verbs = {
    "send": send, "burst": burst, "reply": reply, "edit": edit, "delete": delete, "react": react, "type": type_in,
    "fetch": fetch, "page": page, "pin": pin, "dm": direct, "members": members, "bulk_delete": bulk_delete,
    "commands": sync_commands, "webhook": webhook, "manage": manage,
}  # fmt: skip


async def main() -> None:
    logging.basicConfig(level=logging.INFO)
    serving = asyncio.create_task(serve(verbs))
    await bot.start(check_for_updates=False)
    ended = asyncio.create_task(bot.join())
    await asyncio.wait((serving, ended), return_when=asyncio.FIRST_COMPLETED)
    await bot.close()


asyncio.run(main())
