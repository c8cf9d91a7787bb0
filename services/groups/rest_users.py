"""REST routes of accounts and users: register, log in and out, profiles, search.

Ring 4 (shell). The collaborators are `app.state.groups`, as for `rest`. What costs a password's hash,
or can be guessed, has a budget per address.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from services.groups.bodies import (
    ChangedUser,
    ChangedUserBody,
    DeletedUser,
    Login,
    OwnUserBody,
    ProfileBody,
    Registration,
    Relationship,
    RelationshipBody,
    TokenBody,
)
from services.groups.core.profiles import ProfileChange
from services.groups.service import OUTAGES, Service
from services.groups.store import Profile
from shared.core.errors import InvalidForm
from shared.core.model import User
from shared.core.wire.users import blocked_of, own_user_of, profile_of, user_of
from shared.door import Caller, CallerBearer
from shared.http_bodies import UserBody
from shared.http_errors import JsonResponse
from shared.snowflakes import Cursor, Snowflake

_BLOCKED: Final = 2
"""Discord's number of the one type of relationship that we have."""


async def count_address(request: Request, groups: Service) -> None:
    """Refuse an address that registers or logs in too often; guessing passwords is slow. A dependency."""
    await groups.attempts.count_address(request.client.host if request.client is not None else "")


router = APIRouter(prefix="/api/v10", tags=["groups"], responses=OUTAGES)


@router.post("/auth/register", status_code=201, response_model=TokenBody, dependencies=[Depends(count_address)])
async def register(groups: Service, body: Registration) -> Response:
    """Create an account and return its first token. An address gets a code; nobody is told whose it is."""
    email = groups.emails.require_sendable(body.email) if body.email else ""
    if email:
        await groups.attempts.count_mail(email)
    token, user = await groups.accounts.register(body.username, body.password)
    if email:
        await groups.emails.ask_verification(user.id, email)
    return JsonResponse(token_of(token, user), 201)


@router.post("/auth/login", response_model=TokenBody, dependencies=[Depends(count_address)])
async def login(groups: Service, body: Login) -> Response:
    """Return a new token."""
    await groups.attempts.count_login(body.login)
    return JsonResponse(token_of(*await groups.accounts.login(body.login, body.password)))


@router.post("/auth/logout", status_code=204)
async def logout(groups: Service, bearer: CallerBearer) -> Response:
    """Revoke the token that this is called with, and no other. Its sessions are closed with 4004."""
    await groups.accounts.logout(bearer)
    return Response(status_code=204)


@router.get("/users", response_model=list[UserBody])
async def find_users(
    groups: Service,
    caller: Caller,
    query: Annotated[str, Query(max_length=256)],
    after: Cursor = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
) -> Response:
    """Find users by the begin of their usernames, in that order; `after` is the last user of the page before."""
    return JsonResponse([user_of(user) for user in await groups.profiles.find(query, after, limit)])


@router.get("/users/@me", response_model=OwnUserBody)
async def get_current_user(groups: Service, caller: Caller) -> Response:
    """Return the caller."""
    return JsonResponse(own_of(await groups.profiles.read_own(caller), await groups.emails.read(caller)))


@router.patch("/users/@me", response_model=ChangedUserBody)
async def change_current_user(request: Request, groups: Service, caller: Caller, body: ChangedUser) -> Response:
    """Change the caller's names, bio or password.

    With a new password all tokens so far are revoked, their sessions closed with 4004; a new one is in the answer.
    """
    if body.avatar is not None:
        raise InvalidForm({"avatar": [("AVATAR_UNSUPPORTED", "There are no avatars here.")]})
    token = None
    if body.password is not None or body.new_password is not None:
        await count_address(request, groups)
        await groups.attempts.count_user(caller)
        password, new_password = _require(body, "password"), _require(body, "new_password")
        token, _ = await groups.accounts.change_password(caller, password, new_password)
    if (change := _profile_change(body)) != ProfileChange():
        if change.username is not msgspec.UNSET:
            await groups.attempts.count_user(caller)
        profile = await groups.profiles.change(caller, change)
    else:
        profile = await groups.profiles.read_own(caller)
    email = await groups.emails.read(caller)
    return JsonResponse(own_of(profile, email) | ({"token": token} if token is not None else {}))


@router.post("/users/@me/delete", status_code=204, dependencies=[Depends(count_address)])
async def delete_current_user(groups: Service, caller: Caller, body: DeletedUser) -> Response:
    """Delete the caller's account: sessions are closed with 4004, groups left, bots deleted; messages stay."""
    await groups.attempts.count_user(caller)
    await groups.leaving.delete_own(caller, body.password)
    return Response(status_code=204)


@router.get("/users/@me/relationships", response_model=list[RelationshipBody])
async def list_relationships(groups: Service, caller: Caller) -> Response:
    """List the users whom the caller blocks, by id."""
    return JsonResponse([blocked_of(user) for user in await groups.blocks.list_own(caller)])


@router.put("/users/@me/relationships/{user_id}", status_code=204)
async def block_user(groups: Service, caller: Caller, user_id: Snowflake, body: Relationship) -> Response:
    """Block a user: neither opens a direct channel with the other, nor writes in theirs."""
    if body.type != _BLOCKED:
        raise InvalidForm({"type": [("BASE_TYPE_CHOICES", f"Value must be one of ({_BLOCKED},).")]})
    await groups.blocks.change(caller, user_id, present=True)
    return Response(status_code=204)


@router.delete("/users/@me/relationships/{user_id}", status_code=204)
async def unblock_user(groups: Service, caller: Caller, user_id: Snowflake) -> Response:
    """Block a user no more."""
    await groups.blocks.change(caller, user_id, present=False)
    return Response(status_code=204)


@router.get("/users/{user_id}", response_model=UserBody)
async def get_user(groups: Service, caller: Caller, user_id: Snowflake) -> Response:
    """Return any user."""
    return JsonResponse(user_of((await groups.profiles.read(user_id)).user))


@router.get("/users/{user_id}/profile", response_model=ProfileBody)
async def get_profile(groups: Service, caller: Caller, user_id: Snowflake) -> Response:
    """Return any user with its bio."""
    profile = await groups.profiles.read(user_id)
    return JsonResponse(profile_of(profile.user, profile.bio))


def _require(body: ChangedUser, field: str) -> str:
    value: str | None = getattr(body, field)
    if value is None:
        raise InvalidForm({field: [("BASE_TYPE_REQUIRED", "This field is required")]})
    return value


def _profile_change(body: ChangedUser) -> ProfileChange:
    """Return what of the profile is told in the body. A null username is none; a null bio is an empty one."""
    told = body.model_fields_set
    return ProfileChange(
        username=body.username if body.username is not None else msgspec.UNSET,
        global_name=body.global_name if "global_name" in told else msgspec.UNSET,
        bio=(body.bio or "") if "bio" in told else msgspec.UNSET,
    )


def own_of(profile: Profile, email: str | None) -> dict[str, Any]:
    """Return the caller with what nobody else is told: the proved address, and whether there is one; bots need none."""
    return own_user_of(profile.user, profile.bio) | {"email": email, "verified": bool(email) or profile.user.bot}


def token_of(token: str, user: User) -> dict[str, Any]:
    """Return a token with its user."""
    return {"token": token, "user": own_user_of(user)}
