"""Contract of the group store: memory and MongoDB project the same, in any order, and page the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import uuid4

import msgspec
import pytest

from services.groups.memory_store import MemoryGroups
from services.groups.mongo_store import MongoGroups
from services.groups.store import Account, Claim, GroupStore, Job, Membership, MemberState, Profile, Tally
from shared.core.ids import MAX_ID
from shared.core.model import (
    Ban,
    Channel,
    ChannelType,
    Group,
    Invite,
    LastMessage,
    Member,
    Overwrite,
    OverwriteType,
    Role,
    User,
    Webhook,
)
from shared.core.revocation import Named, Revocations
from shared.mongo import open_database
from shared.settings import MongoSettings

NOW = 1_790_000_000_000
ALICE = User(MAX_ID, "alice", global_name="Alice ☂")
BOB = User(1 << 61, "bob", bot=True)
GARDEN = Group(1 << 62, "Garden", ALICE.id, public=True)


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[GroupStore]:
    """Yield an empty store of either kind."""
    if request.param == "memory":
        yield MemoryGroups()
        return
    settings = MongoSettings(url=request.getfixturevalue("mongo_url"), database=f"groups_{uuid4().hex}")
    async with open_database(settings) as mongo:
        yield MongoGroups(mongo)


def member(user_id: int, *, group_id: int = GARDEN.id, nick: str | None = None) -> Member:
    """Return a member whose user has this id."""
    return Member(group_id, User(user_id, f"user{user_id}"), NOW, nick, roles=(3, MAX_ID))


async def test_first_claim_holds(store: GroupStore) -> None:
    """A key has one owner: whoever comes later is told who holds it; the owner may repeat its claim."""
    first = Claim("u:straße ☂", ALICE.id, NOW)
    assert await store.read_claim(first.key) is None
    assert await store.claim(first) == first
    assert await store.claim(Claim(first.key, BOB.id, NOW + 1)) == first
    assert await store.claim(Claim(first.key, ALICE.id, NOW + 2)) == first
    assert await store.read_claim(first.key) == first


async def test_racing_claims_have_one_winner(store: GroupStore) -> None:
    """All who race for a key are told the same owner, and it is one of them."""
    claims = [Claim("g:garden", owner, NOW + owner) for owner in range(1, 9)]
    told = await asyncio.gather(*(store.claim(claim) for claim in claims))
    assert len(set(told)) == 1
    assert told[0] in claims


async def test_claim_is_replaced_only_as_it_was_seen(store: GroupStore) -> None:
    """A take-over names the claim that it saw, with its time; of two such take-overs one succeeds."""
    old = await store.claim(Claim("g:garden", 1, NOW))
    assert not await store.replace_claim(Claim(old.key, 1, NOW - 1), Claim(old.key, 2, NOW))
    assert not await store.replace_claim(Claim("g:none", 1, NOW), Claim("g:none", 2, NOW))
    rivals = [Claim(old.key, owner, NOW + 1) for owner in (2, 3)]
    told = await asyncio.gather(*(store.replace_claim(old, rival) for rival in rivals))
    assert sorted(told) == [False, True]
    assert await store.read_claim(old.key) == rivals[told.index(True)]
    assert await store.read_claim("g:none") is None


async def test_account_is_stored_once(store: GroupStore) -> None:
    """A repeated registration does not change the password."""
    assert await store.read_account(ALICE.id) is None
    await store.create_account(Account(ALICE.id, "$argon2id$one"))
    await store.create_account(Account(ALICE.id, "$argon2id$two"))
    assert await store.read_account(ALICE.id) == Account(ALICE.id, "$argon2id$one")


async def test_a_token_is_issued_under_the_hash_that_was_seen(store: GroupStore) -> None:
    """Times of issue never go back, whatever the clocks say; whose hash is another one gets none."""
    assert await store.issue(ALICE.id, "$argon2id$one", NOW) is None
    await store.create_account(Account(ALICE.id, "$argon2id$one", NOW))
    assert await store.issue(ALICE.id, "$argon2id$one", NOW - 5) == NOW
    assert await store.issue(ALICE.id, "$argon2id$one", NOW + 5) == NOW + 5
    assert await store.issue(ALICE.id, "$argon2id$two", NOW + 9) is None
    assert await store.read_account(ALICE.id) == Account(ALICE.id, "$argon2id$one", NOW + 5)


async def test_a_password_is_replaced_only_as_it_was_seen(store: GroupStore) -> None:
    """Another hash takes the place of the one that was seen, if no token was issued since; of two one succeeds."""
    old = Account(ALICE.id, "$argon2id$one", NOW)
    assert not await store.replace_password(old, "$argon2id$two")
    await store.create_account(old)
    assert not await store.replace_password(Account(ALICE.id, "$argon2id$no", NOW), "$argon2id$two")
    assert not await store.replace_password(Account(ALICE.id, "$argon2id$one", NOW - 1), "$argon2id$two")
    told = await asyncio.gather(*(store.replace_password(old, f"$argon2id${number}") for number in (2, 3)))
    assert sorted(told) == [False, True]
    new = f"$argon2id${2 + told.index(True)}"
    assert await store.read_account(ALICE.id) == Account(ALICE.id, new, NOW + 1)
    assert await store.issue(ALICE.id, new, NOW) == NOW + 1


async def test_states_of_an_account(store: GroupStore) -> None:
    """Only an active account is issued tokens; who was deleted has no password and, told so, comes back no more."""
    assert await store.set_state(ALICE.id, "blocked") is None
    await store.create_account(Account(ALICE.id, "$argon2id$one", NOW))
    blocked = Account(ALICE.id, "$argon2id$one", NOW + 1, "blocked")
    assert await store.set_state(ALICE.id, "blocked", unless=("deleted",)) == blocked
    assert await store.read_account(ALICE.id) == blocked
    assert await store.issue(ALICE.id, "$argon2id$one", NOW + 9) is None
    assert await store.set_state(ALICE.id, "deleted", unless=("blocked",)) is None
    assert await store.set_state(ALICE.id, "active", unless=("deleted",)) == Account(ALICE.id, "$argon2id$one", NOW + 2)
    assert await store.issue(ALICE.id, "$argon2id$one", NOW) == NOW + 2
    assert await store.set_state(ALICE.id, "deleted") == Account(ALICE.id, "", NOW + 3, "deleted")
    assert await store.set_state(ALICE.id, "active", unless=("blocked", "deleted")) is None
    assert await store.issue(ALICE.id, "", NOW + 9) is None
    assert not await store.replace_password(Account(ALICE.id, "$argon2id$one", NOW + 3), "$argon2id$two")


async def test_address_of_an_account(store: GroupStore) -> None:
    """An address stays when the password changes, whatever was seen of it, and goes with the account."""
    assert not await store.set_email(ALICE.id, "a@b.example")
    old = Account(ALICE.id, "$argon2id$one", NOW)
    await store.create_account(old)
    assert await store.set_email(ALICE.id, "a@b.example")
    assert await store.replace_password(old, "$argon2id$two")
    assert await store.read_account(ALICE.id) == Account(ALICE.id, "$argon2id$two", NOW + 1, email="a@b.example")
    assert await store.set_state(ALICE.id, "deleted") == Account(ALICE.id, "", NOW + 2, "deleted")
    assert not await store.set_email(ALICE.id, "c@d.example")


async def test_bots_of_a_user(store: GroupStore) -> None:
    """A user's bots are listed by id with what they tell, without the gone; nobody else's, and no people."""
    for number in (9, 3, 6):
        await store.put_user(User(number, f"bot{number}", bot=True), 1, bio="beep", owner=ALICE.id)
    await store.put_user(User(4, "bot4", bot=True), 1, owner=BOB.id)
    await store.put_user(ALICE, 1)
    await store.put_user(User(6, "nobody", bot=True), 2, gone=True)
    found = [Profile(User(number, f"bot{number}", bot=True), "beep", ALICE.id) for number in (3, 9)]
    assert await store.list_bots(ALICE.id, 10) == found
    assert await store.list_bots(ALICE.id, 1) == found[:1] or len(await store.list_bots(ALICE.id, 1)) == 1
    assert await store.list_bots(5, 10) == []


async def test_what_was_revoked(store: GroupStore) -> None:
    """What is void comes back as it was put, of many users at once; an older projection changes nothing."""
    named = Revocations(NOW, (Named(NOW, "one"), Named(NOW + 1, "two")))
    assert await store.read_revocations((ALICE.id, BOB.id)) == {}
    await store.put_revocations(ALICE.id, named, 3)
    await store.put_revocations(ALICE.id, Revocations(), 2)
    await store.put_revocations(BOB.id, Revocations(NOW), 2)
    assert await store.read_revocations((ALICE.id, BOB.id, 5)) == {ALICE.id: named, BOB.id: Revocations(NOW)}
    assert await store.read_revocations(()) == {}


async def test_users_and_groups_by_id(store: GroupStore) -> None:
    """Those that exist are returned by id, as they were put; the others are left out."""
    await store.put_user(ALICE, 1)
    await store.put_user(BOB, 1)
    await store.put_group(GARDEN, 4)
    assert await store.read_users([ALICE.id, 5, BOB.id]) == {ALICE.id: ALICE, BOB.id: BOB}
    assert await store.read_groups([GARDEN.id, 5]) == {GARDEN.id: GARDEN}
    other = Group(7, "Shed", BOB.id, description="tools ☂", system_channel_id=MAX_ID, system_flags=3)
    await store.put_group(other, 2)
    assert await store.read_groups([7, GARDEN.id]) == {GARDEN.id: GARDEN, 7: other}
    await store.remove_group(7, 2)
    assert 7 in await store.read_groups([7])
    await store.remove_group(7, 3)
    await store.put_group(other, 3)
    assert await store.read_groups([7, GARDEN.id]) == {GARDEN.id: GARDEN}
    assert await store.read_users([]) == {}
    assert await store.read_groups([]) == {}


async def test_projection_ignores_what_is_not_newer(store: GroupStore) -> None:
    """Events applied again, late or in any order leave what the latest says, and nothing of the others."""
    steps = [
        (1, User(7, "old", global_name="Old", avatar="a")),
        (2, User(7, "older", global_name="Older")),
        (3, User(7, "new")),
    ]
    for order in ([1, 2, 3], [3, 2, 1], [2, 3, 1, 2, 3]):
        user_id = int("".join(map(str, order)))
        for step in order:
            seq, user = steps[step - 1]
            await store.put_user(User(user_id, user.username, user.global_name, user.avatar), seq)
        assert await store.read_users([user_id]) == {user_id: User(user_id, "new")}


async def test_racing_projections_leave_the_newest(store: GroupStore) -> None:
    """However many replicas project the same new document at once, the highest seq is what stays."""
    for round_number in range(5):
        user_id = 100 + round_number
        order = random.Random(round_number).sample(range(1, 9), 8)  # noqa: S311 (a reproducible shuffle)
        await asyncio.gather(*(store.put_user(User(user_id, f"name{seq}"), seq) for seq in order))
        assert await store.read_users([user_id]) == {user_id: User(user_id, "name8")}


async def test_profiles(store: GroupStore) -> None:
    """A profile comes back as it was put, the bio with it; who is gone is told so, and still a user by id."""
    await store.put_user(ALICE, 1, bio="tea ☂")
    assert await store.read_profile(ALICE.id) == Profile(ALICE, "tea ☂")
    await store.put_user(User(ALICE.id, "nobody"), 2, gone=True)
    assert await store.read_profile(ALICE.id) == Profile(User(ALICE.id, "nobody"), gone=True)
    assert await store.read_users([ALICE.id]) == {ALICE.id: User(ALICE.id, "nobody")}
    assert await store.read_profile(BOB.id) is None


async def test_users_are_found_by_the_key_of_their_names(store: GroupStore) -> None:
    """By what a folded name begins with, in its order, above a name; not who is gone, nor by a former name."""
    names = ["Ann", "anna", "ANNE", "an", "bob", "ánn", "z", "􏿽"]
    for number, name in enumerate(names, 1):
        await store.put_user(User(number, name), 1)
    await store.put_user(User(50, "annex"), 1)
    await store.put_user(User(50, "annex"), 2, gone=True)
    await store.put_user(User(51, "anno"), 1)
    await store.put_user(User(51, "else"), 2)

    async def ids(prefix: str, after: str = "", limit: int = 10) -> list[int]:
        return [user.id for user in await store.find_users(prefix, after, limit)]

    assert await ids("ann") == [1, 2, 3]
    assert await ids("an", limit=2) == [4, 1]
    assert await ids("an", "ann") == [2, 3]
    assert await ids("an", "anne") == await ids("$") == await ids(".*") == []
    assert await ids("an", "a") == [4, 1, 2, 3]
    assert await ids("á") == [6]
    assert await ids("􏿽") == [8]
    assert await ids("e") == [51]


async def test_a_recipient_is_renamed_in_all_its_channels(store: GroupStore) -> None:
    """The other recipient stays as it is, and so do the channels of others."""
    await store.put_channel(Channel(1, ChannelType.DIRECT, recipients=(ALICE, BOB)), 1)
    await store.put_channel(Channel(2, ChannelType.DIRECT, recipients=(User(5, "eve"), ALICE)), 1)
    await store.put_channel(Channel(3, ChannelType.DIRECT, recipients=(User(5, "eve"), BOB)), 1)
    renamed = User(ALICE.id, "alicia")
    await store.rename_recipient(renamed)
    found = [channel.recipients for channel_id in (1, 2, 3) if (channel := await store.read_channel(channel_id))]
    assert found == [(renamed, BOB), (User(5, "eve"), renamed), (User(5, "eve"), BOB)]


async def test_who_blocks_whom(store: GroupStore) -> None:
    """Blocks are one-sided, listed by id, and told of pairs; what is older changes nothing."""
    for user_id in (9, 4, 6):
        await store.put_block(ALICE.id, user_id, user_id, at=NOW, present=True)
    await store.put_block(ALICE.id, 6, 7, at=NOW, present=False)
    await store.put_block(ALICE.id, 6, 5, at=NOW, present=True)
    await store.put_block(4, ALICE.id, 1, at=NOW, present=True)
    assert await store.list_blocked(ALICE.id, 10) == [4, 9]
    assert len(await store.list_blocked(ALICE.id, 1)) == 1
    assert await store.list_blocked(9, 10) == []
    pairs = [(ALICE.id, 4), (4, ALICE.id), (ALICE.id, 6), (9, ALICE.id)]
    assert await store.read_blocks(pairs) == {(ALICE.id, 4), (4, ALICE.id)}


async def test_a_direct_channel_is_closed(store: GroupStore) -> None:
    """And opened again; its creation, projected once more, changes nothing of that."""
    direct = Channel(1, ChannelType.DIRECT, recipients=(ALICE, BOB))
    await store.close_direct(1, closed=True)
    await store.put_channel(direct, 1)
    assert await store.read_channel(1) == direct
    await store.close_direct(1, closed=True)
    await store.put_channel(direct, 1)
    assert await store.read_channel(1) == Channel(1, ChannelType.DIRECT, recipients=(ALICE, BOB), closed=True)
    await store.close_direct(1, closed=False)
    assert await store.read_channel(1) == direct


async def test_jobs(store: GroupStore) -> None:
    """What is due is found, longest due first; only who sees a job as it is takes or ends it."""
    job = Job("rename:5", NOW, 1)
    await store.put_job(job)
    await store.put_job(Job("rename:6", NOW - 5, 2))
    await store.put_job(Job("rename:7", NOW + 5, 3))
    assert await store.find_jobs(NOW, 10) == [Job("rename:6", NOW - 5, 2)]
    assert [one.mark for one in await store.find_jobs(NOW + 1, 10)] == [2, 1]
    assert [one.mark for one in await store.find_jobs(NOW + 1, 1)] == [2]
    told = await asyncio.gather(*(store.take_job(job, NOW + due) for due in (10, 20)))
    (taken,) = [one for one in told if one is not None]
    await store.end_job(job)
    assert taken in await store.find_jobs(NOW + 30, 10)
    await store.put_job(Job("rename:5", NOW, 9))
    await store.end_job(taken)
    assert await store.take_job(taken, NOW) is None
    assert Job("rename:5", NOW, 9) in await store.find_jobs(NOW + 30, 10)
    await store.end_job(Job("rename:5", NOW, 9))
    assert [one.mark for one in await store.find_jobs(NOW + 30, 10)] == [2, 3]


async def test_channels_of_a_group(store: GroupStore) -> None:
    """A group's channels come by position, then id; those of others and direct ones do not."""
    channels = [
        Channel(30, ChannelType.TEXT, "c", GARDEN.id, position=1),
        Channel(20, ChannelType.TEXT, "b", GARDEN.id, position=1, topic="bees"),
        Channel(40, ChannelType.TEXT, "a", GARDEN.id, position=0),
    ]
    for channel in channels:
        await store.put_channel(channel, 1)
    await store.put_channel(Channel(50, ChannelType.TEXT, "x", 99), 1)
    await store.put_channel(Channel(60, ChannelType.DIRECT, recipients=(ALICE, BOB)), 1)
    found = await store.list_channels([GARDEN.id, 98, 99])
    assert found[GARDEN.id] == [channels[2], channels[1], channels[0]]
    assert ([channel.id for channel in found[99]], found.get(98, [])) == ([50], [])
    assert await store.list_channels([GARDEN.id]) == {GARDEN.id: found[GARDEN.id]}
    assert await store.read_channel(20) == channels[1]
    assert await store.read_channel(21) is None


