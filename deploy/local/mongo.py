"""The local database: a `mongod` if there is one on the PATH, else the embedded server, as a process of its own.

Deployment code, for `make run` and the tests. Both speak MongoDB's wire protocol and keep their data in
one folder; a folder belongs to the server that made it.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from deploy.local.process import Child, NotInstalled, start_child

_START_DEADLINE_S = 60.0


@dataclass(frozen=True)
class LocalMongo:
    """A running database and the URL that reaches it."""

    child: Child
    url: str


def start_mongo(data_dir: Path, port: int, *, synced: bool = True) -> LocalMongo:
    """Start a database on 127.0.0.1:`port` with its data (and mongo.log) in `data_dir`; return when it answers.

    `synced` as for `mongo_command`. Raises `NotInstalled` when there is neither server, `StartFailed` when it does not
    come up.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    files = data_dir / "db"
    files.mkdir(exist_ok=True)
    url = mongo_url(port)
    child = start_child("mongo", mongo_command(files, port, synced=synced), log=data_dir / "mongo.log")
    child.wait_ready(lambda: mongo_answers(url), _START_DEADLINE_S)
    return LocalMongo(child, url)


def mongo_url(port: int) -> str:
    """Return the URL of a database that was started on 127.0.0.1:`port`."""
    return f"mongodb://127.0.0.1:{port}/?directConnection=true"


def mongo_command(files: Path, port: int, *, synced: bool = True) -> list[str]:
    """Return what starts a database on 127.0.0.1:`port` with its data in the folder `files`. Raises `NotInstalled`.

    Without `synced` (for tests) the embedded one may lose with the machine's power what it acknowledged.
    """
    mongod = shutil.which("mongod")
    if mongod is not None:
        return [mongod, "--bind_ip", "127.0.0.1", "--port", str(port), "--dbpath", str(files), "--nounixsocket"]
    # Beside the interpreter, not on the PATH: it belongs to the environment that this code runs in.
    embedded = Path(sys.executable).parent / "secantusd-py"
    if embedded.exists():
        return [
            str(embedded),
            *("--host", "127.0.0.1", "--port", str(port), "--storage-path", str(files), "--standalone"),
            *(("--sync-on-commit",) if synced else ()),
        ]
    raise NotInstalled("no mongod on the PATH and no secantusdb in this environment (pip install secantusdb)")


def mongo_answers(url: str) -> bool:
    """Return whether a database answers there; takes a second or two at most."""
    client: MongoClient[dict[str, object]] = MongoClient(url, serverSelectionTimeoutMS=500, socketTimeoutMS=1000)
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    finally:
        client.close()
    return True
