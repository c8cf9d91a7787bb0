"""What users may do, as several processes answer it while it changes: who asks after a change was answered hears it.

Two groups processes share the cache; readers ask each of them, and history, all the time. That holds with all servers
there, with Redis away, and of a process that RabbitMQ has lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.behind import Behind, open_cluster, ports_of
from tests.journeys.people import Door, Person, open_people

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("cluster_servers"), pytest.mark.timeout(300)]

CHANGES = 6
"""Of each kind in each phase."""
ANSWERS = 12
"""Each reader has at least so many that could be judged in each phase."""


class Scene:
    """An owner and a member who is thrown out and comes back, and what is true of that."""

    def __init__(self, behind: Behind, owner: Person, member: Person, group: dict[str, str], channel_id: str) -> None:
        self.owner, self.member, self.group, self.channel_id = owner, member, group, channel_id
        self.groups = [f"http://127.0.0.1:{port}" for port in ports_of(behind.data, "groups")]
        (history,) = ports_of(behind.data, "history")
        self.readers = {
            f"groups-{number}": f"{url}/api/v10/channels/{channel_id}" for number, url in enumerate(self.groups, 1)
        }
        self.readers["history"] = f"http://127.0.0.1:{history}/api/v10/channels/{channel_id}/messages"
        self.epoch = 0
        """Even: nothing is being changed."""
        self.is_in = True
        self.judged: Counter[str] = Counter()

    async def change(self, url: str) -> None:
        """Throw the member out, or let it come back, at this process."""
        self.epoch += 1
        headers = {"Authorization": (self.owner if self.is_in else self.member).token}
        path = f"/guilds/{self.group['id']}/members/{self.member.id}" if self.is_in else "/guilds/join"
        body = None if self.is_in else {"name": self.group["name"]}
        answer = await self.owner.http.request(
            "DELETE" if self.is_in else "POST", f"{url}/api/v10{path}", json=body, headers=headers
        )
        assert answer.status_code < 300, answer.text
        self.is_in = not self.is_in
        self.epoch += 1

    async def read(self, name: str) -> None:
        """Ask one process all the time; judge what was asked and answered while nothing was being changed."""
        while True:
            epoch, is_in = self.epoch, self.is_in
            answer = await self.owner.http.get(self.readers[name], headers={"Authorization": self.member.token})
            if epoch % 2 == 0 and epoch == self.epoch and answer.status_code < 500:
                assert answer.status_code == (200 if is_in else 403), (name, is_in, answer.text)
                self.judged[name] += 1

    async def go_through(self, writers: list[str]) -> None:
        """Change it some times at these processes, each time once every reader was judged a little more."""
        self.judged.clear()
        for number in range(2 * CHANGES):
            await self.change(writers[number % len(writers)])
            for name in self.readers:
                while self.judged[name] * 2 * CHANGES < ANSWERS * (number + 1):
                    await asyncio.sleep(0.005)


async def test_who_asks_after_a_change_hears_it_from_every_process(tmp_path: Path) -> None:
    """Never an older answer, whichever process served the change and whatever is away; and there are answers."""
    counts = {"groups": 2, "history": 1, "gateway": 1}
    async with open_cluster(tmp_path, counts, apart=("groups-2.rabbitmq",)) as behind:
        door = Door(behind.url, behind.url, (behind.url,))
        async with open_people(door, "ann", "ben") as (ann, ben):
            group = await ann.create_group(f"Race {uuid4().hex[:8]}")
            await ben.join(group["name"])
            scene = Scene(behind, ann, ben, group, group["channels"][0]["id"])
            readers = [asyncio.create_task(scene.read(name)) for name in scene.readers for _ in range(2)]
            phases = asyncio.create_task(_phases(behind, scene))
            await asyncio.wait([phases, *readers], return_when=asyncio.FIRST_COMPLETED)
            for task in (*readers, phases):
                task.cancel()
            for outcome in await asyncio.gather(*readers, phases, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome
            assert not phases.cancelled()


async def _phases(behind: Behind, scene: Scene) -> None:
    await scene.go_through(scene.groups)
    behind.servers["redis"].refuse()
    behind.servers["redis"].cut()
    await scene.go_through(scene.groups)
    await behind.servers["redis"].accept()
    behind.servers["groups-2.rabbitmq"].refuse()
    behind.servers["groups-2.rabbitmq"].cut()
    await scene.go_through(scene.groups[:1])
