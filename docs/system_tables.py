"""The tables of docs/ARCHITECTURE.md and docs/operations.md, from topology, schema, settings and metrics.

What the code does not say of itself stands here by name; a name that is missing here is an error.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final

from annotated_types import Ge, Gt, Le
from motor.motor_asyncio import AsyncIOMotorClient
from prometheus_client import Counter, Gauge, Histogram
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from docs.markdown import code, first_line, table
from services.gateway.app import open_gateway
from services.groups.app import open_groups
from services.history.app import open_history
from shared.auth import Tokens
from shared.clock import now_ms
from shared.http import create_app
from shared.lease import MemoryLeases, open_lease
from shared.lifecycle import Supervisor
from shared.memory_bus import MemoryBus
from shared.memory_cache import MemoryCache
from shared.memory_streams import MemoryStreams
from shared.metrics import SECONDS, Metrics
from shared.mongo import Mongo
from shared.mongo_schema import STEPS
from shared.parts import Parts, Storage
from shared.reach import always_there
from shared.settings import Settings
from shared.topology import Exchange, Queue, Topology

_EXCHANGES: Final = {
    "events": "events to nodes, replies to whoever sent a command, signs of life, reports of nodes",
    "log": "commands to the shards, dead letters",
    "rpc": "calls to services",
    "invalidate": "group so-and-so has moved to this seq; signs of life",
}

_QUEUES: Final = {
    "log_queue": ("history, one active consumer", "log", "{shard}"),
    "dead_queue": ("an operator, with `make dead-letters`", "log", "dead"),
    "rpc_queue": ("every replica of the service, in turn", "rpc", "{service}"),
    "node_queue": (
        "one gateway node, or one process that waits for replies",
        "events",
        "n.{node}, g.{group}, u.{user}",
    ),
    "invalidation_queue": ("one replica of groups or history", "invalidate", ""),
    "replica_queue": ("one replica of history", "events", "r.{service}"),
}

_COLLECTIONS: Final = {
    "buckets": "up to 100 messages, 500 changes of a channel or 100 of a group or user, `_id` = stream:first_seq",
    "heads": "where a stream ends, and how far it is projected and published",
    "reactions": "one user's reaction to one message with one emoji, or a tombstone",
    "markers": "up to which message a user has read a channel",
    "pins": "a pinned message, or a tombstone",
    "accounts": "the hash of a password, the state, a proved e-mail address; `_id` = user id",
    "revocations": "which tokens of a user are void",
    "claims": "who has a username, an e-mail address, a public group's name, a pair of users",
    "users": "a user as others see it",
    "blocks": "which user blocks which",
    "codes": "the hash of a code that was sent by e-mail",
    "application_commands": "what a bot offers to call, everywhere or in one group; `_id` = application:group",
    "jobs": "what a change asks for in other streams, until it is done",
    "groups": "a group without members and channels",
    "channels": "a channel, of a group or direct",
    "members": "one user in one group, or a tombstone",
    "tallies": "how many members a group has, and between which ids",
    "roles": "a role of a group that was made or changed, or a tombstone",
    "invites": "a way into a group, `_id` = code, or a tombstone",
    "webhooks": "a way for programs to write into a channel, or a tombstone",
    "audit": "one entry of a group's audit log, `_id` = stream:seq of the change that it is derived from",
    "bans": "a user who may not be in a group, or a tombstone",
    "hidden_directs": "which direct channels a user closed, and up to which message",
    "memberships": "the same from the user's side",
    "workers": "the lease of a worker id for snowflakes",
    "schema": "the version of the schema",
}


def exchanges() -> str:
    """Return the exchanges as declared."""
    topology = Topology()
    rows = []
    for name in (name for name, kind in vars(topology).items() if isinstance(kind, Exchange)):
        exchange: Exchange = getattr(topology, name)
        lasting = "survives the broker" if exchange.persistent else "lost with the broker"
        rows.append((code(exchange.name), exchange.kind, lasting, _EXCHANGES[name]))
    return table(("exchange", "kind", "messages", "carries"), rows)


def queues() -> str:
    """Return the queues as declared, what feeds them and who consumes them."""
    rows = []
    for method, make in inspect.getmembers(Topology(), inspect.ismethod):
        if not method.endswith("_queue"):
            continue
        consumer, exchange, keys = _QUEUES[method]
        parameter = next(iter(inspect.signature(make).parameters), "")
        hole = f"{{{parameter}}}"
        queue: Queue = make(*([0] if parameter == "shard" else [hole] if parameter else []))
        name = queue.name.replace(".0", f".{hole}") if parameter == "shard" else queue.name
        fed = f"{exchange}: {keys}" if keys else exchange
        rows.append((code(name), ", ".join(_properties_of(queue)), code(fed), consumer))
    return table(("queue", "as declared", "fed by", "consumed by"), rows)


def _properties_of(queue: Queue) -> Iterator[str]:
    yield "exclusive, auto-delete" if queue.exclusive else "durable"
    if queue.quorum:
        yield "quorum"
    if queue.single_active:
        yield "single active consumer"
    if queue.max_bytes:
        size = queue.max_bytes
        yield f"at most {f'{size >> 20} MiB' if size >= 1 << 20 else f'{size >> 10} KiB'}"


def collections() -> str:
    """Return the collections: what one document is, and the indexes beside `_id`."""
    indexes: dict[str, list[str]] = {name: [] for name in _COLLECTIONS}
    for step in STEPS:
        for name, its_indexes in step.items():
            indexes[name] += [", ".join(field for field, _ in index.keys) for index in its_indexes]
    rows = [
        (code(name), what, "; ".join(code(index) for index in indexes[name])) for name, what in _COLLECTIONS.items()
    ]
    return table(("collection", "one document", "indexes"), rows)


def settings() -> str:
    """Return every setting: variable, default, meaning."""
    rows = [row for name, field in Settings.model_fields.items() for row in _settings_of("STARLING_", name, field)]
    return table(("variable", "default", "what"), rows)


def _settings_of(prefix: str, name: str, field: FieldInfo) -> Iterator[tuple[str, str, str]]:
    variable = f"{prefix}{name.upper()}"
    if isinstance(field.default, BaseModel):
        for inner, its_field in type(field.default).model_fields.items():
            yield from _settings_of(f"{variable}__", inner, its_field)
        return
    bounds = "".join(_bound_of(one) for one in field.metadata)
    yield code(variable), _default_of(field.default), f"{field.description}{bounds}"


def _bound_of(bound: Any) -> str:
    match bound:
        case Ge(ge):
            return f"; at least {ge}"
        case Gt(gt):
            return f"; above {gt}"
        case Le(le):
            return f"; at most {le}"
    return ""


def _default_of(value: object) -> str:
    match value:
        case SecretStr():
            return "one for local use"
        case timedelta():
            return code(f"PT{value.total_seconds():g}S")
        case bool():
            return code(str(value).lower())
        case tuple():
            return code(list(value))
    return code(value)


_Registered = tuple[str, str, Sequence[str], str]
"""Name, kind, labels, documentation."""


class _Recorder(Metrics):
    """Metrics that remember what was registered."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[_Registered] = []
        self._watched: list[tuple[str, str, Callable[[], Mapping[str, float]]]] = []

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        self._rows.append((f"{name.removesuffix('_total')}_total", "counter", labels, documentation))
        return super().counter(name, documentation, labels)

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        self._rows.append((name, "gauge", labels, documentation))
        return super().gauge(name, documentation, labels)

    def histogram(
        self, name: str, documentation: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        self._rows.append((name, "histogram", labels, documentation))
        return super().histogram(name, documentation, labels, buckets)

    def watch(self, prefix: str, documentation: str, statistics: Callable[[], Mapping[str, float]]) -> None:
        self._watched.append((prefix, documentation, statistics))
        super().watch(prefix, documentation, statistics)

    def rows(self) -> list[_Registered]:
        """Return everything registered, by name."""
        watched: list[_Registered] = [
            (f"{prefix}_{key}", "gauge", (), f"{documentation}: {key.replace('_', ' ')}")
            for prefix, documentation, statistics in self._watched
            for key in statistics()
        ]
        return sorted(self._rows + watched)


def metrics() -> str:
    """Return every metric that a process with all services has, beside the standard ones of process and Python."""
    rows = [
        (code(name), kind, ", ".join(code(label) for label in labels), first_line(documentation))
        for name, kind, labels, documentation in asyncio.run(_registered())
    ]
    return table(("metric", "kind", "labels", "what"), rows)


async def _registered() -> list[_Registered]:
    """Open all services on memory, with a database that is never asked, and return what they registered."""
    ours = Settings.model_construct()
    recorder = _Recorder()
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(connect=False)
    async with AsyncExitStack() as stack:
        stack.callback(client.close)
        lease = await stack.enter_async_context(open_lease(MemoryLeases()))
        parts = Parts(
            settings=ours,
            node="docs",
            now=now_ms,
            metrics=recorder,
            topology=Topology(),
            bus=MemoryBus(),
            cache=MemoryCache(),
            redis=None,
            tokens=Tokens("a secret of thirty-two characters"),
            supervisor=await stack.enter_async_context(Supervisor("docs")),
            stored=Storage(Mongo(client["docs"], 1.0), MemoryStreams(), lease, always_there()),
        )
        await stack.enter_async_context(open_groups(ours, parts))
        await stack.enter_async_context(open_history(ours, parts))
        await stack.enter_async_context(open_gateway(ours, parts))
        create_app(ours.http, metrics=recorder).build_middleware_stack()
        return recorder.rows()
