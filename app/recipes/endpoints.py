"""`/v1/recipes`."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.dependencies import Reading
from app.recipes import service
from app.recipes.schemas import RecipesOut
from app.routes import Route

router = APIRouter(prefix="/v1/recipes", tags=["recipes"], route_class=Route)


@router.get("")
def list_recipes(
    session: Reading,
    dataset_id: Annotated[
        str | None, Query(description="Of whose images minutes are told; by default of CIFAR-10's.")
    ] = None,
) -> RecipesOut:
    """Every recipe: its fields, what they may be, and roughly how long it takes on this machine."""
    return service.every(session, service.dataset_of(session, dataset_id))
