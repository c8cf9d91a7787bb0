"""The hub: its laws in any interleaving, and the cases that broke a draft."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.gateway.core.hub import Hub
from services.gateway.core.outs import Dispatch, Expel, FollowGroup, Out, Repair
from services.gateway.core.snapshot import guild_create
from shared.core.calls import SMALL_GROUP, ChannelView, DirectView, GroupView, SessionView
from shared.core.events import AnyBody
from shared.core.group_events import (
    ChannelCreated,
    MemberAdded,
    MemberChanged,
    MemberRemoved,
    WebhookChanged,
    WebhookCreated,
    WebhookDeleted,
)
from shared.core.message_events import ChannelOpened, MessageCreated
from shared.core.model import Channel, ChannelType, Group, Member, Overwrite, OverwriteType, User, Webhook
from shared.core.permissions import Permission
from shared.core.revocation import Bearer, Named, Revocations
from shared.core.stream import Event, Record
from shared.core.user_events import GroupJoined, GroupLeft, TokensRevoked, UserChanged
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
            model.leave(one, group_id, is_banned=lost)
        else:
            model.join(one, group_id, lost=lost)

    @rule(group=numbers)
    def create_channel(self, group: int) -> None:
        """Add a channel."""
        self.model.create_channel(list(self.model.members)[group % len(self.model.members)])

    @rule(channel=numbers, user=numbers)
    def hide(self, channel: int, user: int) -> None:
        """Hide a channel, or show it again."""
        channels = list(self.model.channels.values())
        self.model.hide(channels[channel % len(channels)], [None, *self.model.users][user % 4])

    @rule(channel=numbers)
    def delete_channel(self, channel: int) -> None:
        """Delete a channel."""
        channels = list(self.model.channels.values())
        self.model.delete_channel(channels[channel % len(channels)])

    @rule(user=numbers, group=numbers)
    def promote(self, user: int, group: int) -> None:
        """Give a role, or take it."""
        groups = list(self.model.members)
        self.model.promote(self.model.users[user % 3], groups[group % len(groups)])

    @rule(group=numbers, gone=st.booleans())
    def change_role(self, group: int, gone: bool) -> None:
        """Change what a role may, or delete it."""
        groups = list(self.model.members)
        self.model.change_role(groups[group % len(groups)], gone=gone)

    @rule(user=numbers, group=numbers)
    def hand_over(self, user: int, group: int) -> None:
        """Rename a group, and give it to somebody."""
        groups = list(self.model.members)
        self.model.hand_over(groups[group % len(groups)], self.model.users[user % 3])

    @rule(group=numbers)
    def delete_group(self, group: int) -> None:
        """Delete a group, but for the last."""
        groups = list(self.model.members)
        if len(groups) > 1:
            self.model.delete_group(groups[group % len(groups)])

    @rule()
    def disband(self) -> None:
        """Tell a member of a deleted group."""
        self.model.disband()

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

    @rule(channel=numbers, pick=numbers, is_deletion=st.booleans(), lost=st.booleans())
    def change(self, channel: int, pick: int, is_deletion: bool, lost: bool) -> None:
        """Edit or delete something."""
        channels = list(self.model.channels.values())
        self.model.change(channels[channel % len(channels)], pick, is_deletion=is_deletion, lost=lost)

    @rule(is_so=st.booleans())
    def over_deliver(self, is_so: bool) -> None:
        """Let what is published reach the node bound or not, or no more."""
        self.model.over_delivers = is_so

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
            assert set(group.audience) == expected
            for channel_id in group.channels:
                seeing = {one for one in group.users if channel_id in group.sights.of(one)}
                sessions = {session for one in seeing for session in hub.roster.users[one].sessions}
                assert set(group.sights.audience(channel_id)) == sessions
                if seeing == group.users:
                    assert group.sights.audience(channel_id) is group.audience
            assert all(group_id in hub.roster.users[user_id].groups for user_id in group.users)

    @invariant()
    def clients_are_placed(self) -> None:
        """Hold that whoever goes on when the node dies now leaves out nothing."""
        self.model.require_placed()

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
            *hub.roster.directs.followed,
            *self.model.bound,
        ] == []


Node.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestNode = Node.TestCase


ACTIONS: dict[Callable[[Node, Random], None], int] = {
    lambda node, draw: node.move(draw.randrange(8), draw.randrange(8), draw.random() < 0.2): 6,
    lambda node, draw: node.say(draw.randrange(8), lost=draw.random() < 0.2): 8,
    lambda node, draw: node.change(draw.randrange(8), draw.randrange(8), draw.random() < 0.5, draw.random() < 0.2): 4,
    lambda node, draw: node.create_channel(draw.randrange(8)): 1,
    lambda node, draw: node.hide(draw.randrange(8), draw.randrange(8)): 2,
    lambda node, draw: node.promote(draw.randrange(8), draw.randrange(8)): 3,
    lambda node, draw: node.change_role(draw.randrange(8), draw.random() < 0.2): 1,
    lambda node, draw: node.delete_channel(draw.randrange(8)): 1,
    lambda node, draw: node.hand_over(draw.randrange(8), draw.randrange(8)): 1,
    lambda node, draw: node.delete_group(draw.randrange(8)): 1,
    lambda node, draw: node.disband(): 1,
    lambda node, draw: node.open_direct(draw.randrange(8)): 1,
    lambda node, draw: node.create_group(draw.randrange(8)): 1,
    lambda node, draw: node.deliver(draw.randrange(1, 6)) if node.model.queue else None: 14,
    lambda node, draw: node.repeat() if node.model.queue else None: 1,
    lambda node, draw: node.lose_queue(): 1,
    lambda node, draw: node.over_deliver(draw.random() < 0.5): 2,
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
        node.clients_are_placed()
    node.teardown()


ANN, BEN, CAT = User(1, "ann"), User(2, "ben"), User(3, "cat")
MEMBER = Member(5, ANN, 0)
BODY = GroupView(Group(5, "tea", 2), 4, (ChannelView(Channel(7, ChannelType.TEXT, "general", 5), 3, 33),), (), 2)


def message(seq: int) -> Event:
    """Return a message in the group's channel."""
    return Event("c:7", Record(seq, 0, MessageCreated(ANN, "x"), id=30 + seq), 5)


