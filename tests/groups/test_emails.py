"""E-mail: an address is whose it was proved to be, a code is worth little, and nobody is told of others."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.groups.code_store import MemoryCodes
from services.groups.core.codes import CODES_A_DAY, LIFETIME_MS, TRIES, Code
from services.groups.mail import MemoryMailer
from services.groups.moderate import moderate
from tests.groups.test_applications import make, status_of
from tests.groups.test_rest import error_of, reasons_of
from tests.groups.world import PASSWORD, Replica, World

ANN = "Ann@mail.example"
NEW_PASSWORD = "another battery staple"


@pytest.fixture
def mailer() -> MemoryMailer:
    """Return where mails go."""
    return MemoryMailer()


@pytest.fixture
async def groups(world: World, mailer: MemoryMailer) -> AsyncIterator[Replica]:
    """Return a replica that sends mails."""
    async with world.open_replica(mailer=mailer) as replica:
        yield replica


async def code_of(replica: Replica, mailer: MemoryMailer, to: str = ANN) -> str:
    """Return the code of the last mail, which went there."""
    outbox = replica.groups.outbox
    assert outbox is not None
    async with asyncio.timeout(5):
        while outbox.waiting or not mailer.sent:
            await asyncio.sleep(0)
    assert mailer.sent[-1].to == to
    found = re.search(r"\b\d{6}\b", mailer.sent[-1].text)
    assert found is not None
    assert found[0] in mailer.sent[-1].subject
    return found[0]


async def register(replica: Replica, name: str, email: str = ANN) -> str:
    """Register with an address; return the token."""
    body = {"username": name, "password": PASSWORD, "email": email}
    answer = await replica.call("POST", "/auth/register", body=body)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


async def verify(replica: Replica, token: str, code: str) -> Any:
    """Tell a code."""
    return await replica.call("POST", "/auth/verify", token, {"code": code})


async def reset(replica: Replica, code: str, email: str = ANN) -> Any:
    """Set a new password by a code."""
    return await replica.call("POST", "/auth/reset", body={"email": email, "code": code, "password": NEW_PASSWORD})


async def email_of(replica: Replica, token: str) -> str | None:
    """Return what the user is told to be its address."""
    told: str | None = (await replica.call("GET", "/users/@me", token)).json()["email"]
    return told


async def test_an_address_is_proved_by_its_code(groups: Replica, mailer: MemoryMailer) -> None:
    """Until then it is nobody's; the code works once, for its user, and others never see the address."""
    ann = await register(groups, "ann")
    bob, _ = await groups.register("bob")
    code = await code_of(groups, mailer)
    assert await email_of(groups, ann) is None
    assert reasons_of(await verify(groups, bob, code), "code") == ["INVALID_CODE"]
    answer = await verify(groups, ann, code)
    assert (answer.status_code, answer.json()["email"], await email_of(groups, ann)) == (200, ANN, ANN)
    assert reasons_of(await verify(groups, ann, code), "code") == ["INVALID_CODE"]
    assert "mail.example" not in (await groups.call("GET", "/users?query=ann", bob)).text


async def test_a_password_is_set_by_mail(world: World, groups: Replica, mailer: MemoryMailer) -> None:
    """Old tokens and the old password are out; the address may be told in another case."""
    ann = await register(groups, "ann")
    await verify(groups, ann, await code_of(groups, mailer))
    answer = await groups.call("POST", "/auth/forgot", body={"email": ANN.upper()})
    assert (answer.status_code, answer.content) == (204, b"")
    code = await code_of(groups, mailer, ANN.upper())
    done = await reset(groups, code, ANN.lower())
    assert done.status_code == 200
    assert [await status_of(groups, token) for token in (ann, done.json()["token"])] == [401, 200]
    for password, status in ((PASSWORD, 400), (NEW_PASSWORD, 200)):
        body = {"login": "ann", "password": password}
        assert (await groups.call("POST", "/auth/login", body=body)).status_code == status
    assert reasons_of(await reset(groups, code), "code") == ["INVALID_CODE"]


