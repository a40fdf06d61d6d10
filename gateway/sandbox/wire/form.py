"""`application/x-www-form-urlencoded` with nested brackets: `items[0][price]=x`, `expand[]=y`."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl

from gateway.sandbox.wire.problems import StripeProblem, invalid

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_MOST_FIELDS = 1000

Tree = dict[str, Any]
"""Strings, and trees by name; a list is a tree whose names are numbers, or a list for `[]`."""


def parse_form(text: str) -> Tree:
    """The parameters of a body or a query.

    Raises:
        StripeProblem: a name that is not well formed, or one that is both a value and an object.
    """
    tree: Tree = {}
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS):
        matched = _NAME.fullmatch(name)
        if matched is None:
            raise invalid(f"Invalid parameter name: {name}", name)
        path = [matched[1], *re.findall(r"\[([^\[\]]*)\]", matched[2])]
        _set(tree, path, value, name)
    return tree


def parse_json(text: str) -> Tree:
    """The same of a body of the newer API, which is JSON: null unsets, as the empty string does in a form.

    Raises:
        StripeProblem: it is no JSON object.
    """
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise StripeProblem("The request body is not a JSON object.")
    return {name: _as_text(value) for name, value in found.items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_text(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_text(one) for one in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _set(tree: Tree, path: list[str], value: str, name: str) -> None:
    *parents, last = path
    if last == "" and parents:
        *parents, last = parents
        node = _descend(tree, parents, name)
        listed = node.setdefault(last, [])
        if not isinstance(listed, list):
            raise invalid(f"Invalid parameter: {name}", name)
        listed.append(value)
        return
    node = _descend(tree, parents, name)
    if isinstance(node.get(last), (dict, list)):
        raise invalid(f"Invalid parameter: {name}", name)
    node[last] = value


def _descend(tree: Tree, parents: list[str], name: str) -> Tree:
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            raise invalid(f"Invalid parameter: {name}", name)
        tree = child
    return tree
