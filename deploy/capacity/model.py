"""The model: from who is there and what they say to how much of everything that takes, and what gives way first.

Core: values in, values out. It adds up what each part costs per message, copy, delivery, session and join (`costs`),
and divides by how busy a process may be. It knows no queues: it says how much work there is, not how long it waits,
so it leaves each process two fifths of its core.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from deploy.capacity import costs

_DAY_S: Final = 86_400
_MONTH_DAYS: Final = 30
_MICRO: Final = 1e-6
_FEWEST: Final = 2
"""Of each service: one may die."""


@dataclass(frozen=True)
class Workload:
    """Who is there, and what they do. The defaults are assumptions, not measurements."""

    users: int
    messages_per_user_day: float
    group_size: float
    groups_each: float = 3.0
    online_share: float = 0.25
    """of all users, at the busiest hour; and so of the members of a group"""
    peak: float = 3.0
    """messages per second at the busiest hour, over the day's mean"""
    joins_per_user_day: float = 8.0

    @property
    def online(self) -> float:
        """Sessions at the busiest hour."""
        return self.users * self.online_share

    @property
    def messages_per_s(self) -> float:
        """Messages at the busiest hour."""
        return self.users * self.messages_per_user_day / _DAY_S * self.peak

    @property
    def listeners(self) -> float:
        """Sessions that hear one message, its author's own among them."""
        return max(1.0, self.group_size * self.online_share)

    @property
    def deliveries_per_s(self) -> float:
        """Frames to sessions at the busiest hour."""
        return self.messages_per_s * self.listeners

    @property
    def joins_per_s(self) -> float:
        """Sessions that come at the busiest hour."""
        return self.users * self.joins_per_user_day / _DAY_S * self.peak


@dataclass(frozen=True)
class Machines:
    """What may be taken, and how full it may be."""

    busy: float = 0.6
    """of a core that one process may use at the busiest hour"""
    sessions_per_gateway: int = 10_000
    """as many as were measured; a process may open 20,000 files where they were"""
    database_cores: int = 16
    """of the machine that the primary is on"""
    broker_cores: int = 16
    """of the machines of one RabbitMQ cluster that work at the same time"""


@dataclass(frozen=True)
class Work:
    """Cores of work at the busiest hour, by part. `copies`: nodes that an envelope goes to."""

    gateway: float
    nginx: float
    history: float
    groups: float
    database: float
    broker: float
    redis: float
    copies: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum((self.gateway, self.nginx, self.history, self.groups, self.database, self.broker, self.redis))


@dataclass(frozen=True)
class Limit:
    """Something there is one of: how full it is at the busiest hour, and with how many users it is just full."""

    name: str
    full: float
    users: float
    then: str
    """what to do about it"""


@dataclass(frozen=True)
class Estimate:
    """What a workload takes."""

    gateways: int
    histories: int
    groups: int
    shards: int
    work: Work
    gateway_memory: float
    """bytes, of one node"""
    nginx_memory: float
    storage_per_month: float
    """bytes of messages that a month adds, one copy"""
    storage_of_users: float
    network: float
    """bytes per second to clients"""
    limits: tuple[Limit, ...]
    """what can't be had twice in this release, the fullest first"""


def work_of(load: Workload, gateways: int) -> Work:
    """Return the cores of work when there are so many gateways."""
    said, heard, joins = load.messages_per_s, load.deliveries_per_s, load.joins_per_s
    # Listeners are spread by chance: a node gets a copy unless all of them are on others.
    copies = gateways * (1 - (1 - 1 / gateways) ** load.listeners)
    come = {part: joins * us * _MICRO for part, us in costs.JOIN_US.items()}
    return Work(
        gateway=_MICRO
        * (
            heard * costs.GATEWAY_DELIVERY_US
            + said * (costs.GATEWAY_SEND_US + copies * costs.GATEWAY_COPY_US)
            + load.online * costs.GATEWAY_SESSION_US_PER_S
        )
        + come["gateway"],
        nginx=_MICRO * heard * costs.NGINX_DELIVERY_US,
        history=_MICRO * said * costs.HISTORY_US + come["history"],
        groups=_MICRO * said * costs.GROUPS_US + come["groups"],
        database=_MICRO * said * costs.DATABASE_US + come["database"],
        broker=_MICRO * said * (costs.BROKER_US + copies * costs.BROKER_COPY_US) + come["broker"],
        redis=_MICRO * said * costs.REDIS_US + come["redis"],
        copies=copies,
    )


