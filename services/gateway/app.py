"""The gateway service, put together: hub, following, sending, delivery, connections, routes.

Ring 5 (composition). `open_gateway` starts everything in the process's supervisor; `connection_factory` is what
uvicorn makes WebSocket connections with (its `ws=` option); `router` reaches the service as `app.state.gateway`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from services.gateway.asking import Asking
from services.gateway.backlog import Backlog
from services.gateway.bindings import Bindings
from services.gateway.checkpointing import Checkpointing, checkpoints_kept
from services.gateway.comparing import Comparing
from services.gateway.connection import Connection
from services.gateway.core.admission import UNLIMITED, Admission, Proxies
from services.gateway.core.fresh import Fresh
from services.gateway.core.hub import Hub
from services.gateway.core.positions import Moves
from services.gateway.core.replay import ReplayLog
from services.gateway.core.session import SessionRules
from services.gateway.core.steering import gateway_url
from services.gateway.delivery import Delivery
from services.gateway.fanout import Fanout
from services.gateway.flushing import Flusher
from services.gateway.following import Following
from services.gateway.loop_lag import LoopLag
from services.gateway.marking import Marking
from services.gateway.memory_registry import MemoryRegistry
from services.gateway.memory_trails import MemoryTrails
from services.gateway.node import Node
from services.gateway.peers import Peers
from services.gateway.presence_leases import MemoryPresenceLeases, PresenceLeases
from services.gateway.redis_presence_leases import RedisPresenceLeases
from services.gateway.redis_registry import RedisRegistry
from services.gateway.redis_trails import RedisTrails
from services.gateway.registrar import Registrar
from services.gateway.registry import SessionRegistry
from services.gateway.reporting import Reporting
from services.gateway.rest import router
from services.gateway.resuming import Resuming
from services.gateway.sending import Sending
from services.gateway.sessions import LiveSession, Sessions
from services.gateway.showing import Showing
from services.gateway.signalling import Signalling
from services.gateway.taking_over import TakingOver
from services.gateway.trails import Trails
from shared.auth import Tokens
from shared.bus import Bus
from shared.command_log import CommandLog
from shared.core.signs import Decoded
from shared.http import Probe
from shared.lifecycle import Supervisor
from shared.metrics import Metrics
from shared.parts import Parts
from shared.rpc import Rpc
from shared.settings import Settings
from shared.topology import Topology

__all__ = ["Gateway", "assemble", "open_gateway", "router"]

_SWEEPS_PER_TIMEOUT: Final = 4
_LONGEST_SWEEP_S: Final = 2.5


class _Tracked:
    """The hub's positions, kept in a trail with the node's `s`."""

    def __init__(self, moves: Moves, fanout: Fanout) -> None:
        self.note = moves.note
        self.hold = moves.hold
        self.release = moves.release
        self.end = moves.end
        self._moves = moves
        self._fanout = fanout

    def begin(self, stream: str, seq: int) -> None:
        """Take in that a stream is followed from this position on."""
        self._moves.begin(stream, seq, self._fanout.s)


class Gateway:
    """One node, as composition and routes see it."""

    def __init__(
        self,
        node: Node,
        delivery: Delivery,
        comparing: Comparing,
        registrar: Registrar,
        commands: CommandLog,
        lag: LoopLag,
        reporting: Reporting,
        checkpointing: Checkpointing,
        showing: Showing,
        signalling: Signalling,
        *,
        url_of: Callable[[int], str],
        compare_interval_s: float,
    ) -> None:
        self.node = node
        self.url_of = url_of
        self.comparing = comparing
        self._compare_interval_s = compare_interval_s
        self._delivery = delivery
        self.registrar = registrar
        self.checkpointing = checkpointing
        self._commands = commands
        self._lag = lag
        self._reporting = reporting
        self.showing = showing
        self.signalling = signalling

    @property
    def connection_factory(self) -> type[asyncio.Protocol]:
        """What uvicorn's `ws=` takes: called once per upgrade. It is a function; uvicorn's type says class."""

        def connect(**_: Any) -> asyncio.Protocol:
            return Connection(self.node)

        return cast(type[asyncio.Protocol], connect)

    @property
    def starts_at_once(self) -> int:
        """How many sessions a bot may begin within five seconds."""
        return self.node.admission.starts_at_once

    def readiness(self) -> Mapping[str, Probe]:
        """Return what `/readyz` asks of this service."""

        async def consuming() -> bool:
            return self._delivery.is_consuming

        async def accepting() -> bool:
            return not self.node.is_draining

        return {"consuming": consuming, "accepting": accepting}

    def start(self, supervisor: Supervisor) -> None:
        """Start the tasks of the node."""
        supervisor.start("gateway.delivery", self._delivery.run(supervisor))
        supervisor.start("gateway.comparing", self.comparing.run(self._compare_interval_s))
        supervisor.start("gateway.comparing_fresh", self.comparing.run_fresh())
        supervisor.start("gateway.checkpointing", self.checkpointing.run())
        supervisor.start("gateway.registrar", self.registrar.run())
        supervisor.start("gateway.loop_lag", self._lag.run())
        supervisor.start("gateway.reporting", self._reporting.run())
        supervisor.start("gateway.presence", self.showing.run())
        rules = self.node.rules
        shortest = min(rules.identify_timeout_s, rules.silence_s, self.node.stream_heartbeat_s)
        supervisor.start("gateway.sweep", self.node.sweep(min(_LONGEST_SWEEP_S, shortest / _SWEEPS_PER_TIMEOUT)))

    async def drain(self) -> None:
        """Send every client elsewhere and close the connections; call it while the tasks still run."""
        await self.node.drain()
        await self.checkpointing.write_now()
        await self._commands.close()


def assemble(
    settings: Settings,
    *,
    name: str,
    bus: Bus,
    topology: Topology,
    tokens: Tokens,
    registry: SessionRegistry,
    trails: Trails,
    leases: PresenceLeases,
    has_peers: bool,
    metrics: Metrics,
    supervisor: Supervisor,
    now: Callable[[], int],
    clock: Callable[[], float],
) -> Gateway:
    """Return a node on these seams, with nothing running yet. `now` is Unix ms, `clock` seconds that never go back.

    `has_peers`: other nodes share registry and trails, so that sessions can go on there.
    """
    limits, ours = settings.limits, settings.gateway
    rules = SessionRules(
        heartbeat_interval_s=ours.heartbeat_interval.total_seconds(),
        identify_timeout_s=ours.identify_timeout.total_seconds(),
        frames_per_minute=limits.frames_per_minute if limits.enabled else 0,
        content_characters=limits.content_characters,
    )
    admission = Admission(
        connections_per_address=limits.connections_per_address if limits.enabled else UNLIMITED,
        sessions_per_user=limits.sessions_per_user if limits.enabled else UNLIMITED,
        identifies_per_minute=limits.identifies_per_minute if limits.enabled else UNLIMITED,
        polls_per_minute=limits.polls_per_minute if limits.enabled else UNLIMITED,
    )

    def url_of(user_id: int) -> str:
        return gateway_url(settings.http.front_door, topology.user_slot(user_id) if user_id else None)

    window_s = ours.resume_window.total_seconds()
    incarnation = f"{name}.{secrets.token_hex(4)}"
    # Who may still resume was silent for two heartbeats at most when the window began.
    kept_s = window_s + rules.silence_s
    log: ReplayLog[LiveSession] = ReplayLog(ours.replay_log_bytes, kept_s)
    flusher = Flusher(clock)
    interval_s = ours.checkpoint_interval.total_seconds()
    kept = checkpoints_kept(window_s=window_s, heartbeat_s=rules.heartbeat_interval_s, interval_s=interval_s)
    moves = Moves(incarnation, keep=kept)
    fanout = Fanout(flusher, log, clock, moves.send)
    hub: Hub[LiveSession] = Hub(_Tracked(moves, fanout))
    rpc = Rpc(bus, topology)
    commands = CommandLog(bus, topology, name)
    bindings = Bindings(topology.events)
    fresh = Fresh(lambda: not bus.binds_everywhere)
    registrar = Registrar(registry, incarnation, ttl_s=kept_s)
    sessions = Sessions(hub, registrar, most_detached=ours.max_connections, clock=clock)
    marking = Marking(hub, rpc.call, supervisor, clock)
    following = Following(hub, fanout, sessions.expel, bindings, fresh, marking, rpc, topology, supervisor, clock)
    checkpointing = Checkpointing(
        moves,
        trails,
        incarnation,
        lambda: fanout.s,
        interval_s=interval_s,
        ttl_s=kept_s,
        metrics=metrics,
        restored=lambda: registrar.renew(),
        clock=clock,
    )
    peers = Peers(bus, topology, incarnation, supervisor, keep_s=window_s, clock=clock)
    taking_over = TakingOver(
        incarnation,
        hub=hub,
        fanout=fanout,
        registry=registry,
        trails=trails,
        peers=peers,
        backlog=Backlog(rpc, clock),
        follow=following.follow,
        supervisor=supervisor,
        ttl_s=kept_s,
        clock=clock,
    )
    resuming = Resuming(
        hub=hub,
        fanout=fanout,
        sessions=sessions,
        taking_over=taking_over,
        follow=following.follow,
        tokens=tokens,
        supervisor=supervisor,
        metrics=metrics,
    )
    peers.giver = resuming.give
    showing = Showing(
        hub,
        fanout,
        leases,
        bus,
        topology,
        incarnation,
        most_members=ours.presence_members,
        unwritten=lambda: len(flusher.marked),
        clock=clock,
    )
    sessions.stirred = showing.stir
    following.welcome = showing.welcome
    delivery = Delivery(
        bus, topology, name, hub, fanout, following, marking, bindings, commands, peers, showing, metrics, clock
    )
    sending = Sending(
        hub,
        commands,
        rpc,
        supervisor,
        metrics,
        limits,
        timeout_s=ours.send_timeout.total_seconds(),
        clock=clock,
        now=now,
    )
    node = Node(
        incarnation,
        ours,
        rules,
        hub=hub,
        fanout=fanout,
        following=following,
        marking=marking,
        sending=sending,
        sessions=sessions,
        showing=showing,
        resuming=resuming,
        asking=Asking(hub, fanout, rpc, supervisor, showing.known),
        tokens=tokens,
        supervisor=supervisor,
        metrics=metrics,
        admission=admission,
        proxies=Proxies(settings.http.trusted_proxies),
        url_of=url_of,
        limits_connections=limits.enabled,
        has_peers=has_peers,
        now=now,
        clock=clock,
    )
    for noun, statistics in (
        ("hub", hub.statistics),
        ("fanout", fanout.statistics),
        ("flusher", flusher.statistics),
        ("bindings", bindings.statistics),
        ("registry", registrar.statistics),
        ("sessions", sessions.statistics),
        ("peers", peers.statistics),
        ("trail", checkpointing.statistics),
        ("node", node.statistics),
        ("admission", admission.statistics),
        ("delivery", delivery.statistics),
        ("presence", showing.statistics),
    ):
        metrics.watch(f"starling_gateway_{noun}", f"The node's {noun}", statistics)
    return Gateway(
        node,
        delivery,
        Comparing(hub, following, fresh, rpc, metrics, clock),
        registrar,
        commands,
        LoopLag(metrics, clock),
        Reporting(bus, topology, lambda: Decoded(delivery.events, hub.foreign)),
        checkpointing,
        showing,
        Signalling(bus, topology, rpc, now, has_budgets=limits.enabled),
        url_of=url_of,
        compare_interval_s=ours.compare_interval.total_seconds(),
    )


@asynccontextmanager
async def open_gateway(settings: Settings, parts: Parts) -> AsyncIterator[Gateway]:
    """Open the service on a process's parts: it serves until the supervisor stops, and closes its connections."""
    registry: SessionRegistry = MemoryRegistry()
    trails: Trails = MemoryTrails()
    leases: PresenceLeases = MemoryPresenceLeases(asyncio.get_running_loop().time)
    if parts.redis is not None:
        registry = RedisRegistry(parts.redis, settings.bus.prefix)
        trails = RedisTrails(parts.redis, settings.bus.prefix)
        leases = RedisPresenceLeases(parts.redis, settings.bus.prefix)
    gateway = assemble(
        settings,
        name=parts.node,
        bus=parts.bus,
        topology=parts.topology,
        tokens=parts.tokens,
        registry=registry,
        trails=trails,
        leases=leases,
        has_peers=parts.redis is not None,
        metrics=parts.metrics,
        supervisor=parts.supervisor,
        now=parts.now,
        clock=asyncio.get_running_loop().time,
    )
    gateway.start(parts.supervisor)
    try:
        yield gateway
    finally:
        await gateway.drain()
