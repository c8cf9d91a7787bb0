"""Prometheus' rules and Grafana's dashboard against the metrics that a process really shows."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml

import services.__main__ as process
from services.gateway.app import open_gateway
from services.groups.app import open_groups
from services.history.app import open_history
from shared.http import create_app
from shared.parts import open_parts
from shared.settings import MongoSettings, Settings
from tests.deploy.descriptions import ENVIRONMENT, ROOT, read_compose
from tests.deploy.world import DEADLINE_S

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"


def rules() -> list[dict[str, Any]]:
    """Return every alert."""
    read = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    return [rule for group in read["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    """Yield every question that is asked of Prometheus."""
    for rule in rules():
        yield rule["expr"]
    for panel in json.loads((GRAFANA / "dashboards" / "starling.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


@pytest.mark.servers
async def test_every_metric_that_is_asked_for_is_shown(mongo_url: str) -> None:
    """No alert sleeps and no panel stays empty because of a name that no process has."""
    settings = Settings(mongo=MongoSettings(url=mongo_url, database=f"metrics-{uuid4().hex[:12]}"))
    async with (
        open_parts(settings, mongo=True) as parts,
        open_groups(settings, parts),
        open_history(settings, parts),
        open_gateway(settings, parts) as gateway,
    ):
        async with asyncio.timeout(DEADLINE_S):
            while not all([await probe() for probe in gateway.readiness().values()]):
                await asyncio.sleep(0.01)
        app = create_app(settings.http, metrics=parts.metrics)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://starling.test") as client:
            shown = (await client.get("/metrics")).text
        await parts.supervisor.stop()
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", shown, re.MULTILINE):
        names |= {f"{name}_bucket", f"{name}_count", f"{name}_sum"} if kind == "histogram" else {name}
    asked = {name for one in expressions() for name in re.findall(r"\b(?:starling|process)_\w+", one)}
    assert len(asked) > 10
    assert asked <= names


def test_prometheus_asks_every_process() -> None:
    """Each service is a job of its own, found by the name and port that it has in docker-compose.yml."""
    jobs = {
        one["job_name"]: one for one in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    }
    compose = read_compose(ENVIRONMENT)["services"]
    assert set(jobs) == {*process.SERVICES, "rabbitmq"}
    for name in process.SERVICES:
        (found,) = jobs[name]["dns_sd_configs"]
        assert (found["names"], str(found["port"])) == ([name], compose[name]["environment"]["STARLING_HTTP__PORT"])
        assert set(compose["prometheus"]["networks"]) & set(compose[name]["networks"])
        # An alert notices when no process of the service is left.
        (gone,) = (rule["expr"] for rule in rules() if rule["alert"] == "ServiceGone")
        assert f'up{{job="{name}"}}' in gone


def test_the_alert_comes_before_the_gateway_is_full() -> None:
    """It fires at nine tenths of the limit that a node has by default."""
    (full,) = (rule["expr"] for rule in rules() if rule["alert"] == "GatewayFull")
    assert full.endswith(f"> {int(0.9 * Settings().gateway.max_connections)}")


def test_every_alert_says_what_to_do() -> None:
    """Whoever is woken reads how bad it is, what it is and where to look."""
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_the_dashboard_asks_the_source_that_is_provisioned() -> None:
    """Each panel names the provisioned data source, and the folder of dashboards is the mounted one."""
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    compose = read_compose(ENVIRONMENT)["services"]
    board = json.loads((GRAFANA / "dashboards" / "starling.json").read_text())
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}
    assert "prometheus" in compose
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/starling.yaml").read_text())["providers"]
    mounted = [volume.split(":")[1] for volume in compose["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
    assert {compose[name]["profiles"][0] for name in ("prometheus", "grafana")} == {"observability"}


def test_promtool_accepts_the_rules() -> None:
    """Where promtool is installed, it finds nothing wrong with configuration and rules."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    command = [promtool, "check", "config", str(PROMETHEUS / "prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stderr