async def test_direct_channels_of_a_user(store: GroupStore) -> None:
    """Each of the two finds the channel, newest first and no more than asked for."""
    for channel_id in (3, 9, 6):
        await store.put_channel(
            Channel(channel_id, ChannelType.DIRECT, recipients=(ALICE, User(channel_id * 10, "peer"))), 1
        )
    await store.put_channel(Channel(7, ChannelType.TEXT, "general", GARDEN.id), 1)

    async def ids(limit: int, *user_ids: int) -> list[list[int]]:
        found = await store.list_directs(user_ids, limit)
        return [[channel.id for channel in found.get(user_id, [])] for user_id in user_ids]

    assert await ids(10, ALICE.id) == [[9, 6, 3]]
    assert await ids(2, ALICE.id, 30, BOB.id) == [[9, 6], [3], []]
    assert await ids(10, 30) == [[3]]
    assert await ids(10, BOB.id) == [[]]


async def test_group_dms_of_a_user(store: GroupStore) -> None:
    """They are found by each who is in them now, newest first; channels of any kind by id, without the gone."""
    for channel_id in (3, 9):
        await store.put_channel(Channel(channel_id, ChannelType.GROUP_DIRECT, recipients=(ALICE, BOB), as_of=1), 1)
    await store.put_channel(Channel(6, ChannelType.DIRECT, recipients=(ALICE, BOB)), 1)
    left = Channel(3, ChannelType.GROUP_DIRECT, recipients=(BOB,), owner_id=BOB.id, as_of=4)
    await store.put_channel(left, 4)
    assert [one.id for one in await store.list_group_directs(BOB.id, 10)] == [9, 3]
    assert [one.id for one in await store.list_group_directs(BOB.id, 1)] == [9]
    assert [one.id for one in await store.list_group_directs(ALICE.id, 10)] == [9]
    await store.remove_channel(6, 2)
    found = await store.read_channels((3, 6, 7, 9))
    assert sorted(found) == [3, 9]
    assert found[3] == left


