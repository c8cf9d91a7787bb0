"""What people do in a run: they say what a log or chance has them say, join, leave, come back, change and read.

Shells. A room plays a `Script`, from a chat log or invented from a seed, over and over until the run is over; what one
person does in one room is one thing after the other, and different people do things at the same time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from typing import Final

from deploy.replay.rest import GaveUp
from deploy.replay.script import OWNER, Join, Leave, Say, Script, Step
from tests.chaos.history import PIN
from tests.chaos.people import ANSWER_S, Person, Room, World

ROOMS: Final = (3, 6, 8, 12, 20)
"""How many people the invented rooms have."""
_AT_ONCE: Final = 64
"""Things that are under way in one room; the next one waits."""
_BY_REST: Final = 0.25
_AGAIN: Final = 0.1
_EDITED: Final = 0.06
_DELETED: Final = 0.02
_REACTED: Final = 0.08
_PINNED: Final = 0.2
"""Of what the owner of a group says, since nobody else may."""
_TAKEN_BACK: Final = 0.4
_EMOJI: Final = ("🌱", "👍")
_KICKED: Final = 0.5
_LOOK_S: Final = 0.5
_AWAY_S: Final = (0.5, 4.0)
_MEMORY: Final = 64
"""How many messages of a room are remembered to be changed."""


def invented(seed: int, people: int, says_per_move: int = 25) -> Script:
    """Return a script of so many people in which all but the owner and one more come and go."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    steps: list[Step] = [Join(person) for person in range(1, people)]
    inside = set(range(1, people))
    for line in range(20 * people):
        if people > 2 and line % says_per_move == says_per_move - 1:
            person = chance.randrange(2, people)
            steps.append(Leave(person) if person in inside else Join(person))
            inside ^= {person}
        steps.append(Say(chance.choice([OWNER, *sorted(inside)]), f"line {line}"))
    return Script(f"room {seed}", tuple(f"p{number}" for number in range(people)), tuple(steps), {})


class Play:
    """One room while it is played by `people`, the first of whom owns it. `says` are per second."""

    def __init__(
        self, room: Room, script: Script, people: Sequence[Person], world: World, says: float, seed: int
    ) -> None:
        self.room = room
        self._script = script
        self.people = people
        self._world = world
        self._says = says
        self._chance = random.Random(seed)  # noqa: S311 (no secret)
        self._room_for = asyncio.Semaphore(_AT_ONCE)
        self.said = 0

    @property
    def rounds(self) -> float:
        """How often the script was played so far."""
        return self.said / max(self._script.messages, 1)

    def inside(self) -> list[Person]:
        """Return who is in the group."""
        return [person for person in self.people if person.number in self.room.inside]

    async def run(self, over: asyncio.Event) -> None:
        """Play until it is over, and until all that was begun has come to its end."""
        async with asyncio.TaskGroup() as tasks:
            for step in cycle(self._script.steps):  # who is inside when it begins anew has joined already
                if isinstance(step, Say):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._chance.expovariate(self._says)):
                            await over.wait()
                if over.is_set():
                    return
                await self._room_for.acquire()
                task = tasks.create_task(self._do(step))
                task.add_done_callback(lambda _: self._room_for.release())

    async def _do(self, step: Step) -> None:
        person = self.people[step.person]
        async with person.busy:
            is_inside = person.number in self.room.inside
            try:
                match step:
                    case Say(content=content) if is_inside:
                        await self._say(person, content)
                    case Join() if not is_inside:
                        await person.join(self.room)
                    case Leave() if is_inside and step.person != OWNER:
                        await self._leave(person)
            except GaveUp as failure:
                self._world.unanswered.append(str(failure))

    async def _say(self, person: Person, content: str) -> None:
        chance, room = self._chance, self.room
        nonce = self._world.next_nonce()
        message_id = await person.say(room, nonce, content, ANSWER_S, by_rest=chance.random() < _BY_REST)
        self.said += 1
        if message_id is None:
            return
        if chance.random() < _AGAIN:
            await person.say(room, nonce, content, ANSWER_S, by_rest=chance.random() < _BY_REST)
        room.own[message_id] = person
        if len(room.own) > _MEMORY:
            del room.own[next(iter(room.own))]
        what = chance.random()
        if what < _EDITED + _DELETED:
            message_id = chance.choice([one for one, author in room.own.items() if author is person])
            new = f"edited by {nonce}" if what < _EDITED else None
            if not await person.change(room, message_id, new) or new is None:
                room.own.pop(message_id, None)  # what is not known may still come to be
        elif what < _EDITED + _DELETED + _REACTED:
            await self._mark(person, chance.choice(_EMOJI))
        elif person is room.owner and room.group_id and chance.random() < _PINNED:
            await self._mark(person, PIN)

    async def _mark(self, person: Person, mark: str) -> None:
        """React to a message of the room or pin it, or take that back from one."""
        chance, room = self._chance, self.room
        known = [(one, its) for one, its, who in sorted(room.marks) if who == person.number and one in room.own]
        if known and chance.random() < _TAKEN_BACK:
            (message_id, mark), on = chance.choice(known), False
        else:
            message_id, on = chance.choice(list(room.own)), True
        if not await person.mark(room, message_id, mark, on=on):
            room.own.pop(message_id, None)  # as above

    async def _leave(self, person: Person) -> None:
        """Leave, and try what is not allowed any more."""
        await person.leave(self.room, kicked=self._chance.random() < _KICKED)
        for message_id in [one for one, author in self.room.own.items() if author is person]:
            del self.room.own[message_id]
        await person.look(self.room)
        nonce = self._world.next_nonce()
        await person.say(self.room, nonce, "I am out", ANSWER_S, by_rest=self._chance.random() < _BY_REST)


async def look_around(plays: Sequence[Play], over: asyncio.Event, seed: int) -> None:
    """Read the latest messages of one room after the other, by anybody inside, until it is over."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    while not over.is_set():
        await asyncio.sleep(_LOOK_S)
        play = chance.choice(plays)
        if inside := play.inside():
            await chance.choice(inside).look(play.room)


async def come_and_go(
    plays: Sequence[Play], world: World, sessions: asyncio.TaskGroup, over: asyncio.Event, every_s: float, seed: int
) -> None:
    """End a session now and then, first and every second time by logging out, and begin a new one, until it is over.

    Then all have one. They live in `sessions`. Who owns a group does not log out, since others act in that name.
    """
    chance = random.Random(seed)  # noqa: S311 (no secret)
    people = list(dict.fromkeys(person for play in plays for person in play.people))
    owners = {play.room.owner for play in plays if play.room.group_id}
    logs_out = True
    while not over.is_set():
        await asyncio.sleep(chance.expovariate(1 / every_s))
        free = [one for one in people if one not in owners and not one.busy.locked()]
        person = chance.choice(free if logs_out and free else people)
        try:
            async with asyncio.timeout(1):
                await person.session.wait_ready()
        except TimeoutError:
            continue
        if logs_out and person not in owners and not person.busy.locked():
            async with person.busy:
                try:
                    await person.log_out()
                except GaveUp as failure:
                    world.unanswered.append(str(failure))
                    return
            logs_out = False
        else:
            await person.go()
            logs_out = True
        await asyncio.sleep(chance.uniform(*_AWAY_S))
        person.come(sessions)
