"""Reading what a call costs from what it asks for (`core.measure` says where the cost stands).

Law: the price is known before anything is charged, or the most that it can be is
reserved; what the caller says is read in one way or refused, never guessed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.core.errors import BodyTooLarge, CostUnreadable
from gateway.core.forwarding import listed_names
from gateway.core.http_body import CHUNKED
from gateway.core.measure import Measure
from gateway.core.settle import Settle, parse_units, units_of_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.route import Route


def price_call(route: Route, headers: Iterable[tuple[bytes, bytes]], framing: int | None, body: bytes) -> Route:
    """A route at the price of one call. A body of unknown size is reserved at the most, and settled at its end.

    Args:
        route: With measures.
        headers: Of the call; names in lower case.
        framing: Of its body: the announced length, `CHUNKED`, or None.
        body: If the price is in its JSON.

    Raises:
        CostUnreadable: The caller did not say what it has to, or not so that it can be read.
        BodyTooLarge: By its announced length the body costs more than a call may.
    """
    headers = list(headers)
    cost, settle = dict(route.cost), list(route.settle)
    document: Any = _UNREAD
    for measure in route.measures:
        if measure.source == "header":
            cost[measure.meter] = _of_header(measure, headers)
        elif measure.source == "json":
            if document is _UNREAD:
                document = _parse_json(body, headers)
            cost[measure.meter] = _of_json(measure, document)
        else:
            cost[measure.meter] = _of_bytes(measure, framing)
            if framing == CHUNKED and all(rule.meter != measure.meter for rule in settle):
                settle.append(_at_its_end(measure))
    return replace(route, cost=tuple(cost.items()), settle=tuple(settle), is_priced=True)


def most_body_bytes(rules: Iterable[Settle]) -> int | None:
    """The largest body whose cost was reserved, where its size is not known before it ends; None: any."""
    return min((rule.at_most * rule.per_bytes for rule in rules if rule.source == "request bytes"), default=None)


def _at_its_end(measure: Measure) -> Settle:
    return Settle(meter=measure.meter, source="request bytes", per_bytes=measure.per_bytes, at_most=measure.at_most)


def _of_header(measure: Measure, headers: list[tuple[bytes, bytes]]) -> int:
    wanted = measure.name.encode("ascii")
    dashed = wanted.replace(b"_", b"-")
    values = []
    for name, value in headers:
        if name == wanted:
            values.append(value)
        elif name.replace(b"_", b"-") == dashed:  # a CGI-style API cannot tell the two apart
            raise CostUnreadable(f"This call costs what {measure.words} says: send no other spelling of it.")
        elif name == b"connection" and wanted in listed_names(value):
            raise CostUnreadable(f"This call costs what {measure.words} says, and Connection keeps it from the API.")
    if not values:
        return _without(measure)
    units = parse_units(values[0].strip(b" \t")) if len(values) == 1 else None
    return _checked(measure, units, least=1)


def _of_bytes(measure: Measure, framing: int | None) -> int:
    if framing == CHUNKED:
        return measure.at_most
    units = units_of_bytes(framing or 0, measure.per_bytes)
    if units > measure.at_most:
        most = measure.at_most * measure.per_bytes
        raise BodyTooLarge(f"The request body is larger than a call here may send: {most:,} bytes at most.")
    return units


def _of_json(measure: Measure, document: Any) -> int:
    for name in measure.name.split("."):
        if not isinstance(document, dict):
            return _without(measure)
        if any(other != name and other.casefold() == name.casefold() for other in document):
            raise CostUnreadable(
                f"This call costs what {measure.words} says, and a name in it differs from {name!r} by its case only."
            )
        if name not in document:
            return _without(measure)
        document = document[name]
    if measure.counts_items:
        return _checked(measure, len(document) if isinstance(document, list) else None, least=0)
    is_whole = isinstance(document, int) and not isinstance(document, bool)
    return _checked(measure, document if is_whole else None, least=1)


def _without(measure: Measure) -> int:
    if measure.default is None:
        raise CostUnreadable(f"This call costs what {measure.words} says, and it is missing.")
    return measure.default


def _checked(measure: Measure, units: int | None, *, least: int) -> int:
    if units is None or not least <= units <= measure.at_most:
        kind = "a list of at most" if measure.counts_items else f"one whole number from {least} to"
        raise CostUnreadable(f"This call costs what {measure.words} says: {kind} {measure.at_most:,}.")
    return units


_UNREAD = object()


def _parse_json(body: bytes, headers: list[tuple[bytes, bytes]]) -> Any:
    """A document that every parser reads alike, or nothing at all where the body is empty.

    Raises:
        CostUnreadable: It is none, or it is compressed, or a name in it is said twice.
    """
    if any(name == b"content-encoding" and value.strip().lower() != b"identity" for name, value in headers):
        raise CostUnreadable("This call's cost is in its JSON body, which must not be compressed.")
    if not body:
        return None
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise CostUnreadable(
            "This call's cost is in its body, which is not one JSON document in UTF-8 with every name once."
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name is said twice")
    return document


def _refuse(constant: str) -> None:
    raise ValueError(constant)