async def test_removed_member_leaves_a_tombstone(store: GroupStore) -> None:
    """After a removal a late join of lower seq changes nothing; a later one does."""
    assert await store.read_member(GARDEN.id, 5) is None
    await store.put_member(member(5, nick="five"), 2)
    assert await store.read_member(GARDEN.id, 5) == MemberState(member(5, nick="five"), 2)
    await store.remove_member(GARDEN.id, 5, 4)
    await store.put_member(member(5), 3)
    assert await store.read_member(GARDEN.id, 5) == MemberState(None, 4)
    assert await store.read_members([(GARDEN.id, 5)]) == {}
    assert await store.list_members(GARDEN.id, 0, 10) == []
    assert await store.tally_members([GARDEN.id]) == {GARDEN.id: Tally()}
    await store.put_member(member(5), 6)
    assert await store.read_member(GARDEN.id, 5) == MemberState(member(5), 6)
    await store.remove_member(GARDEN.id, 8, 7)
    assert await store.read_member(GARDEN.id, 8) == MemberState(None, 7)


async def test_members_are_paged_by_user_id(store: GroupStore) -> None:
    """Pages above the last id of the page before give every member once, in order, and count them."""
    user_ids = [*range(1, 12), 1 << 60, MAX_ID]
    for user_id in random.Random(1).sample(user_ids, len(user_ids)):  # noqa: S311 (a reproducible shuffle)
        await store.put_member(member(user_id), user_id % 100 + 1)
    await store.put_member(member(3, group_id=77), 1)
    await store.remove_member(GARDEN.id, 4, 1000)
    user_ids.remove(4)
    listed: list[int] = []
    while page := await store.list_members(GARDEN.id, listed[-1] if listed else 0, 5):
        assert len(page) <= 5
        listed += [found.user.id for found in page]
    assert listed == user_ids
    survey = {GARDEN.id: Tally(len(user_ids), 1, MAX_ID), 5: Tally()}
    assert await store.tally_members([GARDEN.id, 5]) == survey