def to_group(seq: int, body: AnyBody) -> Event:
    """Return an event of the group's stream."""
    return Event("g:5", Record(seq, 0, body), 5)


def to_user(seq: int, body: AnyBody) -> Event:
    """Return an event of ann's stream."""
    return Event("u:1", Record(seq, 0, body), to=(1,))


def hub_of(*memberships: Member, attached: bool = True, body: GroupView = BODY) -> Hub[str]:
    """Return a hub that follows ann at 1 and the group at 4, with a session of hers."""
    hub: Hub[str] = Hub()
    hub.roster.put_user(SessionView(ANN, 1, memberships, ()), 0.0)
    if attached:
        hub.roster.put_group(body, 0.0)
    hub.roster.attach("phone", 1)
    return hub


def names(outs: list[Out[str]]) -> list[str]:
    """Return the dispatches among what the hub says."""
    return [out.t for out in outs if isinstance(out, Dispatch)]


def test_who_is_told_of_a_group_is_told_of_its_members_as_they_are() -> None:
    """What was told before is told again only as long as it is so; of a large group one is told oneself alone."""

    def told() -> tuple[list[int], bool]:
        created = guild_create(hub.roster.channels, hub.roster.groups[5], MEMBER)
        return [int(member["user"]["id"]) for member in json.loads(bytes(created["members"]))], created["large"]

    hub: Hub[str] = Hub()
    hub.roster.put_user(SessionView(ANN, 1, (MEMBER,), ()), 0.0)
    hub.roster.put_group(msgspec.structs.replace(BODY, members=(MEMBER,), member_count=1), 0.0)
    assert told() == told() == ([1], False)
    hub.apply(to_group(5, MemberAdded(Member(5, User(2, "ben"), 0))), 0.0)
    assert told() == ([1, 2], False)
    hub.apply(to_group(6, MemberRemoved(User(2, "ben"))), 0.0)
    assert told() == ([1], False)
    hub = Hub()
    hub.roster.put_user(SessionView(ANN, 1, (MEMBER,), ()), 0.0)
    ben = Member(5, User(2, "ben"), 0)
    hub.roster.put_group(msgspec.structs.replace(BODY, members=(ben,), member_count=300), 0.0)
    assert told() == ([1], True)


