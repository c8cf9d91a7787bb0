"""Who takes part: made over REST at any Starling, kept in a file, and come back to.

A client's shell. Users, public groups and direct channels are ordinary ones, with names that begin with a prefix; a
server that limits registrations lets them in slowly, which is honoured. The file holds tokens: it is made for its
owner's eyes only.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from deploy.load.habits import SIZES, drawn
from deploy.load.plan import People, Place
from deploy.replay.rest import Addresses, Counts, Rest, User, new_http_client

_AT_ONCE: Final = 16
_DEADLINE_S: Final = 600.0
_FOR_THE_OWNER: Final = 0o600
_T = TypeVar("_T")


def layout_of(users: int, size: int, groups_each: int) -> list[tuple[int, ...]]:
    """Return who meets: groups of `size` or a little more, each user in `groups_each` of them.

    Each time round they stand in another order, so that few meet twice. Raises `ValueError`.
    """
    if not 1 <= size <= users or groups_each < 1:
        raise ValueError(f"{users} users do not make groups of {size}")
    places: list[tuple[int, ...]] = []
    count = users // size
    for turn in range(groups_each):
        # Members stand `stride` apart: in the first turn neighbours meet, in the next every second, and so on.
        order = [member for first in range(turn + 1) for member in range(first, users, turn + 1)]
        edges = [number * users // count for number in range(count + 1)]
        places += [tuple(order[first:end]) for first, end in pairwise(edges)]
    return places


def real_layout(users: int, seed: int) -> list[tuple[int, ...]]:
    """Return groups as large as real channels are (`habits.SIZES`), each user in one of them."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    edges = [0]
    while users - edges[-1] > SIZES[-1]:
        edges.append(edges[-1] + round(drawn(SIZES, chance)))
    return [tuple(range(first, end)) for first, end in pairwise([*edges, users])]


async def make_people(
    url: str, layout: Sequence[Sequence[int]], users: int, *, are_pairs: bool, on_step: Callable[[str, int, int], None]
) -> People:
    """Register users and let them meet: in public groups, or in direct channels. Raises `deploy.replay.rest.GaveUp`."""
    async with new_http_client() as client:
        rest = Rest(client, Addresses(url, url), Counts(), _DEADLINE_S)
        prefix = f"load{secrets.token_hex(4)}"
        password = secrets.token_urlsafe(12)
        gate = asyncio.Semaphore(_AT_ONCE)
        done = 0

        async def register(number: int) -> User:
            nonlocal done
            async with gate:
                user = await rest.register(f"{prefix}_{number}", password)
            done += 1
            on_step("users registered", done, users)
            return user

        everyone = await _all([register(number) for number in range(users)])
        done = 0

        async def meet(number: int, members: Sequence[int]) -> Place:
            nonlocal done
            some = [everyone[member] for member in members]
            async with gate:
                if are_pairs:
                    channel_id = await rest.open_direct(*some)
                else:
                    group = await rest.create_group(some[0], f"{prefix}_{number}")
                    for one in some[1:]:
                        await rest.join(one, f"{prefix}_{number}")
                    channel_id = group.channel_id
            done += 1
            on_step("places made", done, len(layout))
            return Place(str(channel_id), tuple(members))

        places = await _all([meet(number, members) for number, members in enumerate(layout)])
        return People(tuple(user.token for user in everyone), tuple(places))


def read_people(path: Path) -> People:
    """Read who was made before. Raises `OSError`, `msgspec.MsgspecError`."""
    return msgspec.json.decode(path.read_bytes(), type=People)


def write_people(path: Path, people: People) -> None:
    """Keep who was made. Raises `OSError`."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FOR_THE_OWNER), "wb") as file:
        os.fchmod(file.fileno(), _FOR_THE_OWNER)  # it may have been there
        file.write(msgspec.json.encode(people))


async def _all(some: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(one) for one in some]
    return [task.result() for task in made]