async def test_pages_by_a_tally_lack_nobody(store: GroupStore) -> None:
    """Ids may lie as thick and as thin as they like: pages are full, and go on where the last ended."""
    thick = [(1 << 60) + number for number in range(40)]
    user_ids = [7, *thick, *((1 << 61) + (number << 40) for number in range(20)), MAX_ID]
    for user_id in user_ids:
        await store.put_member(member(user_id), 1)
    await store.put_tally(GARDEN.id, Tally(len(user_ids), 7, MAX_ID, 9))
    for limit in (1, 5, 50, 1000):
        listed: list[int] = []
        while page := await store.list_members(GARDEN.id, listed[-1] if listed else 0, limit):
            listed += [found.user.id for found in page]
            assert len(page) == limit or listed == user_ids
        assert listed == user_ids
    assert await store.list_members(GARDEN.id, MAX_ID, 5) == []


async def test_members_are_found_by_the_begin_of_a_name(store: GroupStore) -> None:
    """By username, and by the name that the group shows: nick, else global name; of this group, and while they stay."""
    ann, bob = User(1, "Anna", "Zed"), User(2, "bob", "Anton")
    await store.put_member(Member(GARDEN.id, ann, 0), 1)
    await store.put_member(Member(GARDEN.id, bob, 0), 2)
    await store.put_member(Member(GARDEN.id, User(3, "carl"), 0, nick="ANDY"), 3)
    await store.put_member(Member(77, User(4, "anke"), 0), 4)

    async def found(prefix: str, limit: int = 10) -> list[int]:
        return [one.user.id for one in await store.find_members(GARDEN.id, prefix, limit)]

    assert [await found(prefix) for prefix in ("an", "ann", "z", "bo", "c", "x")] == [[1, 2, 3], [1], [1], [2], [3], []]
    assert len(await found("an", 2)) == 2
    await store.put_member(Member(GARDEN.id, bob, 0, nick="Bert"), 5)
    await store.remove_member(GARDEN.id, 1, 6)
    assert [await found(prefix) for prefix in ("an", "be", "z")] == [[3], [2], []]


