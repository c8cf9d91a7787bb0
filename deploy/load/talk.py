"""Talk: who says something next, where, and when it is due.

A client's shell around `deploy.load.habits` and `deploy.load.pace`. Groups are drawn by Zipf's law, and each minute
anew by how bursty real channels are; who speaks by how much the members of real channels do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.load.crowd import Crowd
from deploy.load.habits import BURSTS, Urn, author_weights, drawn, text_of, zipf_weights
from deploy.load.pace import Pace
from deploy.load.plan import Place
from deploy.load.session import Session, now_us

_MINUTE_US: Final = 60_000_000
_ENOUGH: Final = 0.001
_TEXTS: Final = 512
"""Texts that are drawn beforehand, so that making them up costs nothing while it counts."""
_LOOK_S: Final = 0.001


@dataclass(frozen=True)
class _Circle:
    """Those of a place who are here."""

    channel_id: str
    members: Sequence[Session]
    authors: Urn


class Talk:
    """What the sessions of one process say. `zipf`: how unlike the places are, 0 not at all."""

    def __init__(self, crowd: Crowd, places: Sequence[Place], *, zipf: float, is_bursty: bool, seed: int) -> None:
        self._crowd = crowd
        self._chance = random.Random(seed)  # noqa: S311 (no secret)
        here: Mapping[int, Session] = crowd.sessions
        self._circles: list[_Circle] = []
        self._weights: list[float] = []
        for place, weight in zip(places, zipf_weights(len(places), zipf), strict=True):
            if members := [here[number] for number in place.members if number in here]:
                authors = Urn(author_weights(len(members)), self._chance)
                self._circles.append(_Circle(place.channel_id, members, authors))
                self._weights.append(weight)
        self._is_bursty = is_bursty
        self._texts = [text_of(self._chance) for _ in range(_TEXTS)]
        self._urn = Urn(self._weights, self._chance)
        self._drawn_us = 0

    async def run(self, pace: Pace, begin_us: int) -> None:
        """Talk until cancelled."""
        said = 0
        while self._circles:
            said += 1
            due_us = begin_us + int(min(pace.due_s(said), 1e6) * 1e6)
            left_s = (due_us - now_us()) / 1e6
            if left_s > _LOOK_S or said % 64 == 0:
                await asyncio.sleep(max(0.0, left_s))
            self._say(due_us)

    def _say(self, due_us: int) -> None:
        if self._is_bursty and due_us >= self._drawn_us + _MINUTE_US:
            self._drawn_us = due_us
            weights = [weight * (drawn(BURSTS, self._chance) + _ENOUGH) for weight in self._weights]
            self._urn = Urn(weights, self._chance)
        circle = self._circles[self._urn.draw()]
        author = circle.members[circle.authors.draw()]
        if not author.say(circle.channel_id, self._chance.choice(self._texts), due_us):
            self._crowd.counts.withheld += 1
