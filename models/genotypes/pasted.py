"""Genotypes of DARTS as people paste them: out of a log, a notebook, a JSON file or a Python module.

Read as syntax and never evaluated. What has one meaning is taken; what lacks something, as the formats of
other projects do, is refused by its name.
"""

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from models.genotypes.genotype import GenotypeError

FORM = "Genotype(normal=[…], …)"

FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
"""The fields of the named tuple of DARTS, in its order."""

_CALL = re.compile(r"(?:\b\w+\.)?\bGenotype\s*\(")

_WHOLE = ("int", "int8", "int16", "int32", "int64", "uint8", "intp")
"""What numpy calls whole numbers, as it prints them since version 2."""

_FOREIGN = (
    (
        re.compile(r"NetworkSelectorDatasetInfo|inputs_node_normal|edge_normal_\d"),
        "a configuration of NAS-Bench-301: bring it as a genotype, by `ConfigLoader`'s "
        "`convert_config_to_genotype` of its code",
    ),
    (
        re.compile(r"normal/(op|input)_\d|normal_n\d_p\d|normal_n\d_switch"),
        "an export of NNI: for each node k its two operations (`normal/op_k_…`) with their inputs are the "
        "pairs (operation, input) of the list `normal`, and so for `reduce`",
    ),
)
"""Formats of other projects that lack what a genotype has, or name it otherwise."""


def fields_of(text: str) -> dict[str, Any]:
    """The cells of a genotype in a text, as `genotype.from_dict` reads them.

    Args:
        text: `Genotype(…)` alone or somewhere in it, a printed dictionary, or JSON; perhaps in quotes, behind
            a name and `=`, or with a comma behind it.

    Raises:
        GenotypeError: naming the first field at fault, `text` if the whole cannot be read.
    """
    text = _bare(text)
    for pattern, what in _FOREIGN:
        if pattern.search(text):
            raise GenotypeError("text", f"is {what}")
    if text.startswith("{"):
        return _flat(_dictionary(text))
    found = {_call(text, place.start()) for place in _CALL.finditer(text)}
    if not found:
        raise GenotypeError("text", f"is not of the form {FORM}")
    if len(found) > 1:
        raise GenotypeError("text", f"has {len(found)} different genotypes; give one")
    return _flat(_arguments(found.pop()))


def _bare(text: str) -> str:
    """A text without quotes and commas around all of it."""
    text = text.strip().rstrip(",;").rstrip()
    while len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        text = text[1:-1].strip()
    return text


def _call(text: str, start: int) -> str:
    """The call that begins at a place, to the parenthesis that closes it."""
    depth = 0
    for end in range(text.index("(", start), len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0:
            return text[start : end + 1]
    raise GenotypeError("text", f"is not of the form {FORM}: '(' was never closed")


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise GenotypeError("text", f"is not of the form {FORM}: {error}") from None


def _arguments(text: str) -> dict[str, Any]:
    call = _parsed(text)
    if not isinstance(call, ast.Call):
        raise GenotypeError("text", f"must be one call of the form {FORM}")
    if len(call.args) > len(FIELDS):
        raise GenotypeError("text", f"has {len(call.args)} values; a genotype has {', '.join(FIELDS)}")
    given: list[tuple[str, ast.expr]] = list(zip(FIELDS, call.args, strict=False))
    given += [(keyword.arg or "**", keyword.value) for keyword in call.keywords]
    fields: dict[str, Any] = {}
    for name, value in given:
        if name in fields:
            raise GenotypeError(name, "is given twice")
        fields[name] = _value(value, name)
    return fields


def _dictionary(text: str) -> dict[str, Any]:
    """A dictionary as JSON has it, or as Python prints it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    node = _parsed(text)
    if not isinstance(node, ast.Dict):
        raise GenotypeError("text", f"is not of the form {FORM}")
    fields: dict[str, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
            raise GenotypeError("text", "must have names of fields as its keys")
        if key.value in fields:
            raise GenotypeError(key.value, "is given twice")
        fields[key.value] = _value(value, key.value)
    return fields


def _value(node: ast.expr, field: str) -> Any:
    """A list, tuple, text or number; `range`, `list` and numpy's whole numbers are read too."""
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item, field) for item in node.elts]
    if isinstance(node, ast.Call) and not node.keywords:
        return _called(node, field)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise GenotypeError(field, "must be written out with plain lists, strings and numbers") from None


def _called(node: ast.Call, field: str) -> Any:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    values = [_value(argument, field) for argument in node.args]
    if name == "range" and len(values) == 2 and all(type(b) is int and 0 <= b <= 100 for b in values):
        return list(range(*values))
    if name in ("list", "tuple") and len(values) == 1 and isinstance(values[0], list):
        return values[0]
    if name in _WHOLE and len(values) == 1 and type(values[0]) is int:
        return values[0]
    if name == "range":
        raise GenotypeError(field, "must be a list or range(first, end) with numbers from 0 to 100")
    raise GenotypeError(field, "must be written out with plain lists, strings and numbers")


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with the edges of each cell in one list: some write one for each node.

    Raises:
        GenotypeError: the edges carry weights.
    """
    found = {}
    for name, value in fields.items():
        if isinstance(value, list) and value and all(_is_node(item) for item in value):
            value = [edge for node in value for edge in node]
        if isinstance(value, list) and any(_is_weighted(edge) for edge in value):
            raise GenotypeError(
                name,
                "has edges with weights, as GDAS prints them: (operation, predecessor, weight); leave the "
                "weights out",
            )
        found[name] = value
    return found


def _is_node(value: Any) -> bool:
    """Whether it is a list of edges."""
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_edge, value))


def _is_edge(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) in (2, 3) and isinstance(value[0], str)


def _is_weighted(value: Any) -> bool:
    return _is_edge(value) and not isinstance(value, str) and len(value) == 3 and isinstance(value[2], float)
