"""`expand[]`: ids replaced by the objects they name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gateway.sandbox.records import Json
from gateway.sandbox.wire.problems import StripeProblem, invalid

_DEEPEST = 4

Lookup = Callable[[Json, str], Any]
"""Given an object and one of its fields: the object to put there, or KeyError when it cannot be expanded."""


def expand(shape: Json, paths: Iterable[str], lookup: Lookup) -> Json:
    """The object with each dotted path expanded; in place.

    Raises:
        StripeProblem: a path that is too deep or names a field that cannot be expanded.
    """
    for path in paths:
        names = path.split(".")
        if len([name for name in names if name != "data"]) > _DEEPEST:
            raise invalid(f"You cannot expand more than {_DEEPEST} levels of a property", "expand")
        try:
            _expand(shape, names, lookup)
        except KeyError:
            raise _not_expandable(path) from None
    return shape


def _not_expandable(path: str) -> StripeProblem:
    last = path.rsplit(".", 1)[-1]
    message = (
        f"This property cannot be expanded ({last}). You may want to try expanding a parent property "
        "instead, or check the reference for the object."
    )
    return invalid(message, "expand")


def _expand(node: Any, names: list[str], lookup: Lookup) -> None:
    if isinstance(node, list):
        for element in node:
            _expand(element, names, lookup)
        return
    if node is None or not names:
        return
    name, *rest = names
    value = node.get(name)
    if value is None and name in node:
        return
    if not isinstance(value, (dict, list)):
        value = node[name] = lookup(node, name)
    elif not rest and node.get("object") != "list" and not _is_object(value):
        raise KeyError(name)
    _expand(value, rest, lookup)


def _is_object(value: Any) -> bool:
    return isinstance(value, list) or "object" in value