async def test_a_tally_follows_the_last_event(store: GroupStore) -> None:
    """It is told in place of a survey, and an older one changes nothing; each event counts one, bounds only widen."""
    tally = Tally().after(5, 1, joined=True).after(3, 2, joined=True).after(3, 4, joined=False)
    assert tally == Tally(1, 3, 5, 4)
    await store.put_tally(GARDEN.id, tally)
    await store.put_tally(GARDEN.id, Tally(9, 1, 9, 3))
    assert await store.tally_members([GARDEN.id]) == {GARDEN.id: tally}


async def test_memberships_of_a_user_in_some_groups(store: GroupStore) -> None:
    """Members are read by group and user, and no others; who is gone is left out."""
    for group_id in (1, 2, 3):
        await store.put_member(member(5, group_id=group_id), 1)
    await store.put_member(member(6, group_id=4), 1)
    await store.remove_member(2, 5, 2)
    found = await store.read_members([(1, 5), (2, 5), (4, 5), (4, 6)])
    assert found == {(1, 5): member(5, group_id=1), (4, 6): member(6, group_id=4)}
    assert await store.read_members([]) == {}


async def test_direct_channels_that_users_closed(store: GroupStore) -> None:
    """Each has a mark until it is taken back; late projections change nothing; of many the newest are listed."""
    for channel_id in (9, MAX_ID, 3):
        await store.put_hidden(ALICE.id, channel_id, 5, upto=LastMessage(MAX_ID, channel_id % 10))
    await store.put_hidden(BOB.id, 9, 1, upto=LastMessage())
    await store.put_hidden(ALICE.id, 3, 7, upto=None)
    await store.put_hidden(ALICE.id, 3, 6, upto=LastMessage(1, 1))
    assert await store.read_hidden(ALICE.id, 9) == LastMessage(MAX_ID, 9)
    assert [await store.read_hidden(*pair) for pair in ((ALICE.id, 3), (ALICE.id, 4))] == [None, None]
    marks = {MAX_ID: LastMessage(MAX_ID, MAX_ID % 10), 9: LastMessage(MAX_ID, 9)}
    assert await store.list_hidden([ALICE.id, BOB.id, 77], 10) == {ALICE.id: marks, BOB.id: {9: LastMessage()}}
    assert await store.list_hidden([ALICE.id], 1) == {ALICE.id: {MAX_ID: marks[MAX_ID]}}
    assert await store.list_hidden([], 10) == {}


