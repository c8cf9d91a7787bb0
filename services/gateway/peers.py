"""Peers: asking another node for a session, and answering those who ask us.

Ring 4 (shell). A request goes to the node's own queue, so "nobody there" is known at once when the node is dead. What
was given is kept for a while: whoever took it may die before its client has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import structlog

from services.gateway.core.gifts import Gifts
from services.gateway.core.handover import (
    Gone,
    Handed,
    HandOver,
    Missed,
    decode_answer,
    decode_request,
    encode_handover,
    parts_of,
)
from shared.bus import Bus, BusUnavailable, CallTimeout, Delivery, Unroutable
from shared.core.errors import Unavailable
from shared.lifecycle import Supervisor
from shared.topology import Topology

ASK_S: Final = 2.0
"""How long a node has to answer before it counts as dead."""
KEPT: Final = 20_000
KEPT_BYTES: Final = 32 * 1024 * 1024
"""Sessions given away that can be given again."""
_MOST_PARTS: Final = 400

log = structlog.get_logger(__name__)


class Gift(NamedTuple):
    """A session on its way: whose it is, our `s`, where it stands, what its client has missed, what it asked for."""

    user_id: int
    s: int
    positions: dict[str, int]
    missed: list[Missed]
    extra: bytes


class Peers:
    """The other nodes. `giver` takes a session out of this node for good; `clock` is seconds that never go back."""

    giver: Callable[[str, int, int], Awaitable[Gift | None]]

    def __init__(
        self,
        bus: Bus,
        topology: Topology,
        incarnation: str,
        supervisor: Supervisor,
        *,
        keep_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._topology = topology
        self._incarnation = incarnation
        self._supervisor = supervisor
        self._clock = clock
        self._given = Gifts(KEPT, KEPT_BYTES, keep_s)

    # Asking.

    async def ask(self, incarnation: str, session_id: str, told_s: int, user_id: int = 0) -> Gift | Gone | None:
        """Return a session that lives at this incarnation of a node; None if that is dead, or as good as that.

        With a `user_id` only if it is that user's and was given to nobody yet.
        Raises `Unavailable` if our own bus is away.
        """
        node = incarnation.rpartition(".")[0]
        if node == self._incarnation.rpartition(".")[0]:
            # It had our name before us, so it is dead; and under that name we would ask ourselves, wait for the session
            # that we are taking over, and give it away to nobody.
            return None
        missed: list[Missed] = []
        positions: dict[str, int] = {}
        part = 0
        while True:
            answer = await self._ask(node, HandOver(session_id, told_s, part, user_id))
            if answer is None or (isinstance(answer, Gone) and answer.incarnation != incarnation):
                return None
            if isinstance(answer, Gone):
                return answer
            positions |= answer.positions
            missed += answer.missed
            part += 1
            if part >= min(answer.parts, _MOST_PARTS):
                return Gift(answer.user_id, answer.s, positions, missed, answer.extra)

    def given(self, session_id: str, told_s: int) -> Gift | None:
        """Return a session that this node gave away lately to a client with this `told_s`, None if it did not.

        The node that asked for it may have died before it had claimed it.
        """
        parts = self._given.get(session_id, told_s)
        if parts is None:
            return None
        first, missed = parts[0], [one for part in parts for one in part.missed]
        return Gift(first.user_id, first.s, first.positions, missed, first.extra)

    async def _ask(self, node: str, request: HandOver) -> Handed | Gone | None:
        try:
            body = await self._bus.call(
                self._topology.events, self._topology.node_key(node), encode_handover(request), timeout_s=ASK_S
            )
        except (Unroutable, CallTimeout):
            return None
        except BusUnavailable as error:
            raise Unavailable("The bus is away") from error
        return decode_answer(body)

    # Answering.

    def answer(self, delivery: Delivery) -> None:
        """Answer a request that came through the node's queue, soon."""
        request = decode_request(delivery.body)
        if request is None:
            log.warning("request_unreadable", bytes=len(delivery.body))
            return
        self._supervisor.start("hand_over", self._answer(delivery, request))

    async def _answer(self, delivery: Delivery, request: HandOver) -> None:
        parts = self._given.get(request.session_id, request.told_s) if request.part else None
        if parts is None:
            # Also where it was given before: it may have come back since.
            gift = await self.giver(request.session_id, request.told_s, request.user_id)
            if gift is not None:
                parts = self._keep(request, gift)
            elif not request.user_id:
                parts = self._given.get(request.session_id, request.told_s)  # to who asked before, maybe just now
        answer: Handed | Gone = Gone(self._incarnation)
        if parts is not None and 0 <= request.part < len(parts):
            answer = parts[request.part]
        try:
            await self._bus.reply(delivery, encode_handover(answer))
        except BusUnavailable as error:
            log.info("hand_over_unanswered", reason=str(error))  # who asked asks again, or its client does

    def _keep(self, request: HandOver, gift: Gift) -> tuple[Handed, ...]:
        pieces = list(parts_of(gift.missed))
        parts = tuple(
            Handed(gift.user_id, gift.s, gift.positions if not number else {}, piece, len(pieces), gift.extra)
            for number, piece in enumerate(pieces)
        )
        self._given.keep(request.session_id, request.told_s, parts, self._clock())
        return parts

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return self._given.statistics()