def test_a_node_holds_no_members_of_a_large_group_but_its_own_users() -> None:
    """It holds all as long as they are few; of one that grows larger none, also when it is small again."""
    hub = hub_of(MEMBER, body=msgspec.structs.replace(BODY, members=(MEMBER,), member_count=1))
    group = hub.roster.groups[5]
    for number in range(SMALL_GROUP):
        assert len(group.members) == number + 1 == group.member_count
        hub.apply(to_group(5 + number, MemberAdded(Member(5, User(100 + number, "one"), 0))), 0.0)
    assert (group.members, group.member_count, group.users) == ({}, SMALL_GROUP + 1, {1})
    hub.apply(to_group(5 + SMALL_GROUP, MemberRemoved(User(100, "one"))), 0.0)
    hub.apply(to_group(6 + SMALL_GROUP, MemberRemoved(User(101, "one"))), 0.0)
    hub.apply(to_group(7 + SMALL_GROUP, MemberAdded(Member(5, User(100, "one"), 0))), 0.0)
    assert (group.members, group.member_count) == ({}, SMALL_GROUP)


def test_who_is_renamed_is_shown_by_the_new_name() -> None:
    """The user's own sessions hear it once, other members by the group; whoever comes later sees the new name."""
    hub = hub_of(MEMBER, body=msgspec.structs.replace(BODY, members=(MEMBER,), member_count=1))
    ben, renamed = User(2, "ben"), User(1, "anna", "Anna")
    direct = Channel(9, ChannelType.DIRECT, recipients=(ANN, ben))
    hub.roster.directs.open(DirectView(direct, 1, 0))
    (told,) = hub.apply(to_user(2, UserChanged(renamed, "tea")), 0.0)
    assert isinstance(told, Dispatch)
    assert (told.t, told.d["username"], told.d["bio"], told.sessions) == ("USER_UPDATE", "anna", "tea", ("phone",))
    (told,) = hub.apply(to_group(5, MemberChanged(Member(5, renamed, 0))), 0.0)
    assert isinstance(told, Dispatch)
    assert (told.t, told.d["user"]["global_name"], told.d["guild_id"]) == ("GUILD_MEMBER_UPDATE", "Anna", "5")
    assert hub.roster.users[1].user == renamed
    assert hub.roster.users[1].groups[5].member.user == renamed
    assert hub.roster.channels[9].channel.recipients == (renamed, ben)
    hub.apply(to_group(6, MemberAdded(Member(5, ben, 0))), 0.0)
    hub.apply(to_group(7, MemberChanged(Member(5, User(2, "benny"), 0))), 0.0)
    assert hub.roster.groups[5].members[2].user.username == "benny"
    assert hub.roster.channels[9].channel.recipients == (renamed, User(2, "benny"))


def test_a_body_of_a_renamed_user_names_the_member_so() -> None:
    """A body whose members were read before the groups heard of the rename tells the present name all the same."""
    hub: Hub[str] = Hub()
    hub.roster.put_user(SessionView(User(1, "anna"), 1, (MEMBER,), ()), 0.0)
    assert hub.roster.users[1].groups[5].member.user.username == "anna"


