"""Whom an address stands for, when attempts to log in are counted.

Ring 1 (core).
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def origin_of(address: str) -> str:
    """Return what one customer of a network shares: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> 64:x}::/64"
