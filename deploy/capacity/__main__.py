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

from deploy.capacity import costs
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
_FITTED: Final = {
    "gateway": ("GATEWAY_SEND_US", "GATEWAY_COPY_US"),
    "nginx": ("NGINX_DELIVERY_US",),
    "history": ("HISTORY_US",),
    "groups": ("GROUPS_US",),
    "database": ("DATABASE_US",),
    "broker": ("BROKER_US", "BROKER_COPY_US"),
    "redis": ("REDIS_US",),
}
"""The costs that only a run of ten thousand tells, by part."""


class _About(msgspec.Struct):
    users: int
    rate: float
    gateways: int


class _Part(msgspec.Struct):
    name: str
    whole_s: float
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


class Compared:
    """A run of `make bench-10k` beside the model: cores of each part, measured and as the model says.

    Raises `ValueError` for what is no such result.
    """

    def __init__(self, result: bytes) -> None:
        self._run = run = msgspec.json.decode(result, type=_Result)
        name = f"{run.about.rate:g}/s"
        part = next((part for part in run.parts if part.name == name and part.sent and part.whole_s), None)
        if part is None:
            raise ValueError(f"it has no part {name} in which something was said")
        self._part = part
        self._load = measured(run.about.users, part.sent / part.whole_s, part.delivered / part.sent)
        work = work_of(self._load, run.about.gateways)
        used: dict[str, float] = {}
        for name, spent_s in part.cpu_s.items():
            if kind := _KINDS.get(name.rpartition("-")[0] or name):
                used[kind] = used.get(kind, 0.0) + spent_s / part.whole_s
        self.cores = {kind: (its, float(getattr(work, kind))) for kind, its in used.items()}

    def told(self) -> str:
        """Return it as a table, and the costs that would make the model say what was measured."""
        lines = [
            f"{self._run.about.users:,} online, {self._load.messages_per_s:.0f} messages/s: cores",
            "  part       measured   model   model less measured",
        ]
        whole = (sum(one) for one in zip(*self.cores.values(), strict=True))
        for kind, (is_used, is_told) in {**self.cores, "all": tuple(whole)}.items():
            share = f", {100 * (is_told / is_used - 1):+.0f} %" if is_used else ""
            lines.append(f"  {kind:<10}{is_used:9.3f}{is_told:8.3f}   {is_told - is_used:+.3f}{share}")
        lines.append("  costs with which the model would say what was measured, and what they are:")
        for kind, names in _FITTED.items():
            if kind in self.cores:
                told = [f"{name} {self._factor(kind) * (now := getattr(costs, name)):.4g} ({now:g})" for name in names]
                lines.append(f"    {', '.join(told)}")
        return "\n".join(lines)

    def _factor(self, kind: str) -> float:
        """Return by what a part's fitted costs would have to be multiplied; none of them is below nothing."""
        is_used, is_told = self.cores[kind]
        known = 0.0
        if kind == "gateway":  # its own bench measured these
            known = 1e-6 * self._load.deliveries_per_s * costs.GATEWAY_DELIVERY_US
            known += 1e-6 * self._load.online * costs.GATEWAY_SESSION_US_PER_S
        return max(0.0, (is_used - known) / (is_told - known))


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
        told = Compared(chosen.measured.read_bytes()).told() if chosen.measured else None
        print(told or told_of(load, machines, estimate(load, machines)))
    except (OSError, ValueError) as error:
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