async def test_own_view_of_groups(store: GroupStore) -> None:
    """A user's groups are listed ascending while present; a view that was left is still known by its seq."""
    for group_id in (9, 3, MAX_ID, 6):
        await store.put_membership(Membership(5, group_id, 1, present=True), group_id % 10 + 1)
    await store.put_membership(Membership(6, 4, 1, present=True), 1)
    await store.put_membership(Membership(5, 6, 12, present=False), 20)
    await store.put_membership(Membership(5, 6, 1, present=True), 7)
    assert await store.list_memberships([5], 10) == {5: [3, 9, MAX_ID]}
    assert await store.list_memberships([5, 6, 7], 2) == {5: [3, 9], 6: [4]}
    assert await store.read_membership(5, 6) == Membership(5, 6, 12, present=False)
    assert await store.read_membership(5, 7) is None


async def test_invites(store: GroupStore) -> None:
    """An invite is found by its code and in its group's list until it is gone; late projections change nothing."""
    one, two, other = (
        Invite(code, group_id, 7, ALICE, NOW, max_uses=3)
        for code, group_id in (("b", GARDEN.id), ("a", GARDEN.id), ("c", 5))
    )
    for seq, invite in enumerate((one, two, other), 1):
        await store.put_invite(invite, seq)
    used = msgspec.structs.replace(one, uses=2)
    await store.put_invite(used, 5)
    await store.put_invite(one, 4)
    assert await store.list_invites(GARDEN.id, 10) == [two, used]
    assert len(await store.list_invites(GARDEN.id, 1)) == 1
    await store.remove_invite("b", 6)
    await store.put_invite(used, 5)
    assert await store.read_invite("b") is None
    assert await store.read_invite("c") == other
    assert await store.list_invites(GARDEN.id, 10) == [two]


