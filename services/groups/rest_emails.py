"""REST routes of e-mail addresses: proving one, and a new password by it.

Ring 4 (shell). The collaborators are `app.state.groups`, as for `rest`. Each has a budget per address of the network
and per mailbox or user.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from services.groups.bodies import (
    ForgottenPassword,
    NewEmail,
    OwnUserBody,
    ResetPassword,
    TokenBody,
    ToldCode,
)
from services.groups.rest_users import count_address, own_of, token_of
from services.groups.service import Service
from shared.door import Caller
from shared.http import ErrorBody
from shared.http_errors import JsonResponse

router = APIRouter(
    prefix="/api/v10",
    tags=["groups"],
    responses={"5XX": {"model": ErrorBody, "description": "Try again: a part that is needed did not answer"}},
    dependencies=[Depends(count_address)],
)


@router.put("/users/@me/email", status_code=204)
async def change_email(groups: Service, caller: Caller, body: NewEmail) -> Response:
    """Send a code to an address; told to `POST /auth/verify`, it makes the address the caller's."""
    await groups.attempts.count_user(caller)
    email = groups.emails.require_sendable(body.email)
    await groups.accounts.require_password(caller, body.password)
    await groups.attempts.count_mail(email)
    await groups.emails.ask_verification(caller, email)
    return Response(status_code=204)


@router.post("/auth/verify", response_model=OwnUserBody)
async def verify_email(groups: Service, caller: Caller, body: ToldCode) -> Response:
    """Prove an address by the code that was sent there."""
    await groups.attempts.count_user(caller)
    email = await groups.emails.verify(caller, body.code)
    return JsonResponse(own_of(await groups.profiles.read_own(caller), email))


@router.post("/auth/verify/resend", status_code=204)
async def resend_code(groups: Service, caller: Caller) -> Response:
    """Send another code where the last one went; nothing happens without one. One a minute, ten a day."""
    await groups.attempts.count_mail(f"user {caller}")
    await groups.emails.ask_again(caller)
    return Response(status_code=204)


@router.post("/auth/forgot", status_code=204)
async def ask_reset(groups: Service, body: ForgottenPassword) -> Response:
    """Send a code for a new password to this address, if an account has it; the answer is the same if none does."""
    email = groups.emails.require_sendable(body.email)
    await groups.attempts.count_mail(email)
    await groups.emails.ask_reset(email)
    return Response(status_code=204)


@router.post("/auth/reset", response_model=TokenBody)
async def reset_password(groups: Service, body: ResetPassword) -> Response:
    """Set a new password by the code: all tokens so far are revoked, their sessions closed with 4004."""
    await groups.attempts.count_login(body.email)
    return JsonResponse(token_of(*await groups.emails.reset(body.email, body.code, body.password)))