def gateways_of(load: Workload, machines: Machines) -> int:
    """Return the fewest gateways that are enough: with more of them each has less to do, though all have more."""

    def is_enough(count: int) -> bool:
        return load.online <= count * machines.sessions_per_gateway and (
            work_of(load, count).gateway <= count * machines.busy
        )

    few, enough = _FEWEST - 1, _FEWEST
    while not is_enough(enough):
        few, enough = enough, 2 * enough
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if is_enough(middle) else (middle, enough)
    return enough


def estimate(load: Workload, machines: Machines) -> Estimate:
    """Return what a workload takes, at its busiest hour."""
    gateways = gateways_of(load, machines)
    work = work_of(load, gateways)
    histories = max(_FEWEST, math.ceil(work.history / machines.busy))
    return Estimate(
        gateways,
        histories,
        max(_FEWEST, math.ceil(work.groups / machines.busy)),
        shards_of(histories),
        work,
        gateway_memory=costs.GATEWAY_BASE_BYTES + load.online / gateways * costs.GATEWAY_SESSION_BYTES,
        nginx_memory=load.online * costs.NGINX_SESSION_BYTES,
        storage_per_month=load.users * load.messages_per_user_day * _MONTH_DAYS * costs.MESSAGE_BYTES,
        storage_of_users=load.users * load.groups_each * costs.MEMBERSHIP_BYTES,
        network=load.deliveries_per_s * costs.FRAME_BYTES,
        limits=limits_of(load, machines, work, gateways),
    )


def limits_of(load: Workload, machines: Machines, work: Work, gateways: int) -> tuple[Limit, ...]:
    """Return what there is one of, the fullest first."""
    # One group's talk is one channel's: one shard, one worker.
    group_per_s = load.messages_per_s / max(1.0, load.users * load.groups_each / load.group_size)
    copy_us = costs.GATEWAY_COPY_US + load.listeners / work.copies * costs.GATEWAY_DELIVERY_US
    full = {
        "the database's primary": (
            work.database / (machines.database_cores * machines.busy),
            "shard the collections by stream, or give history a database for each part of the shards",
        ),
        "one RabbitMQ cluster": (
            work.broker / (machines.broker_cores * machines.busy),
            "more cores for it; then a cluster for each part of the shards",
        ),
        "Redis": (work.redis / machines.busy, "Redis Cluster: keys are independent"),
        "shards, of which there are at most 256": (
            work.history / machines.busy / costs.MOST_SHARDS,
            "larger batches: a busy worker needs less for each message",
        ),
        "one gateway's share of copies": (
            load.messages_per_s * work.copies / gateways * copy_us * _MICRO / machines.busy,
            "more gateways, while a group's listeners are on fewer of them than there are",
        ),
        "one channel, with all of its group's talk": (
            group_per_s * costs.HISTORY_US * _MICRO / machines.busy,
            "slow mode; a channel's order is one worker's",
        ),
    }
    found = [
        Limit(name, share, load.users / share if share else math.inf, then) for name, (share, then) in full.items()
    ]
    return tuple(sorted(found, key=lambda limit: -limit.full))


def shards_of(histories: int) -> int:
    """Return how many shards to begin with, since they are fixed then: four for each worker, twofold to grow."""
    wanted = max(costs.FEWEST_SHARDS, 8 * histories)
    return min(costs.MOST_SHARDS, 1 << math.ceil(math.log2(wanted)))


def measured(users: int, messages_per_s: float, size: float) -> Workload:
    """Return the workload of a run in which all users are online and nobody comes or goes."""
    load = Workload(users, 0.0, size, groups_each=1, online_share=1, peak=1, joins_per_user_day=0)
    return replace(load, messages_per_user_day=messages_per_s * _DAY_S / users)
