"""Dockerfile and docker-compose.yml against the code: names, ports, paths, settings, times."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import httpx
import pytest

import services.__main__ as process
from deploy.front_door import FILES
from deploy.routes import ALIVE, HIDDEN, READY
from deploy.routes import SERVICES as ROUTED
from shared.http import create_app
from shared.metrics import Metrics
from shared.settings import HttpSettings, Settings
from tests.deploy.descriptions import (
    ENVIRONMENT,
    K8S,
    ROOT,
    VariableMissing,
    read_compose,
    read_dockerfile,
    seconds_of,
    setting_names,
)
from tests.deploy.world import open_services
from tests.missing import go_without

COMPOSE_FILE = ROOT / "docker-compose.yml"
COMPOSE = read_compose(ENVIRONMENT)
DOCKERFILE = read_dockerfile()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DESCRIPTIONS = [ROOT / "Dockerfile", ROOT / "docker-compose.yml", *sorted(K8S.glob("*.yaml"))]


def own(name: str) -> dict[str, Any]:
    """Return one of our services as Compose sees it."""
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


def in_the_image(word: str) -> list[str]:
    """Return the texts of an instruction in the last stage, the one that is run."""
    last = DOCKERFILE[-1].stage
    return [one.text for one in DOCKERFILE if one.word == word and one.stage == last]


def image_variables() -> dict[str, str]:
    """Return what the image itself sets."""
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(in_the_image("ENV"))))


# What all descriptions name.


@pytest.mark.parametrize("path", DESCRIPTIONS, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    """No deployment sets a name that no one reads."""
    assert set(re.findall(r"STARLING_[A-Z0-9_]+", path.read_text())) <= set(setting_names())


def test_the_services_are_those_of_the_code() -> None:
    """`python -m services` and every front door know the same services."""
    assert set(ROUTED) == set(process.SERVICES)


async def test_each_process_answers_at_the_paths_of_health() -> None:
    """The paths that probes and front doors ask, and the one that they hide, are served by every process."""
    app = create_app(HttpSettings(), metrics=Metrics())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://starling.test") as client:
        for path in (ALIVE, READY, *HIDDEN):
            assert (await client.get(path)).status_code == 200


# The image.


def test_the_image_holds_what_runs_and_nothing_else() -> None:
    """What is copied into the build is there, is let through by .dockerignore, and is all that is let through."""
    copied = {
        source
        for one in DOCKERFILE
        if one.word == "COPY" and not one.text.startswith("--from")
        for source in one.arguments[:-1]
    }
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert copied == {"requirements.lock", "shared", "services"}
    assert all((ROOT / source).exists() for source in copied)
    assert (ignored[0], ignored[-1]) == ("*", "**/__pycache__")
    assert {line.removeprefix("!") for line in ignored[1:-1]} == copied


def test_the_last_stage_takes_no_more_than_was_built() -> None:
    """Nothing is installed in the stage that is run; it copies from the first what that made."""
    assert [one.text.split(" AS ")[0] for one in DOCKERFILE if one.word == "FROM"] == ["python:3.11-slim-bookworm"] * 2
    assert PROJECT["requires-python"] == ">=3.11"
    assert all(text.startswith("--from=build /opt/starling/") for text in in_the_image("COPY"))
    assert not re.search(r"\b(pip|apt|apt-get|gcc|curl|wget)\b", " ".join(in_the_image("RUN")))
    (made,) = (one.text for one in DOCKERFILE if one.word == "RUN" and "pip" in one.text)
    assert "--require-hashes --only-binary :all: -r requirements.lock" in made


def test_the_image_runs_as_no_one_in_particular() -> None:
    """The user is a number, and not root's."""
    (user,) = in_the_image("USER")
    number, group = user.split(":")
    assert int(number) > 1000
    assert int(group) > 1000


def test_the_image_starts_the_code() -> None:
    """Its entry point is the module, its settings are in the code, its port is the one that it names."""
    assert [json.loads(text) for text in in_the_image("ENTRYPOINT")] == [["python", "-m", "services"]]
    variables = image_variables()
    assert variables["PYTHONUNBUFFERED"] == "1"
    assert variables["STARLING_ENVIRONMENT"] == "production"
    assert in_the_image("EXPOSE") == [variables["STARLING_HTTP__PORT"]]
    assert f'image.version="{PROJECT["version"]}"' in in_the_image("LABEL")[0]
    assert own("gateway")["image"] == f"starling:{PROJECT['version']}"


_WITHOUT_THE_REST = """
import importlib, runpy, sys
hidden, services = (set(argument.split(",")) for argument in sys.argv[1:])
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)
sys.meta_path.insert(0, Hidden())
sys.path.insert(0, ".")
for service in services:
    importlib.import_module(f"services.{service}.app")
sys.argv = ["services", "--help"]
runpy.run_module("services", run_name="__main__")
"""


