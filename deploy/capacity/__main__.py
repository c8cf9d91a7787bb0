"""What so many users would take.

    make capacity CAPACITY_ARGS="--users 1000000 --messages-per-user-day 40 --group-size 30"

`python -m deploy.capacity --measured .bench/10k/result.json` says how near the model comes to what a run used.

Numbers come from `deploy.capacity.costs`, which was measured; how people are, from assumptions that are printed and
may be given. Read the answer as "about so many, and this gives way first", not as a promise.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import msgspec

from deploy.capacity.model import Estimate, Machines, Workload, estimate, measured, work_of

_GIGA: Final = 1e9
_KINDS: Final = {
    "gateway": "gateway",
    "nginx": "nginx",
    "history": "history",
    "groups": "groups",
    "mongo": "database",
    "rabbitmq": "broker",
    "redis": "redis",
}
"""Processes of a local cluster, by what the model calls them."""


class _About(msgspec.Struct):
    users: int
    rate: float
    gateways: int


class _Part(msgspec.Struct):
    name: str
    seconds: float
    sent: int
    delivered: int
    cpu_s: dict[str, float]


class _Result(msgspec.Struct):
    """What is looked at in a result of `make bench-10k`."""

    about: _About
    parts: list[_Part]


def told_of(load: Workload, machines: Machines, found: Estimate) -> str:
    """Return an estimate as text."""
    work = found.work
    lines = [
        f"{load.users:,} users, {load.online:,.0f} online at the busiest hour",
        f"  {load.messages_per_s:,.0f} messages/s, {load.deliveries_per_s:,.0f} deliveries/s "
        f"({load.listeners:.1f} for each), {load.joins_per_s:,.0f} joins/s, {found.network * 8 / _GIGA:.2f} Gbit/s out",
        "",
        "  part       processes   cores of work   memory each",
        f"  gateway    {found.gateways:9,}   {work.gateway:13.1f}   {found.gateway_memory / _GIGA:8.2f} GB   "
        f"an envelope goes to {work.copies:.1f} of them",
        f"  history    {found.histories:9,}   {work.history:13.1f}              {found.shards} shards, to be set "
        "before the first start",
        f"  groups     {found.groups:9,}   {work.groups:13.1f}",
        f"  nginx                  {work.nginx:13.1f}   {found.nginx_memory / _GIGA:8.2f} GB   in all",
        f"  RabbitMQ           3   {work.broker:13.1f}              cores in all, but for copies of quorum queues",
        f"  MongoDB            3   {work.database:13.1f}              cores of the primary",
        f"  Redis              1   {work.redis:13.1f}",
        f"  all                    {work.total:13.1f}",
        "",
        f"  storage: {found.storage_per_month / _GIGA:,.0f} GB a month, one copy (three in a replica set), and "
        f"{found.storage_of_users / _GIGA:,.0f} GB of users and memberships",
        "",
        "  what gives way first, of what there is one of:",
    ]
    lines += [
        f"    {100 * limit.full:6.1f} %  {limit.name}: full at {limit.users:,.0f} users; {limit.then}"
        for limit in found.limits
    ]
    given = {**asdict(load), **asdict(machines)}
    lines += ["", "  assumed: " + ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in given.items())]
    lines += [
        "  costs: deploy/capacity/costs.py, measured with the embedded database on 2 cores; a MongoDB will differ"
    ]
    return "\n".join(lines)


def compared_of(result: bytes) -> str:
    """Return a run's result.json beside the model, as a table of cores. Raises `ValueError`, `LookupError`."""
    run = msgspec.json.decode(result, type=_Result)
    part = next(part for part in run.parts if part.name == f"{run.about.rate:g}/s")
    said = part.sent / part.seconds
    work = work_of(measured(run.about.users, said, part.delivered / part.sent), run.about.gateways)
    used: dict[str, float] = {}
    for name, spent_s in part.cpu_s.items():
        kind = _KINDS.get(name.rpartition("-")[0] or name, "")
        used[kind] = used.get(kind, 0.0) + spent_s / part.seconds
    lines = [f"{run.about.users:,} online, {said:.0f} messages/s: cores", "  part       measured   model"]
    lines += [f"  {kind:<10}{used[kind]:9.2f}{getattr(work, kind):8.2f}" for kind in _KINDS.values() if kind in used]
    whole = sum(its for kind, its in used.items() if kind)
    return "\n".join([*lines, f"  {'all':<10}{whole:9.2f}{work.total:8.2f}"])


def main() -> int:
    """Print an estimate: 0, or 2 where there is none."""
    parser = argparse.ArgumentParser(prog="python -m deploy.capacity", description="What so many users would take.")
    parser.add_argument("--measured", type=Path, help="compare the model with this result.json, and nothing else")
    parser.add_argument("--users", type=_positive, default=1_000_000, help="all that are registered and come")
    parser.add_argument("--messages-per-user-day", type=float, default=40, help="each, on an ordinary day")
    parser.add_argument("--group-size", type=_positive, default=30, help="members of the group that hears a message")
    parser.add_argument("--groups-each", type=float, default=Workload.groups_each, help="groups of a user")
    parser.add_argument("--online", type=_share, default=Workload.online_share, help="share at the busiest hour")
    parser.add_argument("--peak", type=float, default=Workload.peak, help="busiest hour over the day's mean")
    parser.add_argument("--joins-per-user-day", type=float, default=Workload.joins_per_user_day, help="sessions begun")
    parser.add_argument("--busy", type=_share, default=Machines.busy, help="of a core that a process may use")
    parser.add_argument("--sessions-per-gateway", type=_positive, default=Machines.sessions_per_gateway, help="at most")
    parser.add_argument("--database-cores", type=_positive, default=Machines.database_cores, help="of the primary")
    parser.add_argument("--broker-cores", type=_positive, default=Machines.broker_cores, help="of RabbitMQ")
    chosen = parser.parse_args()
    load = Workload(
        chosen.users,
        chosen.messages_per_user_day,
        chosen.group_size,
        chosen.groups_each,
        chosen.online,
        chosen.peak,
        chosen.joins_per_user_day,
    )
    machines = Machines(chosen.busy, chosen.sessions_per_gateway, chosen.database_cores, chosen.broker_cores)
    try:
        told = compared_of(chosen.measured.read_bytes()) if chosen.measured else None
        print(told or told_of(load, machines, estimate(load, machines)))
    except (OSError, ValueError, LookupError) as error:
        print(f"capacity: {error}", file=sys.stderr)
        return 2
    return 0


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _share(text: str) -> float:
    if not 0 < (share := float(text)) <= 1:
        raise ValueError(text)
    return share


if __name__ == "__main__":
    sys.exit(main())