def test_a_webhooks_change_is_told_to_who_sees_its_channel() -> None:
    """Of a move both channels are told, each to those who see it; the token and the name to nobody."""
    hub = hub_of(MEMBER)
    denied = Overwrite(5, OverwriteType.ROLE, deny=int(Permission.VIEW_CHANNEL))
    hub.apply(to_group(5, ChannelCreated(Channel(8, ChannelType.TEXT, "secret", 5, overwrites=(denied,)))), 0.0)
    open_one, hidden = Webhook(70, 5, 7, "deploys", BEN), Webhook(70, 5, 8, "deploys", BEN)
    changes: tuple[AnyBody, ...] = (WebhookCreated(open_one), WebhookChanged(hidden, open_one), WebhookDeleted(hidden))
    told = [hub.apply(to_group(seq, change), 0.0) for seq, change in enumerate(changes, 6)]
    assert [[(out.t, out.d) for out in outs if isinstance(out, Dispatch)] for outs in told] == [
        [("WEBHOOKS_UPDATE", {"guild_id": "5", "channel_id": "7", "seq": 6})],
        [("WEBHOOKS_UPDATE", {"guild_id": "5", "channel_id": "7", "seq": 7})],
        [],
    ]


def test_a_removal_counts_before_the_hole_in_front_of_it_is_filled() -> None:
    """The user's stream misses something, then says that the user is out: nothing more of the group is seen."""
    hub = hub_of(MEMBER)
    outs = hub.apply(to_user(3, GroupLeft(5, 5)), 0.0)
    assert names(outs) == ["GUILD_DELETE"]
    assert outs[-1] == Repair("u:1")
    assert names(hub.apply(message(4), 0.0)) == []
    hub = hub_of(MEMBER)
    hub.hold("u:1")
    assert names(hub.apply(to_user(3, GroupLeft(5, 5)), 0.0)) == ["GUILD_DELETE"]


def test_a_revocation_counts_before_the_hole_in_front_of_it_is_filled() -> None:
    """Whoever hears that tokens are void acts on it at once, and once more in its turn; so does who begins later."""
    hub = hub_of(MEMBER)
    phone, tablet = Bearer(1, 50, "phone"), Bearer(1, 60, "tablet")
    assert not hub.roster.voids(phone)
    assert hub.apply(to_user(3, TokensRevoked(0, 50, "phone")), 0.0) == [
        Expel(("phone",), Revocations(0, (Named(50, "phone"),))),
        Repair("u:1"),
    ]
    assert (hub.roster.voids(phone), hub.roster.voids(tablet)) == (True, False)
    (expel,) = hub.fill(to_user(2, TokensRevoked(60)), 0.0)
    assert expel == Expel(("phone",), Revocations(60))
    hub.roster.detach("phone", 1, 0.0)
    assert hub.release("u:1", 0.0) == []
    assert (hub.roster.voids(phone), hub.roster.voids(tablet)) == (True, False)
    assert hub.roster.position("u:1") == 3
    body = SessionView(ANN, 3, (), (), Revocations(70))
    anew: Hub[str] = Hub()
    anew.roster.put_user(body, 0.0)
    assert anew.roster.voids(tablet)
    assert not anew.roster.voids(Bearer(2, 1, "somebody else's"))


def test_a_group_read_anew_waits_for_users_who_are_not_whole() -> None:
    """What a user missed may say that the user is out: no session is attached on the word of older facts."""
    hub = hub_of(attached=False)
    assert hub.apply(to_user(2, GroupJoined(3, MEMBER)), 0.0) == [FollowGroup(5)]
    hub.hold("u:1")
    assert names(hub.roster.put_group(BODY, 0.0)) == []
    assert names(hub.apply(message(4), 0.0)) == []
    hub.fill(to_user(3, GroupLeft(5, 4)), 0.0)
    assert names(hub.release("u:1", 0.0)) == []
    assert hub.roster.users[1].groups == {}


def test_a_join_found_in_a_repair_waits_for_its_end() -> None:
    """A page of missed events ends with a join, the next may begin with the leave: the group waits for the last."""
    hub = hub_of(MEMBER)
    hub.apply(to_group(5, MemberRemoved(ANN)), 0.0)
    hub.hold("u:1")
    hub.fill(to_user(2, GroupLeft(5, 5)), 0.0)
    assert names(hub.fill(to_user(3, GroupJoined(6, MEMBER)), 0.0)) == []
    hub.roster.sweep(1000.0, 0.0)
    assert names(hub.release("u:1", 0.0)) == ["GUILD_CREATE"]