async def test_webhooks(store: GroupStore) -> None:
    """A webhook is found by its id and in its group's and channel's lists until it is gone, whatever comes late."""
    one, two, elsewhere, other = (
        Webhook(webhook_id, group_id, channel_id, "hook", ALICE)
        for webhook_id, group_id, channel_id in (
            (MAX_ID, GARDEN.id, 7),
            (5, GARDEN.id, 7),
            (6, GARDEN.id, 8),
            (9, 5, 7),
        )
    )
    for seq, webhook in enumerate((one, two, elsewhere, other), 1):
        await store.put_webhook(webhook, seq)
    moved = msgspec.structs.replace(one, channel_id=8, name="builds")
    await store.put_webhook(moved, 6)
    await store.put_webhook(one, 5)
    assert await store.list_webhooks(GARDEN.id, 10) == [two, elsewhere, moved]
    assert await store.list_webhooks(GARDEN.id, 10, channel_id=8) == [elsewhere, moved]
    assert len(await store.list_webhooks(GARDEN.id, 2)) == 2
    await store.remove_webhook(MAX_ID, 7)
    await store.put_webhook(moved, 6)
    assert await store.read_webhook(MAX_ID) is None
    assert await store.read_webhook(9) == other
    assert await store.list_webhooks(GARDEN.id, 10, channel_id=8) == [elsewhere]


