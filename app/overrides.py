"""Named recipes with overrides, as requests give them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from app.problems import InvalidRequest, from_validation

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def resolve(recipes: Mapping[str, R], name: str, overrides: Mapping[str, Any], field: str = "recipe") -> R:
    """A recipe by name with some of its fields replaced.

    Args:
        recipes: by name, all of one dataclass.
        name: which.
        overrides: field to value.
        field: of the request, that holds the name.

    Raises:
        InvalidRequest: an unknown name or field, or a value of the wrong type or range.
    """
    if name not in recipes:
        raise InvalidRequest.of(field, f"unknown {field} {name!r}; must be one of {', '.join(recipes)}")
    recipe = recipes[name]
    names = [part.name for part in fields(recipe)]
    for key in overrides:
        if key not in names:
            raise InvalidRequest.of(
                f"overrides.{key}", f"is not a field of a recipe; must be one of {', '.join(names)}"
            )
    try:
        resolved: R = _adapter(type(recipe)).validate_python({**asdict(recipe), **overrides})
        return resolved
    except ValidationError as error:
        raise from_validation(error.errors(), prefix="overrides") from None


class Asked(Protocol):
    """What requests say of a recipe."""

    recipe: str | None
    overrides: dict[str, Any]


@dataclass(frozen=True)
class Choice(Generic[R]):
    """The recipe of a request: the one that it names, or the default.

    Args:
        name: of the recipe.
        recipe: with the overrides.
        warnings: a sentence that names it, where the request does not.
    """

    name: str
    recipe: R
    warnings: list[str]


def choose(recipes: Mapping[str, R], asked: Asked, has_gpu: bool) -> Choice[R]:
    """The recipe that a request names, or `paper-small` where a worker has a GPU, else `quick`.

    Raises:
        InvalidRequest: as `resolve`.
    """
    if asked.recipe is not None:
        return Choice(asked.recipe, resolve(recipes, asked.recipe, asked.overrides), [])
    name = default(has_gpu)
    why = "a worker has a GPU" if has_gpu else "no worker has a GPU"
    told = f"recipe {name!r} was taken, as the request names none and {why}"
    return Choice(name, resolve(recipes, name, asked.overrides), [told])


def default(has_gpu: bool) -> str:
    """The name of the recipe of requests that name none."""
    return "paper-small" if has_gpu else "quick"


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
