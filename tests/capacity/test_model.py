"""The capacity model: it gives back what was measured, and grows as work does."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.capacity import costs
from deploy.capacity.__main__ import Compared, told_of
from deploy.capacity.model import Machines, Workload, estimate
from docs.benchmark_tables import RESULTS

MEASURED = Compared((RESULTS / "10k.json").read_bytes())
workloads = st.builds(
    Workload,
    st.integers(100, 10**8),
    st.floats(0.1, 500),
    st.floats(1, 10_000),
    online_share=st.floats(0.01, 1),
    peak=st.floats(1, 10),
)


@pytest.mark.parametrize("part", MEASURED.cores)
def test_it_reproduces_ten_thousand_online(part: str) -> None:
    """What each part used of the cores at 10,000 online, the model says within a third, or a hundredth of a core."""
    is_used, is_told = MEASURED.cores[part]
    assert is_told == pytest.approx(is_used, rel=0.34, abs=0.01)


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


def run_of(**cpu_s: float) -> bytes:
    """Return a result of 10,000 people online and 300 messages/s to 50 for 10 s, with such processor times."""
    part = {"name": "300/s", "whole_s": 10.0, "sent": 3000, "delivered": 150_000, "cpu_s": cpu_s}
    return msgspec.json.encode({"about": {"users": 10_000, "rate": 300.0, "gateways": 2}, "parts": [part]})


def test_a_run_is_compared_with_it() -> None:
    """What processes of a kind used together stands beside the model; the load's own is left out."""
    cores = Compared(run_of(**{"gateway-1": 2.0, "gateway-2": 1.0, "load": 1.0})).cores
    assert cores.keys() == {"gateway"}
    assert cores["gateway"][0] == pytest.approx(0.3)


def test_costs_are_told_that_would_fit() -> None:
    """A part that took twice what the model says would have twice its costs; one as the model says keeps them."""
    found = Compared(run_of(**{"history-1": 1.0, "gateway-1": 1.0})).cores
    told = Compared(run_of(**{"history-1": 20 * found["history"][1], "gateway-1": 10 * found["gateway"][1]})).told()
    assert f"HISTORY_US {2 * costs.HISTORY_US:g} ({costs.HISTORY_US:g})" in told
    assert f"GATEWAY_SEND_US {costs.GATEWAY_SEND_US:g} ({costs.GATEWAY_SEND_US:g})" in told
    assert "-50 %" in told


def test_what_is_no_such_run_is_refused() -> None:
    """A result without the part in which people talked is a `ValueError`."""
    with pytest.raises(ValueError, match="300/s"):
        Compared(run_of().replace(b'"name":"300/s"', b'"name":"chat"'))
