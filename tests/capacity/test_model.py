"""The capacity model: it gives back what was measured, and grows as work does."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.capacity import costs
from deploy.capacity.__main__ import compared_of, told_of
from deploy.capacity.model import Machines, Workload, estimate, measured, work_of

workloads = st.builds(
    Workload,
    st.integers(100, 10**8),
    st.floats(0.1, 500),
    st.floats(1, 10_000),
    online_share=st.floats(0.01, 1),
    peak=st.floats(1, 10),
)


@pytest.mark.parametrize("part", costs.TEN_THOUSAND_CORES)
def test_it_reproduces_ten_thousand_online(part: str) -> None:
    """What each part used of the cores at 10,000 online, the model says within a third and a twentieth of a core."""
    work = work_of(measured(10_000, costs.TEN_THOUSAND_PER_S, 50), gateways=2)
    assert getattr(work, part) == pytest.approx(costs.TEN_THOUSAND_CORES[part], rel=0.34, abs=0.05)


@given(workloads, st.floats(1.1, 10))
def test_more_people_take_no_less(load: Workload, times: float) -> None:
    """More users of the same kind take as many nodes or more, as much work or more, and fill limits no less."""
    one, other = (estimate(each, Machines()) for each in (load, replace(load, users=int(load.users * times))))
    assert one.gateways <= other.gateways
    assert one.histories <= other.histories
    assert one.shards <= other.shards
    assert one.storage_per_month <= other.storage_per_month
    assert one.work.total <= other.work.total * (1 + 1e-9)


@given(workloads)
def test_nobody_is_busier_than_allowed(load: Workload) -> None:
    """No gateway, worker or node of groups gets more work than a process may do, and no gateway more sessions."""
    machines = Machines()
    found = estimate(load, machines)
    assert found.work.gateway <= found.gateways * machines.busy
    assert found.work.history <= found.histories * machines.busy
    assert found.work.groups <= found.groups * machines.busy
    assert load.online <= found.gateways * machines.sessions_per_gateway
    assert found.work.copies <= min(found.gateways, load.listeners) * (1 + 1e-9)


@given(workloads)
def test_limits_are_told_from_the_fullest_on(load: Workload) -> None:
    """What gives way first stands first, with the number of users at which it does."""
    limits = estimate(load, Machines()).limits
    assert [limit.full for limit in limits] == sorted((limit.full for limit in limits), reverse=True)
    assert limits[0].users == pytest.approx(load.users / limits[0].full)


def test_it_is_told_with_its_assumptions() -> None:
    """The text has nodes, storage, what gives way first, and every assumption with its value."""
    load = Workload(1_000_000, 40, 30)
    told = told_of(load, Machines(), estimate(load, Machines()))
    for word in ("gateway", "storage", "gives way first", "online share 0.25", "peak 3", "busy 0.6"):
        assert word in told


def test_a_run_is_compared_with_it() -> None:
    """A result of the load is laid beside the model, part by part."""
    part = {
        "name": "300/s",
        "seconds": 10.0,
        "sent": 3000,
        "delivered": 150_000,
        "cpu_s": {"gateway-1": 3.0, "load": 1},
    }
    result = {"about": {"users": 10_000, "rate": 300.0, "gateways": 2}, "parts": [part]}
    told = compared_of(msgspec.json.encode(result))
    assert "gateway        0.30" in told
    assert "load" not in told
