"""What is to be done, and what came of it: the values that the load's processes tell each other.

Core. A run has one `Company`, which comes online once, and one or more `Stage`s, in each of which it does something.
"""

from __future__ import annotations

from typing import Final

import msgspec

from deploy.load.counts import Counts
from deploy.load.heard import Tally
from deploy.load.pace import Pace


class Place(msgspec.Struct, frozen=True):
    """A channel, of a group or direct, and who is in it, by their places among all users."""

    channel_id: str
    members: tuple[int, ...]


class People(msgspec.Struct, frozen=True):
    """Who takes part: a token for each user, and where they meet, the busiest place first."""

    tokens: tuple[str, ...]
    places: tuple[Place, ...]


class Stage(msgspec.Struct, frozen=True):
    """Something to do for `seconds`."""

    seconds: float
    messages: Pace
    pages: Pace
    zipf: float = 1.0
    is_bursty: bool = True
    readers_places: int = 1
    """Pages are read of so many of the busiest places."""
    churn_per_s: float = 0.0
    """Sessions that break off or leave each second, and come again."""
    storm_s: float = 0.0
    """Each so many seconds all connections break at once; 0: never."""


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """To a worker: bring your part of the people online. First of all, and once."""

    number: int
    workers: int
    gateways: tuple[str, ...]
    rest: str
    people: People
    opening: int
    tells_positions: bool
    seed: int


class Do(msgspec.Struct, frozen=True, tag="do"):
    """To a worker: do your part of this, from then on; what you did before is over."""

    stage: Stage
    begin_us: int


class Hush(msgspec.Struct, frozen=True, tag="hush"):
    """To a worker: do nothing more. Answered by a `Report` and `Heads`."""


class Compare(msgspec.Struct, frozen=True, tag="compare"):
    """To a worker: say how far your sessions are behind this. Answered by `Behind`."""

    heads: dict[str, int]


class End(msgspec.Struct, frozen=True, tag="end"):
    """To a worker: count what is lost, leave. Answered by `Ended`."""

    heads: dict[str, int]


class Report(msgspec.Struct, frozen=True, tag="report"):
    """From a worker, each second: sums since its begin, and latencies of this second."""

    online: int
    here: int
    unanswered: int
    counts: Counts
    tally: Tally
    deliveries: dict[int, int]
    acks: dict[int, int]
    joins: dict[int, int]
    pages: dict[int, int]
    cpu_s: float
    memory: int


class Heads(msgspec.Struct, frozen=True, tag="heads"):
    """From a worker: the last seq that any of its sessions was told, by channel id; messages without an answer."""

    heads: dict[str, int]
    unanswered: int


class Behind(msgspec.Struct, frozen=True, tag="behind"):
    """From a worker: events that its sessions have still to hear."""

    events: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """From a worker: its last words."""

    report: Report


ToWorker = Begin | Do | Hush | Compare | End
FromWorker = Report | Heads | Behind | Ended

PROFILES: Final[dict[str, str]] = {
    "idle": "sessions that only live",
    "chat": "groups by Zipf's law, bursts and authors as in real channels",
    "even": "the same rate in each group, without bursts: the dearest for what is stored",
    "hot": "one group that all are in",
    "pairs": "direct channels of two",
    "storm": "chat while all connections break, again and again",
    "readers": "pages of one channel, while it is written to",
    "mixed": "chat, pages of ten channels, and people who come and go",
}
"""What the company may do, by name."""


def stage_of(profile: str, messages: Pace, *, pages: Pace, churn_per_s: float, storm_s: float) -> Stage:
    """Return the stage of a profile. Raises `KeyError` for a name that is none."""
    nothing = Pace(0, 0, messages.seconds)
    stages = {
        "idle": Stage(messages.seconds, nothing, nothing),
        "chat": Stage(messages.seconds, messages, nothing),
        "even": Stage(messages.seconds, messages, nothing, zipf=0, is_bursty=False),
        "hot": Stage(messages.seconds, messages, nothing, is_bursty=False),
        "pairs": Stage(messages.seconds, messages, nothing),
        "storm": Stage(messages.seconds, messages, nothing, storm_s=storm_s),
        "readers": Stage(messages.seconds, messages, pages),
        "mixed": Stage(messages.seconds, messages, pages, readers_places=10, churn_per_s=churn_per_s),
    }
    return stages[profile]
