"""`/v1/webhooks`."""

from fastapi import APIRouter, Response

from app.dependencies import Reading, SettingsIn, Writing
from app.pages import Cursor, Limit, Page, paginate
from app.routes import Route
from app.webhooks import service
from app.webhooks.schemas import DeliveryOut, NewWebhookOut, WebhookIn, WebhookOut
from app.webhooks.tables import Delivery, Webhook

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=Route)


@router.post("", status_code=201)
def create_webhook(
    session: Writing, body: WebhookIn, settings: SettingsIn, response: Response
) -> NewWebhookOut:
    """An address that is told when jobs end, with the secret that signs what it gets.

    Messages follow standardwebhooks.com. One that is not answered with 2xx is sent again, for about a day.
    """
    row = service.create(session, body, settings)
    response.headers["Cache-Control"] = "no-store"
    return NewWebhookOut(**WebhookOut.model_validate(row).model_dump(), secret=row.secret)


@router.get("")
def list_webhooks(session: Reading, cursor: Cursor = None, limit: Limit = 50) -> Page[WebhookOut]:
    """Webhooks, newest first."""
    rows, following = paginate(session, service.listing(), None, Webhook.id, cursor, limit)
    return Page(items=[WebhookOut.model_validate(row) for row in rows], next_cursor=following)


@router.get("/{webhook_id}")
def get_webhook(session: Reading, webhook_id: str) -> WebhookOut:
    """One webhook."""
    return WebhookOut.model_validate(service.get(session, webhook_id))


@router.delete("/{webhook_id}", status_code=204)
def delete_webhook(session: Writing, webhook_id: str) -> None:
    """Removes a webhook with all its messages."""
    service.delete(session, webhook_id)


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    session: Reading, webhook_id: str, cursor: Cursor = None, limit: Limit = 50
) -> Page[DeliveryOut]:
    """The messages of a webhook, newest first, and what came of them."""
    query = service.messages(session, webhook_id)
    rows, following = paginate(session, query, None, Delivery.id, cursor, limit)
    return Page(items=[DeliveryOut.model_validate(row) for row in rows], next_cursor=following)


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver")
def redeliver(session: Writing, webhook_id: str, delivery_id: str) -> DeliveryOut:
    """Sends a message again, whatever came of it."""
    return DeliveryOut.model_validate(service.redeliver(session, webhook_id, delivery_id))
