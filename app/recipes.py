"""Named recipes with overrides, as requests give them."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from app.problems import InvalidRequest, from_validation

R = TypeVar("R")


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
    known = [part.name for part in fields(recipe)]  # type: ignore[arg-type]
    for key in overrides:
        if key not in known:
            raise InvalidRequest.of(f"overrides.{key}", f"is not a field of a recipe; must be one of {', '.join(known)}")
    try:
        return _adapter(type(recipe)).validate_python({**asdict(recipe), **overrides})  # type: ignore[call-overload]
    except ValidationError as error:
        raise from_validation(error.errors(), prefix="overrides") from None


@cache
def _adapter(kind: type[R]) -> TypeAdapter[R]:
    return TypeAdapter(kind)
