"""`/v1/keys`."""

from fastapi import APIRouter, Response

from app.dependencies import Reading, Writing
from app.keys import service
from app.keys.schemas import KeyIn, KeyOut, NewKeyOut
from app.keys.tables import Key
from app.pages import Cursor, Limit, Page, paginate
from app.routes import Route

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=Route)


@router.post("", status_code=201)
def create_key(session: Writing, body: KeyIn, response: Response) -> NewKeyOut:
    """A new key; its text is in this answer alone. Once there is a key every request needs one."""
    row, text = service.create(session, body)
    response.headers["Cache-Control"] = "no-store"  # so that no store of answers keeps the text either
    return NewKeyOut(**KeyOut.model_validate(row).model_dump(), key=text)


@router.get("")
def list_keys(session: Reading, cursor: Cursor = None, limit: Limit = 50) -> Page[KeyOut]:
    """Keys, newest first, with their last use; revoked ones too."""
    rows, following = paginate(session, service.listing(), None, Key.id, cursor, limit)
    return Page(items=[KeyOut.model_validate(row) for row in rows], next_cursor=following)


@router.delete("/{key_id}")
def revoke_key(session: Writing, key_id: str) -> KeyOut:
    """Revokes a key, by its id or name; it opens nothing from the next second on."""
    return KeyOut.model_validate(service.revoke(session, key_id))
