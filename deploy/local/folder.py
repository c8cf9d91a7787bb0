"""The data folder of a local run: held by one process alone, with the secret and logs that do not grow for ever.

Deployment code, for `make run` and `make cluster`.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = "cluster.json"
"""Which processes a cluster has, while it runs."""
DATABASE = "database"
"""Where the database of `make run` is, while it runs."""
_MAX_LOG_BYTES = 16 * 1024 * 1024


class Refused(Exception):
    """It can't start here; the text says why and what to do."""


@contextmanager
def own_folder(data: Path, command: str) -> Iterator[None]:
    """Hold the data folder for this process alone. `command` is what to try with another. Raises `Refused`."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        handle = (data / "lock").open("a")
    except OSError as error:
        raise Refused(f"the data folder {data} can't be used: {error.strerror}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"another one runs on {data}; choose another folder: {command} DATA=...") from None
        yield


def secret_of(data: Path) -> str:
    """Return the secret that signs tokens, made once: tokens stay valid over restarts."""
    path = data / "secret"
    if not path.exists():
        part = data / "secret.part"
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        part.rename(path)
    return path.read_text().strip()


def bound_log(log: Path) -> None:
    """Keep a log and one older part of it. The child writes in append mode, so it goes on at the new end."""
    if log.stat().st_size > _MAX_LOG_BYTES:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)


def database_url_of(data: Path) -> str:
    """Return where the database of what runs on `data` is. Raises `Refused`."""
    try:
        status = json.loads((data / STATUS).read_text()) if (data / STATUS).exists() else None
        if status is None:
            return (data / DATABASE).read_text().strip()
        return next(str(one["address"]) for one in status["processes"] if one["name"] == "mongo")
    except (OSError, KeyError, ValueError, StopIteration) as error:
        raise Refused(f"nothing runs on {data}; start it (make run DATA={data}), or set STARLING_MONGO__URL") from error
