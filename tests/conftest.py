"""Fixtures of every test: URLs of real servers. What they are and how they start: tests/servers.py."""

from __future__ import annotations

import os
import signal
from types import FrameType

import hypothesis
import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from deploy.local.cluster import programs_of
from deploy.local.process import NotInstalled, free_port
from deploy.local.rabbitmq import ERL_ARGS
from shared.logs import configure_logs
from tests.missing import go_without
from tests.servers import SOCKET_VARIABLE, ServerMissing, Servers, ask

_SERVERS = pytest.StashKey[Servers]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the run's `Servers` in the first process; workers find it by the environment they inherit."""
    # As in a service: without it a failure is drawn with all local values, which takes seconds. pytest shows what
    # was logged in a test that fails.
    nowhere = open(os.devnull, "w")  # noqa: SIM115 (closed with the run)
    config.add_cleanup(nowhere.close)
    configure_logs("json", "debug", nowhere)
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")
    if hasattr(config, "workerinput"):
        return
    servers = Servers()
    config.stash[_SERVERS] = servers
    config.add_cleanup(servers.close)
    # RabbitMQ reads some thousand files one by one as it starts; threads that spin meanwhile halve the time that takes.
    # Thereafter they cost more than they save, so it is for tests alone, which start a dozen.
    os.environ.setdefault(ERL_ARGS, "+sbwtdio very_long")
    os.environ[SOCKET_VARIABLE] = servers.serve()
    config.add_cleanup(lambda: os.environ.__delitem__(SOCKET_VARIABLE))
    # A run that is told to end (a CI's time-out) ends as with Ctrl-C, so that no server outlives it.
    signal.signal(signal.SIGTERM, _interrupt)


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives workers single tests; but one worker all of what starts clusters, and what shares a slow fixture.

    Tests of clusters mostly wait, and two clusters at once starve each other. It goes by path: the groups that tests
    are marked with do not reach the scheduler under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if path.startswith(("tests/cluster/", "tests/local/")):
            return "clusters"
        return path if path.startswith(("tests/load/", "tests/replay/")) else nodeid

    def schedule(self) -> None:
        """Give out work; two tests also to who comes for a worker that has died, since with one it waits for more."""
        super().schedule()
        for node in self.nodes:
            self._reschedule(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """Take in that a worker has died or is done; return the test in which it died. Raises `KeyError`.

        That one, and what was finished, is not put into the queue again, as xdist does: it would kill worker after
        worker, and one that is given nothing but finished tests waits for the next without end, and so does the run.
        """
        work = self.assigned_work[node]
        crashed: str | None = next(
            (one for tests in work.values() for one, is_done in tests.items() if not is_done), None
        )
        for scope, tests in list(work.items()):
            if crashed in tests:
                tests[crashed] = True
            if all(tests.values()):
                del work[scope]
        super().remove_node(node)
        return crashed


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Spread the tests over workers in our way, whatever `--dist` says."""
    return _Scheduling(config, log)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _require_server(config: pytest.Config, name: str) -> str:
    try:
        servers = config.stash.get(_SERVERS, None)
        return servers.url_of(name) if servers is not None else ask(os.environ[SOCKET_VARIABLE], name)
    except ServerMissing as missing:
        go_without(f"{name}: {missing}")


@pytest.fixture(scope="session")
def cluster_servers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Require what a local cluster is made of, nginx included."""
    try:
        programs_of(tmp_path_factory.mktemp("cluster"), free_port(), {"groups": 1, "history": 1, "gateway": 1})
    except NotInstalled as missing:
        go_without(str(missing))


@pytest.fixture(scope="session")
def mongo_url(pytestconfig: pytest.Config) -> str:
    """Return the URL of a MongoDB; tests take a database of their own."""
    return _require_server(pytestconfig, "mongo")


@pytest.fixture(scope="session")
def redis_url(pytestconfig: pytest.Config) -> str:
    """Return the URL of a Redis; tests take a prefix of their own."""
    return _require_server(pytestconfig, "redis")


@pytest.fixture(scope="session")
def rabbitmq_url(pytestconfig: pytest.Config) -> str:
    """Return the AMQP URL of a RabbitMQ; tests take a prefix of their own."""
    return _require_server(pytestconfig, "rabbitmq")
