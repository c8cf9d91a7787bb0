"""Bounds for strangers: connections per address, sessions, IDENTIFYs and polls per user.

Ring 1 (core). One per node; every table holds only who is here, or is bounded. Loopback addresses have no bound of
connections: behind them are the machine's own programs, or a proxy whose address nobody told us to look behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from shared.core.errors import RateLimited
from shared.core.limits import Budgets, Spent

UNLIMITED: Final = 0
_STARTS_S: Final = 5
"""Clients identify so many times at once, and then again after these seconds, as Discord tells them."""
_MOST_STARTS: Final = 16
_IPV6_SITE_BITS: Final = 64
"""Whoever has one IPv6 address has so many bits of them."""


class Proxies:
    """The proxies whose word is believed: addresses, networks, or a single "*" for all."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._all = tuple(trusted) == ("*",)
        self._networks: list[IPv4Network | IPv6Network] = []
        for one in trusted:
            try:
                self._networks.append(ip_network(one, strict=False))
            except ValueError:
                continue  # a name, or the path of a Unix socket: no client has it as its address

    def client_of(self, peer: str, forwarded: str) -> str:
        """Return the client's address, from the peer's and X-Forwarded-For: the last one that is no trusted proxy.

        As uvicorn does it for requests. What a client itself wrote into the header stands further left.
        """
        hosts = [host for part in forwarded.split(",") if (host := part.strip())]
        if not hosts or not self._trusts(peer):
            return peer
        if self._all:
            return hosts[0]
        return next((host for host in reversed(hosts) if not self._trusts(host)), hosts[0])

    def _trusts(self, host: str) -> bool:
        if self._all:
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


class Admission:
    """Who may still come in. 0: no bound. `now` is seconds of a clock that never goes back."""

    def __init__(
        self,
        *,
        connections_per_address: int = UNLIMITED,
        sessions_per_user: int = UNLIMITED,
        identifies_per_minute: int = UNLIMITED,
        polls_per_minute: int = UNLIMITED,
    ) -> None:
        self._per_address = connections_per_address
        self._per_user = sessions_per_user
        self._identifies = Budgets(identifies_per_minute / 60, identifies_per_minute) if identifies_per_minute else None
        self._polls = Budgets(polls_per_minute / 60, polls_per_minute) if polls_per_minute else None
        self._connections: dict[str, int] = {}
        self.starts_at_once = max(identifies_per_minute * _STARTS_S // 60, 1) if identifies_per_minute else _MOST_STARTS
        """Discord's `max_concurrency`: who keeps to it is not refused for its IDENTIFYs."""

    def enter(self, address: str) -> str | None:
        """Count a connection; return what to give to `leave`, or None if the address has too many."""
        place = _place_of(address) if self._per_address else ""
        if not place:
            return ""
        count = self._connections.get(place, 0)
        if count >= self._per_address:
            return None
        self._connections[place] = count + 1
        return place

    def leave(self, place: str) -> None:
        """Count one connection less; told once per `enter` that returned it."""
        if place:
            self._connections[place] -= 1
            if not self._connections[place]:
                del self._connections[place]

    def require_turn(self, user_id: int, now: float) -> None:
        """Count an IDENTIFY of a user. Raises `RateLimited` if there were too many in the last minute."""
        if self._identifies is not None and self._identifies.spend(user_id, int(now * 1000)):
            raise RateLimited

    def count_poll(self, user_id: int, now: float) -> Spent | None:
        """Count a request for events of a user; return what is left of its budget, None where there is none."""
        return self._polls.use(user_id, int(now * 1000)) if self._polls is not None else None

    def require_room(self, sessions: int) -> None:
        """Raise `RateLimited` if a user with so many sessions may not begin another.

        Those that are there stay: no device is cut off by another, and no two throw each other out in turns.
        """
        if self._per_user and sessions >= self._per_user:
            raise RateLimited

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"addresses": len(self._connections), "most_per_address": max(self._connections.values(), default=0)}


def _place_of(address: str) -> str:
    """Return what connections are counted by: the address, of IPv6 its site; nothing for loopback and no address.

    What a proxy passed on and is no address counts as one, together.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return "?" if address else ""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return _place_of(str(parsed.ipv4_mapped))
        if not parsed.is_loopback:
            return str(ip_network((parsed, _IPV6_SITE_BITS), strict=False))
    return "" if parsed.is_loopback else address