async def test_roles_of_groups(store: GroupStore) -> None:
    """Roles are listed by group and id as they are now; one that is gone is in no list, whatever comes late."""
    seers, others = Role(3, 1, "seers", 1 << 52, 2, 0xFFFFFF, hoist=True), Role(MAX_ID, 1, "others", mentionable=True)
    everyone = Role(2, 2, "@everyone", 1024)
    for role in (others, seers, everyone):
        await store.put_role(role, 4)
    assert await store.list_roles([1, 2, 9]) == {1: [seers, others], 2: [everyone]}
    await store.put_role(Role(3, 1, "late"), 3)
    await store.remove_role(MAX_ID, 6)
    await store.put_role(others, 5)
    assert await store.list_roles([1]) == {1: [seers]}


async def test_a_deleted_channel_stays_deleted(store: GroupStore) -> None:
    """A channel that is gone is neither read nor listed; what comes late does not bring it back."""
    said = Overwrite(GARDEN.id, OverwriteType.ROLE, 1 << 51, 1 << 10)
    kept = Channel(5, ChannelType.TEXT, "kept", GARDEN.id, 1, "topic", (), 6, 30, nsfw=True, overwrites=(said,))
    gone = Channel(6, ChannelType.CATEGORY, "gone", GARDEN.id)
    for channel in (kept, gone):
        await store.put_channel(channel, 3)
    await store.remove_channel(gone.id, 7)
    await store.put_channel(gone, 6)
    assert await store.read_channel(gone.id) is None
    assert await store.read_channel(kept.id) == kept
    assert await store.list_channels([GARDEN.id]) == {GARDEN.id: [kept]}


async def test_bans(store: GroupStore) -> None:
    """Bans are read one by one and in pages from either end, by user id; a lifted one is gone until another comes."""
    bans = [Ban(1, User(number, f"user{number}"), ALICE.id, "spam ☂" if number % 2 else "") for number in range(1, 6)]
    for ban in reversed(bans):
        await store.put_ban(ban, 2)
    await store.put_ban(Ban(2, BOB), 2)
    await store.lift_ban(1, 3, 5)
    await store.put_ban(bans[2], 4)
    assert await store.read_ban(1, 3) is None
    assert await store.read_ban(1, 1) == bans[0]
    assert await store.read_ban(3, 1) is None
    beyond = MAX_ID + 1
    assert await store.list_bans(1, 0, beyond, 3) == [bans[0], bans[1], bans[3]]
    assert await store.list_bans(1, 2, beyond, 3) == [bans[3], bans[4]]
    assert await store.list_bans(1, 0, 5, 2) == [bans[1], bans[3]]
    await store.put_ban(bans[2], 6)
    assert await store.read_ban(1, 3) == bans[2]
