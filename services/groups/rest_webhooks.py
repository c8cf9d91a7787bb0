"""REST routes of the groups service: webhooks, as those manage them who may; and by their tokens, as Discord does.

Ring 4 (shell). Who may do what is decided in `services.groups.core.webhooks`. What is sent to a webhook is history's.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from services.groups.service import OUTAGES, Acting, Service
from services.groups.webhook_bodies import ChangedWebhook, NewWebhook, RenamedWebhook, WebhookBody
from shared.core.change import NOBODY
from shared.door import Caller
from shared.http_bodies import WebhookToken
from shared.http_errors import JsonResponse
from shared.snowflakes import Snowflake

router = APIRouter(prefix="/api/v10", tags=["groups"], responses=OUTAGES)


async def _require_token(groups: Service, webhook_id: Snowflake, token: WebhookToken) -> int:
    groups.webhooks.require_token(webhook_id, token)
    return webhook_id


TokensWebhook = Annotated[int, Depends(_require_token)]
"""The id of the path's webhook, whose token is there, too."""


@router.post("/channels/{channel_id}/webhooks", response_model=WebhookBody)
async def create_webhook(groups: Service, actor: Acting, channel_id: Snowflake, body: NewWebhook) -> Response:
    """Make a webhook of a channel; whoever has its token may write there by it."""
    webhook = await groups.webhooks.create(actor, channel_id, body.fields()["name"])
    return JsonResponse(groups.webhooks.told(webhook))


@router.get("/channels/{channel_id}/webhooks", response_model=list[WebhookBody])
async def list_channel_webhooks(groups: Service, caller: Caller, channel_id: Snowflake) -> Response:
    """List a channel's webhooks, tokens included."""
    webhooks = await groups.webhooks.list_of_channel(caller, channel_id)
    return JsonResponse([groups.webhooks.told(webhook) for webhook in webhooks])


@router.get("/guilds/{guild_id}/webhooks", response_model=list[WebhookBody])
async def list_guild_webhooks(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """List a guild's webhooks, tokens included; only of channels where the caller manages them, too."""
    webhooks = await groups.webhooks.list_of_group(caller, guild_id)
    return JsonResponse([groups.webhooks.told(webhook) for webhook in webhooks])


@router.get("/webhooks/{webhook_id}", response_model=WebhookBody)
async def get_webhook(groups: Service, caller: Caller, webhook_id: Snowflake) -> Response:
    """Return a webhook, its token included."""
    return JsonResponse(groups.webhooks.told(await groups.webhooks.find(caller, webhook_id)))


@router.patch("/webhooks/{webhook_id}", response_model=WebhookBody)
async def change_webhook(groups: Service, actor: Acting, webhook_id: Snowflake, body: ChangedWebhook) -> Response:
    """Rename a webhook, or let it write into another channel of its guild."""
    return JsonResponse(groups.webhooks.told(await groups.webhooks.change(actor, webhook_id, body.fields())))


@router.delete("/webhooks/{webhook_id}", status_code=204)
async def delete_webhook(groups: Service, actor: Acting, webhook_id: Snowflake) -> Response:
    """Delete a webhook: what is sent by it once this has answered is refused."""
    await groups.webhooks.delete(actor, webhook_id)
    return Response(status_code=204)


@router.get("/webhooks/{webhook_id}/{token}", response_model=WebhookBody)
async def get_webhook_by_token(groups: Service, webhook_id: TokensWebhook) -> Response:
    """Return a webhook to who has its token, without who made it."""
    webhook = await groups.webhooks.find(0, webhook_id)
    return JsonResponse(groups.webhooks.told(webhook, with_creator=False))


@router.patch("/webhooks/{webhook_id}/{token}", response_model=WebhookBody)
async def change_webhook_by_token(groups: Service, webhook_id: TokensWebhook, body: RenamedWebhook) -> Response:
    """Rename a webhook by its token."""
    webhook = await groups.webhooks.change(NOBODY, webhook_id, body.fields())
    return JsonResponse(groups.webhooks.told(webhook, with_creator=False))


@router.delete("/webhooks/{webhook_id}/{token}", status_code=204)
async def delete_webhook_by_token(groups: Service, webhook_id: TokensWebhook) -> Response:
    """Delete a webhook by its token."""
    await groups.webhooks.delete(NOBODY, webhook_id)
    return Response(status_code=204)