def test_an_older_removal_does_not_undo_a_newer_join() -> None:
    """Both streams carry the group's seq, so what comes late from the other changes nothing."""
    hub = hub_of()
    assert names(hub.apply(to_user(2, GroupJoined(7, MEMBER)), 0.0)) == ["GUILD_CREATE"]
    assert names(hub.apply(to_group(5, MemberRemoved(ANN)), 0.0)) == ["GUILD_MEMBER_REMOVE"]
    assert names(hub.apply(message(4), 0.0)) == ["MESSAGE_CREATE"]


def test_a_channel_that_nobody_knows_is_asked_for_once() -> None:
    """Its group is repaired; if it is still unknown then, its events are none that we may see."""
    hub = hub_of(MEMBER)
    strange = Event("c:8", Record(9, 0, MessageCreated(ANN, "x"), id=99), 5)
    assert hub.apply(strange, 0.0) == [Repair("g:5")]
    assert hub.release("g:5", 0.0, is_read=True) == []
    assert not hub.is_held("g:5")


def test_a_direct_channel_brought_by_another_is_told_to_who_was_there() -> None:
    """A body of one user names a direct channel that the other's session has not heard of yet."""
    hub, ben = hub_of(), User(2, "ben")
    direct = Channel(9, ChannelType.DIRECT, recipients=(ANN, ben))
    outs = hub.roster.put_user(SessionView(ben, 1, (), (DirectView(direct, 3, 44),)), 0.0)
    assert names(outs) == ["CHANNEL_CREATE"]
    assert outs[-1] == Repair("c:9")
    missed = Event("c:9", Record(2, 0, MessageCreated(ben, "x"), id=43), to=(1, 2))
    assert names(hub.fill(missed, 0.0)) == ["MESSAGE_CREATE"]


STRANGERS = (
    Event("c:77", Record(9, 0, MessageCreated(ANN, "x"), id=99), 55),
    Event("g:55", Record(9, 0, MemberRemoved(ANN)), 55),
    Event("u:2", Record(9, 0, GroupLeft(55, 9)), to=(2,)),
    Event("c:78", Record(1, 0, ChannelOpened(Channel(78, ChannelType.DIRECT, recipients=(BEN, CAT)))), to=(2, 3)),
    Event("c:78", Record(2, 0, MessageCreated(BEN, "x"), id=98), to=(2, 3)),
)


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda event: f"{event.stream}@{event.record.seq}")
def test_what_is_for_others_is_dropped_and_counted(stranger: Event) -> None:
    """An event that came along in an envelope for several changes nothing here but its count."""
    hub = hub_of(MEMBER)
    before = hub.statistics()
    assert hub.apply(stranger, 0.0) == []
    assert hub.statistics() == before | {"events_foreign": 1}


def test_what_came_along_too_early_is_not_taken_for_the_next() -> None:
    """A group's event comes before the group's key is bound: the body that is read later is ahead of it or meets it."""
    for seq, said in ((3, []), (4, ["MESSAGE_CREATE"])):
        hub = hub_of(attached=False)
        assert hub.apply(to_user(2, GroupJoined(3, MEMBER)), 0.0) == [FollowGroup(5)]
        hub.hold("g:5")
        assert hub.apply(message(seq), 0.0) == []
        assert names(hub.roster.put_group(BODY, 0.0)) == ["GUILD_CREATE"]
        assert names(hub.release("g:5", 0.0)) == said
    hub = hub_of(attached=False)
    hub.hold("g:5")
    hub.apply(message(4), 0.0)
    hub.abandon("g:5")
    assert hub.apply(message(5), 0.0) == []
    assert (hub.foreign, hub.is_held("g:5")) == (1, False)


def test_what_still_comes_along_after_the_last_user_left_is_dropped() -> None:
    """Lingering, a group is followed without being told to anybody; swept, its events are others'."""
    hub = hub_of(MEMBER)
    hub.apply(to_group(5, MemberRemoved(ANN)), 0.0)
    assert hub.apply(message(4), 0.0) == []
    assert (hub.roster.position("c:7"), hub.foreign) == (4, 0)
    hub.roster.sweep(60.0, 30.0)
    assert hub.apply(message(6), 60.0) == []
    assert hub.foreign == 1
