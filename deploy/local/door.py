"""The front door of a local run: its port, whether it answers, and the lines that tell where it is.

Deployment code, for `make run` and `make cluster`.
"""

from __future__ import annotations

import errno
import http.client
import socket

from deploy.local.folder import Refused


def require_free(port: int, command: str) -> None:
    """Return if this port is to be had. `command` is what to try with another. Raises `Refused`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            busy = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "is busy" if busy else f"can't be used ({error})"
            other = port + 1 if 1024 <= port < 65535 else 8080
            raise Refused(f"port {port} {why}; choose another: {command} PORT={other}") from error


def is_ready(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether what listens on `host`:`port` says that it may take traffic."""
    # http.client and not urllib: a proxy in the environment is not for our own address.
    connection = http.client.HTTPConnection(host, port, timeout=3)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def say_ready(port: int) -> None:
    """Tell that it is ready, and where to go."""
    url = f"http://127.0.0.1:{port}"
    say(f"starling is ready at {url}")
    say(f"  page     {url}/")
    say(f"  docs     {url}/docs")
    say(f"  gateway  ws://127.0.0.1:{port}/gateway")
    say("  Ctrl-C ends it; the data stays")


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)
