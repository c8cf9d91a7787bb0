"""How often one address may try to register or log in: a token bucket per address.

Ring 1 (core). Budgets are a process's own. The least recently used addresses are forgotten, so the table
never grows over `most`.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address


def origin_of(address: str) -> str:
    """Return whom an address stands for: an IPv6 customer has a whole /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> 64:x}::/64"


class Budgets:
    """`per_minute` uses per origin and minute, all of them at once if they were saved up."""

    def __init__(self, per_minute: int, *, most: int = 10_000) -> None:
        self._per_minute = per_minute
        self._most = most
        self._spent: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def spend(self, origin: str, now: int) -> float:
        """Use one; return 0, or the seconds until there is room (then nothing was used). `now` in ms."""
        used, at = self._spent.pop(origin, (0.0, now))
        used = max(0.0, used - max(0, now - at) * self._per_minute / 60_000)
        over = used + 1 - self._per_minute
        self._spent[origin] = (used if over > 0 else used + 1, now)
        if len(self._spent) > self._most:
            self._spent.popitem(last=False)
        return over * 60 / self._per_minute if over > 0 else 0.0