def test_what_runs_needs_only_what_the_image_holds(tmp_path: Path) -> None:
    """With nothing but `shared`, `services` and what requirements.lock names the program and its services start."""
    for folder in ("shared", "services"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    hidden = {
        module
        for module, owners in packages_distributions().items()
        if not locked & {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}
    }
    assert {"pytest", "secantus"} & hidden
    command = [sys.executable, "-P", "-c", _WITHOUT_THE_REST, ",".join(sorted(hidden)), ",".join(process.SERVICES)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_begins_without_any_service() -> None:
    """Which it imports is decided by what it runs; one that slipped in here would be in all of them."""
    asked = "import services.__main__, sys; print([name for name in sys.modules if name.endswith('.app')])"
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_the_whole_document_is_made_once() -> None:
    """Anybody may ask for it, and making it takes long."""
    assert process.whole_document() is process.whole_document()


async def health_exit(command: list[str], port: int) -> int:
    """Run a health check as an engine would, for a process that listens on `port`; return its exit code."""
    environment = {**os.environ, "STARLING_HTTP__PORT": str(port)}
    child = await asyncio.create_subprocess_exec(
        sys.executable, *command[1:], env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(20):
        return await child.wait()


async def test_the_health_checks_tell_a_healthy_process_from_another() -> None:
    """The image asks whether it lives, Compose whether it may take traffic; both are commands that work."""
    (text,) = in_the_image("HEALTHCHECK")
    of_image = json.loads(text[text.index("CMD") + 3 :])
    of_compose = own("groups")["healthcheck"]["test"][1:]
    assert of_image[0] == of_compose[0] == "python"
    assert ALIVE in of_image[-1]
    assert READY in of_compose[-1]
    async with open_services() as services:
        (service,) = services["groups"]
        assert [await health_exit(command, service.port) for command in (of_image, of_compose)] == [0, 0]
        service.ready = False
        assert [await health_exit(command, service.port) for command in (of_image, of_compose)] == [0, 1]
        service.breaks = True
        assert [await health_exit(command, service.port) for command in (of_image, of_compose)] == [1, 1]


# docker-compose.yml.


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_secrets_come_from_the_environment(name: str) -> None:
    """Without one of them nothing starts, and what is said tells how to make it."""
    with pytest.raises(VariableMissing, match=rf"{name}: .*openssl rand"):
        read_compose({other: value for other, value in ENVIRONMENT.items() if other != name})


@pytest.mark.parametrize("name", process.SERVICES)
def test_the_settings_of_compose_are_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Compose sets is read by the code as it is meant."""
    for variable, value in {**image_variables(), **own(name)["environment"]}.items():
        monkeypatch.setenv(variable, str(value))
    settings = Settings()
    assert settings.environment == "production"
    assert (settings.http.host, settings.http.front_door) == ("0.0.0.0", "http://localhost:8080")  # noqa: S104
    assert "172.16.0.0/12" in settings.http.trusted_proxies
    assert settings.bus.url == "amqp://starling:rabbit@rabbitmq:5672/"
    assert settings.cache.url == "redis://redis:6379/0"
    assert settings.limits.enabled
    assert ("mongo:27017" in settings.mongo.url) == (name != "gateway")


def test_load_tests_and_other_ports_need_only_the_environment() -> None:
    """PORT moves the front door and what clients are told; a passed on setting arrives."""
    moved = read_compose({**ENVIRONMENT, "PORT": "9000", "STARLING_LIMITS__ENABLED": "false"})["services"]
    assert moved["nginx"]["ports"] == ["9000:8080"]
    assert moved["gateway"]["environment"]["STARLING_HTTP__PUBLIC_URL"] == "http://localhost:9000"
    assert moved["gateway"]["environment"]["STARLING_LIMITS__ENABLED"] == "false"


@pytest.mark.parametrize("name", process.SERVICES)
def test_each_service_can_have_replicas(name: str) -> None:
    """`--scale gateway=3` works: no fixed name, no published port; nginx asks for the name and port that it has."""
    service = own(name)
    assert service["command"] == [name]
    assert not {"container_name", "hostname", "ports"} & set(service)
    assert "STARLING_NODE" not in service["environment"]
    assert FILES["nginx/compose.conf"].upstreams[name] == (f"{name}:{service['environment']['STARLING_HTTP__PORT']}",)
    assert FILES["nginx/compose.conf"].resolver == "127.0.0.11"


def test_nginx_is_the_only_way_in() -> None:
    """Only the front door has a port outside, and no network with the stores; these have no way out."""
    published = {name for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {"nginx", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in own("grafana")["ports"])
    assert own("nginx")["networks"] == ["front"]
    assert COMPOSE["networks"]["back"] == {"internal": True}
    for name in ("rabbitmq", "mongo", "redis"):
        assert own(name)["networks"] == ["back"]
    for name in process.SERVICES:
        assert set(own(name)["networks"]) == {"front", "back"}


def test_what_is_mounted_is_there() -> None:
    """Each file that a container gets exists; nginx has a version that asks DNS again."""
    mounts = [volume for service in COMPOSE["services"].values() for volume in service.get("volumes", ())]
    files = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith("./")}
    assert files
    assert all((ROOT / file).exists() for file in files)
    assert named == set(COMPOSE["volumes"])
    assert "./deploy/nginx/compose.conf:/etc/nginx/nginx.conf:ro" in mounts


def test_the_images_are_of_the_versions_that_are_supported() -> None:
    """RabbitMQ 4, MongoDB 8, Redis, and an nginx that resolves names anew (1.27.3); none of them floats."""
    tags = {name: own(name)["image"].rpartition(":")[2] for name in ("rabbitmq", "mongo", "redis", "nginx")}
    versions = {name: tuple(map(int, tag.partition("-")[0].split("."))) for name, tag in tags.items()}
    assert versions["rabbitmq"][0] == 4
    assert versions["mongo"][0] == 8
    assert versions["redis"][0] in (7, 8)
    assert versions["nginx"] >= (1, 30)
    assert all(len(version) >= 2 for version in versions.values())


def test_all_start_in_order_and_again() -> None:
    """Each waits for what it can't start without, comes back by itself, says how it is, and bounds its log."""
    for name, service in COMPOSE["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        for needed, how in service.get("depends_on", {}).items():
            # Without Redis all goes on, only slower.
            assert how["condition"] == ("service_started" if needed == "redis" else "service_healthy")
    assert set(own("nginx")["depends_on"]) == set(process.SERVICES)
    for name in process.SERVICES:
        assert set(own(name)["depends_on"]) == {"rabbitmq", "redis"} | ({"mongo"} if name != "gateway" else set())


def test_no_one_is_killed_while_it_drains() -> None:
    """A process ends itself before its engine would."""
    for name in process.SERVICES:
        assert seconds_of(own(name)["stop_grace_period"]) > process._SHUTDOWN_S
    drain = re.search(r"worker_shutdown_timeout (\w+);", (ROOT / "deploy/nginx/compose.conf").read_text())
    assert drain is not None
    assert seconds_of(own("nginx")["stop_grace_period"]) > seconds_of(drain[1])


def test_there_are_files_for_every_connection() -> None:
    """A gateway at its limit, RabbitMQ with all that connect, and nginx with two per client do not run out of files."""
    limit = {name: own(name)["ulimits"]["nofile"] for name in ("gateway", "rabbitmq", "nginx", "mongo")}
    assert limit["gateway"] > Settings().gateway.max_connections + HttpSettings().max_connections
    assert limit["nginx"] >= 2 * FILES["nginx/compose.conf"].connections
    assert min(limit.values()) >= 65536


def test_nothing_of_ours_can_write_or_gain_rights() -> None:
    """Read-only, without capabilities, no way to new privileges; RabbitMQ minds the memory that it is given."""
    for name in (*process.SERVICES, "nginx"):
        service = own(name)
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    mark = re.search(r"absolute = (\d+)MiB", (ROOT / "deploy/rabbitmq/rabbitmq.conf").read_text())
    assert mark is not None
    assert own("rabbitmq")["deploy"]["resources"]["limits"]["memory"] == "1G"
    assert int(mark[1]) <= 0.7 * 1024


def test_the_replica_set_is_the_one_that_the_services_ask_for() -> None:
    """mongod, the check that makes the set, and the URL of the services name the same set and host."""
    mongo = own("mongo")
    assert mongo["command"][1:3] == ["--replSet", "rs0"]
    script = mongo["healthcheck"]["test"][-1]
    assert f"_id: 'rs0', members: [{{ _id: 0, host: '{mongo['hostname']}:27017' }}]" in script
    assert own("history")["environment"]["STARLING_MONGO__URL"] == "mongodb://mongo:27017/?replicaSet=rs0"


def test_redis_keeps_nothing_and_never_refuses() -> None:
    """What is in Redis may be lost: nothing on disk, the oldest goes first."""
    command = own("redis")["command"]
    for option, value in (("--save", ""), ("--appendonly", "no"), ("--maxmemory-policy", "allkeys-lru")):
        assert command[command.index(option) + 1] == value


def compose_installed() -> tuple[list[str], str]:
    """Return the command of the Compose on this machine and its version, 2 rather than 1; skip without any."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            asked = [*command, "version", "--short"]
            done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
            if done.returncode == 0:
                return command, done.stdout.strip().removeprefix("v")
    return go_without("neither docker compose nor docker-compose is installed (Debian package docker-compose)")


def test_compose_itself_reads_the_file(tmp_path: Path) -> None:
    """Compose finds nothing to complain about; it needs no engine for that.

    The file is for Compose 2. Version 1, which Debian 12 has, is older than `start_interval` and does not fill in a
    default inside a default; it reads all else, and is shown the file without the first.
    """
    command, version = compose_installed()
    text = COMPOSE_FILE.read_text()
    if version.startswith("1."):
        text, removed = re.subn(r"^ *start_interval: \d+s\n", "", text, flags=re.MULTILINE)
        assert removed == len(re.findall("start_interval", COMPOSE_FILE.read_text()))
    done = subprocess.run(
        [*command, "--project-directory", str(ROOT), "-f", "-", "config", "--services"],
        input=text,
        env={**os.environ, **ENVIRONMENT, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    without_profile = {name for name, service in COMPOSE["services"].items() if "profiles" not in service}
    assert without_profile <= set(done.stdout.split())
