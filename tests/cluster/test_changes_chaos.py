"""Edits and deletions while the processes that do them are killed: what was answered holds, and nothing happens twice.

A person asks again where it is not known what became of a change. A model keeps for each message all that it may be:
one thing after an answer, two after none.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.cluster.behind import Behind, listed, open_cluster, wait_until
from tests.journeys.people import Door, Person, open_people

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("cluster_servers"), pytest.mark.timeout(300)]

WRITERS = ("history-1", "history-2")
KILLS = 3
DELETED = None


@dataclass
class Channel:
    """One channel through the eyes of its only author."""

    author: Person
    path: str
    may_be: dict[str, set[str | None]] = field(default_factory=dict)
    """By message: its contents as far as known; `DELETED` if it may be gone."""

    async def ask(self, method: str, path: str = "", **body: Any) -> httpx.Response | None:
        """Ask once; None if nobody could say what became of it."""
        url = f"{self.author.door.history}/api/v10{self.path}{path}"
        headers = {"Authorization": self.author.token}
        try:
            answer = await self.author.http.request(method, url, json=body or None, headers=headers)
        except httpx.TransportError:
            answer = None
        if answer is None or answer.status_code >= 500:
            return None
        return answer

    async def write(self, number: int) -> None:
        """Write a message, by one nonce until it is answered."""
        nonce = uuid4().hex[:20]
        while (answer := await self.ask("POST", content=f"{number}", nonce=nonce, enforce_nonce=True)) is None:
            await asyncio.sleep(0.1)
        assert answer.status_code == 200, answer.text
        self.may_be[answer.json()["id"]] = {f"{number}"}

    async def edit(self, message_id: str, content: str) -> None:
        """Edit a message, once."""
        answer = await self.ask("PATCH", f"/{message_id}", content=content)
        before = self.may_be[message_id]
        if answer is None:
            before.add(content)
        elif answer.status_code == 404:
            assert DELETED in before
            self.may_be[message_id] = {DELETED}
        else:
            assert (answer.status_code, answer.json()["content"]) == (200, content)
            assert before != {DELETED}
            self.may_be[message_id] = {content}

    async def delete(self, message_id: str) -> None:
        """Delete a message, once."""
        answer = await self.ask("DELETE", f"/{message_id}")
        if answer is None:
            self.may_be[message_id].add(DELETED)
        else:
            # The front door asks another process where one died: it may find the message gone already.
            assert answer.status_code in {204, 404}
            self.may_be[message_id] = {DELETED}

    async def meddle(self, chance: random.Random) -> None:
        """Change something, or write something new."""
        there = [one for one, may_be in self.may_be.items() if may_be != {DELETED}]
        match chance.randrange(10):
            case 0 | 1 | 2 | 3:
                await self.edit(chance.choice(there), uuid4().hex)
            case 4 | 5 if len(there) > 3:
                await self.delete(chance.choice(there))
            case _:
                await self.write(chance.randrange(1_000_000))

    async def require_true(self) -> None:
        """Hold pages and events to what is known, and to each other."""
        channel_id = self.path.split("/")[2]
        page = {message["id"]: message["content"] for message in await self.author.read_all(channel_id)}
        for message_id, may_be in self.may_be.items():
            assert page.get(message_id, DELETED) in may_be, message_id
        assert page.keys() <= self.may_be.keys(), "nothing was written twice"
        events = await self.author.events(channel_id)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        left: dict[str, str] = {}
        for event in events:
            match event["t"]:
                case "MESSAGE_CREATE" | "MESSAGE_UPDATE":
                    left[event["d"]["id"]] = event["d"]["content"]
                case "MESSAGE_DELETE":
                    left.pop(event["d"]["id"], None)
        assert left == page, "the events come to what the pages show"
        deletions = [event["d"]["id"] for event in events if event["t"] == "MESSAGE_DELETE"]
        assert len(deletions) == len(set(deletions)), "nothing was deleted twice"


async def kill_and_wait(behind: Behind, name: str) -> None:
    """Kill a process, and wait until it is started and ready again."""
    starts = listed(behind.data, "starts")[name]
    await behind.kill(name)()
    await wait_until(lambda: listed(behind.data, "starts")[name] > starts, 60)
    await behind.wait_all_ready()


async def test_changes_hold_whoever_dies(tmp_path: Path) -> None:
    """History processes are killed in turn, all the time, while four channels are written to and changed."""
    counts = {"groups": 1, "history": 2, "gateway": 1}
    async with open_cluster(tmp_path, counts, STARLING_GATEWAY__SEND_TIMEOUT="PT2S") as behind:
        door = Door(behind.url, behind.url, (behind.url,))
        async with open_people(door, "ada") as (ada,):
            groups = [await ada.create_group(f"Chaos {uuid4().hex[:8]}") for _ in range(4)]
            channels = [Channel(ada, f"/channels/{group['channels'][0]['id']}/messages") for group in groups]

            over = asyncio.Event()

            async def talk(channel: Channel, seed: int) -> None:
                chance = random.Random(seed)  # noqa: S311 (no secret)
                for number in range(5):
                    await channel.write(number)
                while not over.is_set():
                    await channel.meddle(chance)

            async with asyncio.TaskGroup() as tasks:
                for seed, channel in enumerate(channels):
                    tasks.create_task(talk(channel, seed))
                for number in range(KILLS):
                    await kill_and_wait(behind, WRITERS[number % 2])
                over.set()
            for channel in channels:
                await channel.require_true()
