"""Every RabbitMQ name and argument, as frozen values. The one module that owns them.

Ring 2. docs/adr/0003-one-queue-per-node.md gives the figures behind the choices. Works on RabbitMQ 3.10 and 4.x: only
exclusive or durable queues, no global QoS, no mirrored queues. `shared.bus` says what may be done with
these values, `shared.amqp` declares them.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from shared.core.ids import stable_hash


@dataclass(frozen=True)
class Exchange:
    """A durable exchange. `persistent`: what is published to it survives a restart of the broker.

    `partitions`: at the broker it is so many direct exchanges, and each key belongs to one of them. A publish under
    keys of several is one in each, so a queue may get as many copies.
    """

    name: str
    kind: Literal["direct", "fanout"] = "direct"
    persistent: bool = False
    partitions: int = 1

    def __post_init__(self) -> None:
        if self.partitions > 1 and self.kind != "direct":
            raise ValueError(f"exchange {self.name}: only keys of a direct exchange can be divided")

    @cached_property
    def parts(self) -> tuple["Exchange", ...]:
        """The exchanges that there are at the broker."""
        if self.partitions == 1:
            return (self,)
        return tuple(replace(self, name=f"{self.name}.{number}", partitions=1) for number in range(self.partitions))

    def part_of(self, key: str) -> "Exchange":
        """Return the exchange at the broker that a key belongs to."""
        return self.parts[zlib.crc32(key.encode()) % self.partitions]

    def keys_by_part(self, keys: Sequence[str]) -> dict["Exchange", list[str]]:
        """Return the keys by the exchange that each belongs to, in their order."""
        found: dict[Exchange, list[str]] = {}
        for key in keys:
            found.setdefault(self.part_of(key), []).append(key)
        return found


@dataclass(frozen=True)
class Queue:
    """A queue, and how it is consumed.

    `exclusive`: one consumer's own, gone with its connection; the adapter appends an incarnation to
    the name at each declare, since a re-declare under the old name can meet the half-open old connection.
    `max_bytes`: drop-head above it; a drop is told to an exclusive queue's consumer as a gap (rule 9), else to nobody.
    `single_active`: one consumer at a time gets deliveries, the first to come (durable queues only).
    """

    name: str
    exclusive: bool = False
    quorum: bool = False
    single_active: bool = False
    max_bytes: int = 0

    def __post_init__(self) -> None:
        if self.exclusive and (self.quorum or self.single_active):
            raise ValueError(f"queue {self.name}: an exclusive queue is neither quorum nor single active")
        if self.max_bytes and self.single_active:
            raise ValueError(f"queue {self.name}: bounded would lose what is worked on in order, and tell nobody")


@dataclass(frozen=True)
class Binding:
    """A queue is fed from this exchange under this key."""

    exchange: Exchange
    key: str = ""


@dataclass(frozen=True)
class Topology:
    """The names of one Starling on a broker. `prefix` keeps two of them, or two tests, apart."""

    prefix: str = "starling"
    shards: int = 16
    user_slots: int = 0
    exchange_partitions: int = 1
    node_queue_bytes: int = 64 * 1024 * 1024
    events: Exchange = field(init=False)
    log: Exchange = field(init=False)
    rpc: Exchange = field(init=False)
    invalidate: Exchange = field(init=False)

    def __post_init__(self) -> None:
        for exchange in (
            Exchange("events", partitions=self.exchange_partitions),
            # Commands are acknowledged to nobody before they are stored, but a sender's deadline outlives a restart.
            Exchange("log", persistent=True),
            Exchange("rpc"),
            Exchange("invalidate", kind="fanout"),
        ):
            object.__setattr__(self, exchange.name, replace(exchange, name=f"{self.prefix}.{exchange.name}"))

    def shard_of(self, channel_id: int) -> int:
        """Return the shard of the log that sequences this channel."""
        return stable_hash(channel_id) % self.shards

    def log_key(self, shard: int) -> str:
        """Return the key under which commands reach a shard."""
        return str(shard)

    def log_queue(self, shard: int) -> Queue:
        """Return a shard's queue: durable, replicated, unbounded by design of promise 1; commands expire."""
        return Queue(f"{self.prefix}.log.{shard}", quorum=True, single_active=True)

    def log_bindings(self, shard: int) -> tuple[Binding, ...]:
        """Return what feeds a shard's queue."""
        return (Binding(self.log, self.log_key(shard)),)

    def dead_queue(self) -> Queue:
        """Return the queue of dead letters: durable, replicated; bounded, since only operators consume it."""
        return Queue(f"{self.prefix}.log.dead", quorum=True, max_bytes=64 * 1024 * 1024)

    def dead_bindings(self) -> tuple[Binding, ...]:
        """Return what feeds it: the log, so that a letter survives the broker as a command does."""
        return (Binding(self.log, self.dead_key()),)

    def dead_key(self) -> str:
        """Return the key under which dead letters reach their queue; shards have numbers."""
        return "dead"

    def rpc_queue(self, service: str) -> Queue:
        """Return the queue all replicas of a service compete for: durable; calls expire with their deadline."""
        return Queue(f"{self.prefix}.rpc.{service}")

    def rpc_bindings(self, service: str) -> tuple[Binding, ...]:
        """Return what feeds a service's RPC queue."""
        return (Binding(self.rpc, service),)

    def node_queue(self, node: str) -> Queue:
        """Return a node's queue: exclusive, bounded in bytes. Events its sessions may see, and replies."""
        return Queue(f"{self.prefix}.node.{node}", exclusive=True, max_bytes=self.node_queue_bytes)

    def invalidation_queue(self, process: str) -> Queue:
        """Return the queue of invalidations of a process's service: exclusive, small; a gap costs history look-ups."""
        return Queue(f"{self.prefix}.invalidate.{process}", exclusive=True, max_bytes=4 * 1024 * 1024)

    def replica_queue(self, name: str) -> Queue:
        """Return a replica's queue for what peers and nodes say of themselves: exclusive, small; a loss is none."""
        return Queue(f"{self.prefix}.replica.{name}", exclusive=True, max_bytes=256 * 1024)

    def replicas_key(self, service: str) -> str:
        """Return the key that reaches all replicas of a service."""
        return f"r.{service}"

    def node_key(self, node: str) -> str:
        """Return the key that reaches one node."""
        return f"n.{node}"

    def group_key(self, group_id: int) -> str:
        """Return the key that reaches the nodes with sessions of a group's members."""
        return f"g.{group_id}"

    def user_slot(self, user_id: int) -> int | None:
        """Return the slot whose key a user shares with others; None if each user has a key of its own."""
        return stable_hash(user_id) % self.user_slots if self.user_slots else None

    def user_key(self, user_id: int) -> str:
        """Return the key that reaches the nodes with sessions of a user (or of the user's slot)."""
        slot = self.user_slot(user_id)
        return f"u.{user_id if slot is None else slot}"

    def keys_of(self, group_id: int, to: Iterable[int]) -> tuple[str, ...]:
        """Return the routing keys of an event."""
        if group_id:
            return (self.group_key(group_id),)
        return tuple(dict.fromkeys(self.user_key(user_id) for user_id in to))
