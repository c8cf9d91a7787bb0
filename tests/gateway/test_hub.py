"""The hub: its laws in any interleaving, and the cases that broke a draft."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.gateway.hub_model import NodeModel

SEEDS = (0, 40)
numbers = st.integers(0, 7)


def busy_model() -> NodeModel:
    """Return a model with two groups and a session of each of two users."""
    model = NodeModel()
    model.create_group(model.users[0])
    model.create_group(model.users[1])
    model.join(model.users[1], next(iter(model.members)))
    model.opening = model.users[:2]
    model.settle()
    return model


class Node(RuleBasedStateMachine):
    """A node whose queue, jobs and clients go on in any order."""

    @initialize()
    def begin(self) -> None:
        """Begin with one group."""
        self.model = busy_model()

    @rule(user=numbers)
    def create_group(self, user: int) -> None:
        """Make a group."""
        if len(self.model.members) < 4:
            self.model.create_group(self.model.users[user % 3])

    @rule(user=numbers, group=numbers, lost=st.booleans())
    def move(self, user: int, group: int, lost: bool = False) -> None:
        """Join or leave."""
        model = self.model
        one, group_id = model.users[user % 3], list(model.members)[group % len(model.members)]
        if one.id in model.members[group_id]:
            model.leave(one, group_id)
        else:
            model.join(one, group_id, lost=lost)

    @rule(group=numbers)
    def create_channel(self, group: int) -> None:
        """Add a channel."""
        self.model.create_channel(list(self.model.members)[group % len(self.model.members)])

    @rule(user=numbers)
    def open_direct(self, user: int) -> None:
        """Open a direct channel."""
        users = self.model.users
        self.model.open_direct(users[user % 3], users[(user + 1) % 3])

    @rule(channel=numbers, lost=st.booleans())
    def say(self, channel: int, lost: bool) -> None:
        """Say something."""
        channels = list(self.model.channels.values())
        self.model.say(channels[channel % len(channels)], lost=lost)

    @precondition(lambda self: self.model.queue)
    @rule(count=st.integers(1, 5))
    def deliver(self, count: int) -> None:
        """Let the node take from its queue."""
        for _ in range(min(count, len(self.model.queue))):
            self.model.deliver()

    @precondition(lambda self: self.model.queue)
    @rule()
    def repeat(self) -> None:
        """Deliver something twice."""
        self.model.queue.insert(0, self.model.queue[0])

    @rule()
    def lose_queue(self) -> None:
        """Lose the queue."""
        self.model.lose_queue()

    @precondition(lambda self: self.model.jobs)
    @rule(job=numbers)
    def step(self, job: int) -> None:
        """Let a job go on."""
        units = list(self.model.jobs)
        self.model.step(units[job % len(units)])

    @rule(user=numbers)
    def connect(self, user: int) -> None:
        """Begin to open a session."""
        if len(self.model.opening) + len(self.model.clients) < 5:
            self.model.opening.append(self.model.users[user % 3])

    @precondition(lambda self: self.model.opening)
    @rule()
    def go_on(self) -> None:
        """Go on opening sessions."""
        self.model.opening = [user for user in self.model.opening if not self.model.try_open(user)]

    @precondition(lambda self: self.model.clients)
    @rule(client=numbers)
    def close(self, client: int) -> None:
        """Close a session."""
        self.model.close(self.model.clients[client % len(self.model.clients)])

    @rule()
    def sweep(self) -> None:
        """Unfollow what is unused."""
        self.model.sweep()

    @rule()
    def settle(self) -> None:
        """Let everything come to rest: then every client holds exactly what is so."""
        self.model.settle()
        self.model.require_whole()

    @invariant()
    def counts_agree(self) -> None:
        """Hold that sessions stand exactly with their users and groups."""
        hub = self.model.hub
        for group_id, group in hub.roster.groups.items():
            expected = {session for user_id in group.users for session in hub.roster.users[user_id].sessions}
            assert group.sessions == expected
            assert all(group_id in hub.roster.users[user_id].groups for user_id in group.users)

    def teardown(self) -> None:
        """End as every program ends: at rest, and empty once nobody is there."""
        self.model.settle()
        self.model.require_whole()
        for client in list(self.model.clients):
            self.model.close(client)
        self.model.sweep()
        self.model.sweep()
        hub = self.model.hub
        assert [
            *hub.roster.users,
            *hub.roster.groups,
            *hub.roster.channels,
            *hub.roster.directs,
            *self.model.bound,
        ] == []


Node.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestNode = Node.TestCase


ACTIONS: dict[Callable[[Node, Random], None], int] = {
    lambda node, draw: node.move(draw.randrange(8), draw.randrange(8), draw.random() < 0.2): 6,
    lambda node, draw: node.say(draw.randrange(8), lost=draw.random() < 0.2): 8,
    lambda node, draw: node.create_channel(draw.randrange(8)): 1,
    lambda node, draw: node.open_direct(draw.randrange(8)): 1,
    lambda node, draw: node.create_group(draw.randrange(8)): 1,
    lambda node, draw: node.deliver(draw.randrange(1, 6)) if node.model.queue else None: 14,
    lambda node, draw: node.repeat() if node.model.queue else None: 1,
    lambda node, draw: node.lose_queue(): 1,
    lambda node, draw: node.step(draw.randrange(8)) if node.model.jobs else None: 10,
    lambda node, draw: node.connect(draw.randrange(8)): 3,
    lambda node, draw: node.go_on(): 6,
    lambda node, draw: node.close(draw.randrange(8)) if node.model.clients else None: 2,
    lambda node, draw: node.sweep(): 1,
    lambda node, draw: node.settle(): 1,
}


@pytest.mark.parametrize("seed", range(*SEEDS))
def test_long_lives_keep_the_laws(seed: int) -> None:
    """The same laws in long lives of a busy node: hundreds of steps, most of them in the middle of something."""
    draw, node = Random(seed), Node()  # noqa: S311 (a seed to find a life again)
    node.begin()
    for action in draw.choices(list(ACTIONS), list(ACTIONS.values()), k=600):
        action(node, draw)
        node.counts_agree()
    node.teardown()
