"""Which faults happen when: a plan from a seed, the same for the same seed.

Core. Every kind of fault for every kind of process is a card of a deck; decks are shuffled and dealt one after the
other, so a long run meets all of them, and faults last into each other as chance has it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec

SERVERS: Final = ("rabbitmq", "redis", "mongo", "nginx")
SERVICES: Final = ("gateway", "history", "groups")
DOOR: Final = "door"
"""The connections of clients to the front door."""
CARDS: Final = (
    *(("kill", one) for one in (*SERVICES, "gateway", *SERVERS)),
    *(("stop", one) for one in (*SERVICES, *SERVERS)),
    *(("drain", one) for one in SERVICES),
    *(("restart", one) for one in SERVERS),
    *(("cut", one) for one in (DOOR, "rabbitmq", "redis", "mongo", "history.rabbitmq", "gateway.rabbitmq")),
    *(("delay", one) for one in (DOOR, "gateway.rabbitmq", "gateway.redis", "history.mongo", "groups.mongo")),
    *(("silence", one) for one in (DOOR, "gateway.rabbitmq", "gateway.redis", "history.rabbitmq", "groups.mongo")),
    *(("partition", one) for one in SERVICES),
    ("overtake", "history"),
)
"""Kind and kind of target: a service (one of its processes), a server, or a link: of clients to the door, of all to a
server, of one process to a server. A kill is -9; a stop is SIGSTOP, and SIGCONT after a while; drain and restart are an
operator's; a cut resets connections; a delay slows each way; a silence lets nothing through and closes nothing; a
partition cuts a host off from all others; who is to be overtaken writes late, and loses its shards again and again
while its writes are on their way."""
ROLLS: Final = tuple(("roll", one) for one in SERVICES)
"""Rolling restarts: all processes of a service are drained and started again, one after the other. They take long, so
they are in the deck only where they are asked for."""
_SECONDS: Final[Mapping[str, tuple[float, float]]] = {
    "stop": (1.0, 15.0),
    "delay": (4.0, 12.0),
    "silence": (3.0, 20.0),
    "partition": (4.0, 25.0),
    "overtake": (6.0, 12.0),
}
"""RabbitMQ gives up who is silent for about 9 s: some are noticed, some are not."""
_LATENCY_S: Final[Mapping[str, tuple[float, float]]] = {"delay": (0.02, 1.0), "overtake": (0.4, 1.2)}
_REST_S: Final[Mapping[str, float]] = {"rabbitmq": 6.0, "mongo": 4.0}
"""What takes long to start is left in peace for longer."""
_FIRST_S: Final = 2.0


class Fault(msgspec.Struct, frozen=True):
    """One fault: `at` seconds from the begin, lasting so long. `latency_s` is a delay's."""

    number: int
    at: float
    kind: str
    target: str
    seconds: float = 0.0
    latency_s: float = 0.0

    def __str__(self) -> str:
        lasts = f" for {self.seconds:.1f} s" if self.seconds else ""
        latency = f" by {1000 * self.latency_s:.0f} ms" if self.latency_s else ""
        return f"{self.kind} {self.target}{latency}{lasts}"


def plan_of(
    seed: int, seconds: float, every_s: float, counts: Mapping[str, int], only: Sequence[str] = ()
) -> tuple[Fault, ...]:
    """Return the faults of a run that takes so long, about one each `every_s`; the last one ends in time.

    `counts`: processes of each service. `only`: patterns of cards, `kind:target` (`kill:*`, `delay:history.mongo`).
    Raises `ValueError` for a pattern that means nothing.
    """
    chance = random.Random(seed)  # noqa: S311 (no secret)
    known = (*CARDS, *ROLLS)
    cards = [card for card in known if any(fnmatchcase(":".join(card), pattern) for pattern in only)] or list(CARDS)
    for pattern in only:
        if not any(fnmatchcase(":".join(card), pattern) for card in known):
            raise ValueError(f"no fault is called {pattern}; there are {', '.join(sorted(map(':'.join, known)))}")
    faults: list[Fault] = []
    deck: list[tuple[str, str]] = []
    at = _FIRST_S
    while True:
        if not deck:
            deck = list(cards)
            chance.shuffle(deck)
        kind, what = deck.pop()
        lasts = chance.uniform(*_SECONDS[kind]) if kind in _SECONDS else 0.0
        latency = chance.uniform(*_LATENCY_S[kind]) if kind in _LATENCY_S else 0.0
        target = what if kind == "roll" else _one_of(what, counts, chance)
        if at >= seconds:
            return tuple(faults)
        faults.append(Fault(len(faults) + 1, at, kind, target, min(lasts, seconds - at), latency))
        is_away = kind in ("kill", "restart")
        at += every_s * chance.uniform(0.4, 1.6) + (_REST_S.get(target, 0.0) if is_away else 0.0)


def _one_of(what: str, counts: Mapping[str, int], chance: random.Random) -> str:
    """Choose the process where a service is meant."""
    service, _, server = what.partition(".")
    if service not in counts:
        return what
    name = f"{service}-{chance.randint(1, counts[service])}"
    return f"{name}.{server}" if server else name
