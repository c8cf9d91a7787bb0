"""RabbitMQ for a local cluster: a broker with its own names, cookie, ports and folders, and the epmd it needs.

Deployment code. Nothing here meets the system's RabbitMQ: node name, HOME (cookie), ports and epmd are its own, and
the scripts beneath Debian's wrapper are called, which would change to another user and its home.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from deploy.local.process import NotInstalled, exchange_bytes
from deploy.local.program import Program

_NODE = "starling@localhost"
"""The same in every cluster, as its files bear the name; it is unique because each cluster has an epmd of its own."""
ERL_ARGS = "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"
"""RabbitMQ's own variable for flags of Erlang; what it holds here is added to ours."""
_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
log.file = false
log.console = true
log.console.level = warning
log.console.use_colors = off
disk_free_limit.absolute = 50MB
# The journal of quorum queues is kept in memory as well; half a gigabyte is for larger machines.
raft.wal_max_size_bytes = 64000000
"""


def rabbitmq_programs(data: Path, *, port: int, dist_port: int, epmd_port: int) -> tuple[Program, Program]:
    """Return epmd and RabbitMQ, with their files in `data`/rabbitmq. Raises `NotInstalled`."""
    binary = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin") or shutil.which("rabbitmq-server")
    epmd = shutil.which("epmd")
    if binary is None or epmd is None:
        raise NotInstalled("rabbitmq-server is not installed (Debian and Ubuntu: sudo apt-get install rabbitmq-server)")
    folder = data / "rabbitmq"
    folder.mkdir(exist_ok=True)
    (folder / "rabbitmq.conf").write_text(_CONFIG.format(port=port))
    (folder / "enabled_plugins").write_text("[].\n")
    base = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder)}
    names = Program(
        "epmd",
        "epmd",
        # In the foreground: the one that Erlang would start detaches and outlives everything.
        [epmd, "-port", str(epmd_port), "-address", "127.0.0.1"],
        f"tcp://127.0.0.1:{epmd_port}",
        lambda: exchange_bytes(epmd_port, b"\x00\x01n", epmd_port.to_bytes(4, "big")),
        base,
        grace_s=2,
    )
    broker = Program(
        "rabbitmq",
        "rabbitmq",
        [binary],
        rabbitmq_url(port),
        lambda: exchange_bytes(port, b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00"),
        base | _environment(folder, port, dist_port, epmd_port),
        needs=(names.name,),
    )
    return names, broker


def rabbitmq_url(port: int) -> str:
    """Return the URL of a broker that was started on 127.0.0.1:`port`."""
    return f"amqp://guest:guest@127.0.0.1:{port}/"


def _environment(folder: Path, port: int, dist_port: int, epmd_port: int) -> dict[str, str]:
    return {
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": _NODE,
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(dist_port),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "no-rabbitmq-env.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "no-advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "ERL_CRASH_DUMP": str(folder / "erl_crash.dump"),  # else in the folder that the cluster was started from
        ERL_ARGS: f"-kernel inet_dist_use_interface {{127,0,0,1}} {os.environ.get(ERL_ARGS, '')}",
        # Else the script stays as the parent of the broker, and its pid is the one that everybody sees.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
