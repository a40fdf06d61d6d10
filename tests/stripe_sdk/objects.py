"""The pinned SDK is the schema of what comes over the wire: its annotations say what an object has.

An object is checked against the class that the SDK makes of it: every field it has must be annotated there,
every field that is not Optional must be present, and values must be of the annotated kind.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import types
import typing
from decimal import Decimal
from functools import cache
from typing import Any, Literal, Union

import stripe
from stripe._object_classes import OBJECT_CLASSES, V2_OBJECT_CLASSES
from stripe._stripe_object import StripeObject, UntypedStripeObject
from stripe.events._event_classes import get_v2_event_class


@cache
def class_of(object_name: str) -> type:
    module, name = (OBJECT_CLASSES | V2_OBJECT_CLASSES)[object_name]
    return getattr(importlib.import_module(module), name)


@cache
def _namespace(module_name: str) -> dict[str, Any]:
    """What the module's annotations can name: its own names, and those it imports for type checkers."""
    module = sys.modules[module_name]
    names = dict(vars(module))
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for imported in node.body:
                exec(ast.unparse(imported), names)
    return names


@cache
def fields_of(cls: type) -> dict[str, Any]:
    plain = type(cls.__name__, (), {"__annotations__": dict(cls.__annotations__)})
    hints = typing.get_type_hints(plain, globalns=_namespace(cls.__module__), localns=vars(cls))
    return {name: hint for name, hint in hints.items() if not name.startswith("_") and name != "OBJECT_NAME"}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in {Union, types.UnionType}:
        return tuple(one for arg in typing.get_args(hint) for one in _alternatives(arg))
    return (hint,)


def faults(value: Any, hint: Any, path: str) -> list[str]:
    """Everything that is wrong with a value; the words of an enumeration must be known ones."""
    options = _alternatives(hint)
    literals = {word for one in options if typing.get_origin(one) is Literal for word in typing.get_args(one)}
    if literals and isinstance(value, (str, bool)):
        return [] if value in literals else [f"{path}: {value!r} is not one of {sorted(map(str, literals))}"]
    results = [_faults_of_one(value, one, path) for one in options if typing.get_origin(one) is not Literal]
    return min(results, key=len) if results else [f"{path}: {value!r} does not fit {hint}"]


def _faults_of_one(value: Any, hint: Any, path: str) -> list[str]:
    origin = typing.get_origin(hint) or hint
    if inspect.isclass(origin) and issubclass(origin, stripe.ListObject):
        return _faults_of_list(value, hint, path)
    if origin is list and isinstance(value, list):
        (element,) = typing.get_args(hint)
        return [fault for at, one in enumerate(value) for fault in faults(one, element, f"{path}[{at}]")]
    untyped = inspect.isclass(origin) and issubclass(origin, UntypedStripeObject)
    if inspect.isclass(origin) and issubclass(origin, StripeObject) and not untyped:
        return _faults_of_object(value, origin, path)
    fits = {
        Any: True,
        Decimal: isinstance(value, str) and value.lstrip("-").replace(".", "", 1).isdigit(),
    }.get(origin, isinstance(value, dict) if untyped else type(value) is origin)
    return [] if fits else [f"{path}: {value!r} is not {origin}"]


def _faults_of_list(value: Any, hint: Any, path: str) -> list[str]:
    if not isinstance(value, dict) or value.get("object") != "list":
        return [f"{path}: not a list object"]
    (element,) = typing.get_args(hint)
    found = [fault for at, one in enumerate(value["data"]) for fault in faults(one, element, f"{path}[{at}]")]
    missing = {"data", "has_more", "url"} - value.keys()
    return found + [f"{path}: no {name}" for name in sorted(missing)]


def _faults_of_object(value: Any, cls: type, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: not an object"]
    if value.get("deleted") is True:
        return []  # what is left of a deleted object is its id; the class describes living ones
    return _faults_of_fields(value, fields_of(cls), path)


def _told_fields(event_type: str) -> dict[str, Any]:
    """Of an event that is fetched: what they all have, and what those of its type have besides."""
    return fields_of(stripe.v2.core.Event) | fields_of(get_v2_event_class(event_type))


def _faults_of_fields(value: dict[str, Any], fields: dict[str, Any], path: str) -> list[str]:
    found = [f"{path}.{name}: unknown to the SDK" for name in value if name not in fields]
    for name, hint in fields.items():
        if name in value:
            found.extend(faults(value[name], hint, f"{path}.{name}"))
        elif type(None) not in _alternatives(hint):
            found.append(f"{path}.{name}: missing")
    return found


def faults_of(value: dict[str, Any]) -> list[str]:
    """Check an object as it came over the wire, and what an event carries."""
    if "next_page_url" in value:  # a page of the newer API, which is no object
        return [fault for one in value["data"] for fault in faults_of(one)]
    if value["object"] == "v2.core.event":
        return _faults_of_fields(value, _told_fields(value["type"]), value["type"])
    if value["object"] in {"list", "search_result"}:
        return [fault for one in value["data"] for fault in faults_of(one)]
    found = _faults_of_object(value, class_of(value["object"]), value["object"])
    if value["object"] == "event":
        found += faults_of(value["data"]["object"])
        found += _previous_faults(value)
    return found


def _previous_faults(event: dict[str, Any]) -> list[str]:
    known = fields_of(class_of(event["data"]["object"]["object"]))
    previous = event["data"].get("previous_attributes", {})
    return [f"{event['type']}.previous_attributes.{name}: unknown" for name in previous if name not in known]