async def test_nobody_is_told_whether_an_address_is_known(world: World, groups: Replica, mailer: MemoryMailer) -> None:
    """Who asks for a new password gets the same answer after the same steps, and so does who tells a wrong code."""
    ann = await register(groups, "ann")
    await verify(groups, ann, await code_of(groups, mailer))
    await register(groups, "eve", "eve@mail.example")
    gone = await register(groups, "gone", "gone@mail.example")
    await verify(groups, gone, await code_of(groups, mailer, "gone@mail.example"))
    await groups.call("POST", "/users/@me/delete", gone, {"password": PASSWORD})
    world.now += 24 * 3600 * 1000
    mailer.sent.clear()
    told = set()
    for email in (ANN, "eve@mail.example", "gone@mail.example", "nobody@mail.example"):
        counted = world.codes = CountedCodes()
        async with world.open_replica(mailer=mailer) as replica:
            asked = await replica.call("POST", "/auth/forgot", body={"email": email})
            wrong = await reset(replica, "no such", email)
            told.add((asked.status_code, asked.content, wrong.status_code, wrong.content, *counted.asked))
            await asyncio.sleep(0)
    assert len(told) == 1
    assert [mail.to for mail in mailer.sent] == [ANN]


class CountedCodes(MemoryCodes):
    """Codes that note what they are asked: the only thing in these requests that takes time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def read(self, key: str) -> Code | None:
        """Note it."""
        self.asked.append("read")
        return await super().read(key)

    async def put(self, code: Code) -> None:
        """Note it."""
        self.asked.append("put")
        await super().put(code)

    async def spend_try(self, key: str, now: int) -> Code | None:
        """Note it."""
        self.asked.append("spend_try")
        return await super().spend_try(key, now)


async def test_a_code_is_soon_worth_nothing(world: World, groups: Replica, mailer: MemoryMailer) -> None:
    """After ten minutes, after five wrong tries, and when another one was sent."""
    ann = await register(groups, "ann")
    old = await code_of(groups, mailer)
    world.now += LIFETIME_MS
    assert reasons_of(await verify(groups, ann, old), "code") == ["INVALID_CODE"]
    mailer.sent.clear()
    assert (await groups.call("POST", "/auth/verify/resend", ann)).status_code == 204
    new = await code_of(groups, mailer)
    for _ in range(TRIES):
        assert reasons_of(await verify(groups, ann, "x" + new), "code") == ["INVALID_CODE"]
    assert reasons_of(await verify(groups, ann, new), "code") == ["INVALID_CODE"]
    mailer.sent.clear()
    assert (await groups.call("POST", "/auth/verify/resend", ann)).status_code == 204
    newest = await code_of(groups, mailer)
    assert (await verify(groups, ann, newest)).status_code == 200


async def test_a_mailbox_gets_so_many_a_day(world: World, groups: Replica, mailer: MemoryMailer) -> None:
    """And one a minute, where clients have budgets; nobody is told that there were enough today."""
    ann = await register(groups, "ann")
    for _ in range(CODES_A_DAY + 5):
        assert (await groups.call("POST", "/auth/verify/resend", ann)).status_code == 204
    await code_of(groups, mailer)
    assert len(mailer.sent) == CODES_A_DAY
    world.now += 24 * 3600 * 1000
    assert (await groups.call("POST", "/auth/verify/resend", ann)).status_code == 204
    await code_of(groups, mailer)
    assert len(mailer.sent) == CODES_A_DAY + 1
    async with world.open_replica(mailer=mailer, per_minute=2) as replica:
        statuses = [(await replica.call("POST", "/auth/verify/resend", ann)).status_code for _ in range(3)]
    assert statuses == [204, 204, 429]


async def test_an_address_has_one_account(world: World, groups: Replica, mailer: MemoryMailer) -> None:
    """Whoever proves it first has it; only who reads its mail is told so. Who gives it up, or goes, frees it."""
    ann = await register(groups, "ann")
    await verify(groups, ann, await code_of(groups, mailer))
    bob = await register(groups, "bob", ANN.lower())
    code = await code_of(groups, mailer, ANN.lower())
    assert reasons_of(await verify(groups, bob, code), "email") == ["EMAIL_ALREADY_REGISTERED"]
    body = {"email": "other@mail.example", "password": "not this one"}
    assert reasons_of(await groups.call("PUT", "/users/@me/email", ann, body), "password")
    assert (await groups.call("PUT", "/users/@me/email", ann, body | {"password": PASSWORD})).status_code == 204
    assert await email_of(groups, ann) == ANN
    await verify(groups, ann, await code_of(groups, mailer, "other@mail.example"))
    assert await email_of(groups, ann) == "other@mail.example"
    world.now += 61_000
    for token, status in ((bob, 200), (ann, 400)):
        world.now += 61_000
        body = {"email": ANN, "password": PASSWORD}
        assert (await groups.call("PUT", "/users/@me/email", token, body)).status_code == 204
        assert (await verify(groups, token, await code_of(groups, mailer))).status_code == status
    await groups.call("POST", "/users/@me/delete", bob, {"password": PASSWORD})
    world.now += 61_000
    await groups.call("PUT", "/users/@me/email", ann, {"email": ANN, "password": PASSWORD})
    assert (await verify(groups, ann, await code_of(groups, mailer))).status_code == 200


async def test_of_two_who_prove_an_address_at_once_one_gets_it(groups: Replica, mailer: MemoryMailer) -> None:
    """Two accounts, one mailbox, both codes told in the same moment."""
    tokens, codes = [], []
    for name in ("ann", "bob"):
        tokens.append(await register(groups, name))
        codes.append(await code_of(groups, mailer))
        mailer.sent.clear()
    answers = await asyncio.gather(*(verify(groups, *pair) for pair in zip(tokens, codes, strict=True)))
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    assert [await email_of(groups, token) for token in tokens].count(ANN) == 1


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ann",
        "@b.example",
        "ann@",
        "ann@b",
        "a b@c.example",
        "a@b@c.example",
        "a\n@b.example",
        "a" * 65 + "@b.example",
    ],
)
async def test_what_is_no_address(groups: Replica, mailer: MemoryMailer, email: str) -> None:
    """Is refused, and nothing is sent anywhere."""
    assert reasons_of(await groups.call("POST", "/auth/forgot", body={"email": email}), "email")
    assert mailer.sent == []


async def test_who_is_blocked_gets_no_new_password(world: World, groups: Replica, mailer: MemoryMailer) -> None:
    """Neither a mail, nor by a code that came before."""
    ann = await register(groups, "ann")
    await verify(groups, ann, await code_of(groups, mailer))
    await groups.call("POST", "/auth/forgot", body={"email": ANN})
    code = await code_of(groups, mailer)
    await moderate(world.store, "block", "ann", world.now)
    assert reasons_of(await reset(groups, code), "code") == ["INVALID_CODE"]
    mailer.sent.clear()
    assert (await groups.call("POST", "/auth/forgot", body={"email": ANN})).status_code == 204
    assert mailer.sent == []


async def test_a_mail_server_that_fails_holds_up_nobody(world: World, groups: Replica, mailer: MemoryMailer) -> None:
    """The answer is the same; another code comes when it is asked for."""
    mailer.is_failing = True
    ann = await register(groups, "ann")
    assert groups.groups.outbox is not None
    while groups.groups.outbox.waiting:
        await asyncio.sleep(0)
    mailer.is_failing = False
    await groups.call("POST", "/auth/verify/resend", ann)
    assert (await verify(groups, ann, await code_of(groups, mailer))).status_code == 200


async def test_without_mail_there_are_no_addresses(world: World) -> None:
    """It is said on the field; everything else goes on."""
    async with world.open_replica() as replica:
        body = {"username": "ann", "password": PASSWORD, "email": ANN}
        assert reasons_of(await replica.call("POST", "/auth/register", body=body), "email") == ["EMAIL_UNAVAILABLE"]
        assert reasons_of(await replica.call("POST", "/auth/forgot", body={"email": ANN}), "email")
        await replica.register("ann")


async def test_where_an_address_is_required(world: World, mailer: MemoryMailer) -> None:
    """Who has not proved one may look, and neither join nor make groups, nor open direct channels, nor own bots."""
    async with world.open_replica(mailer=mailer, verified=True) as replica:
        ann = await register(replica, "ann")
        _, bob_id = await replica.register("bob")
        asked: list[tuple[str, dict[str, Any]]] = [
            ("/guilds", {"name": "Room", "public": True}),
            ("/guilds/join", {"name": "Room"}),
            ("/users/@me/channels", {"recipient_id": str(bob_id)}),
            ("/applications", {"name": "robot"}),
        ]
        for path, body in asked:
            assert error_of(await replica.call("POST", path, ann, body)) == (403, 40002)
        assert (await replica.call("GET", "/users?query=bob", ann)).status_code == 200
        await verify(replica, ann, await code_of(replica, mailer))
        for path, body in asked[:3]:
            assert (await replica.call("POST", path, ann, body)).status_code in (200, 201)
        bot, _ = await make(replica, ann)
        assert (await replica.call("POST", "/guilds/join", bot, {"name": "Room"})).status_code == 200
