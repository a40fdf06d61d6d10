"""Stripe's search query language, as far as this account is searched: metadata that equals a text.

Clauses stand behind each other or are joined by AND, or else all by OR. Values are compared without regard to case,
and a quote inside one is escaped. A real search finds what was written a minute ago or so; this one finds it at once.

Source: https://docs.stripe.com/search#search-query-language
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from gateway.sandbox.records import Json
from gateway.sandbox.wire.params import Spec, Text, Whole
from gateway.sandbox.wire.problems import invalid

_MOST = 100
_USUAL = 10
SEARCH: Spec = {"query": Text(required=True), "limit": Whole(least=1, most=_MOST), "page": Text()}

_TEXT = r'"((?:[^"\\]|\\.)*)"'
_CLAUSE = re.compile(rf"\s*metadata\[{_TEXT}\]\s*:\s*{_TEXT}\s*")
_JOINT = re.compile(r"(AND|OR)\s+", re.IGNORECASE)

One = TypeVar("One")


def search(
    records: Iterable[One],
    params: Mapping[str, Any],
    url: str,
    *,
    labels: Callable[[One], Mapping[str, str]],
    shape: Callable[[One], Json],
) -> Json:
    """The first page of the records that a query finds, newest first; no page follows it here.

    Args:
        records: Oldest first.
        params: As `SEARCH` reads them.
        url: Of the endpoint.
        labels: The metadata of a record.
        shape: What is shown of it.

    Raises:
        StripeProblem: The query cannot be read, or asks for what is not searched here.
    """
    clauses, joins_all = _read(params["query"])
    meet = all if joins_all else any
    found = [one for one in reversed(list(records)) if meet(_is_met(clause, labels(one)) for clause in clauses)]
    limit = params.get("limit", _USUAL)
    return {
        "object": "search_result",
        "data": [shape(one) for one in found[:limit]],
        "has_more": len(found) > limit,
        "next_page": None,
        "url": url,
    }


def _read(query: str) -> tuple[list[tuple[str, str]], bool]:
    clauses: list[tuple[str, str]] = []
    joints: set[str] = set()
    place = 0
    while place < len(query):
        clause = _CLAUSE.match(query, place)
        if clause is None:
            raise invalid(f"We were unable to parse your search query: {query!r}.", "query")
        clauses.append((_plain(clause[1]), _plain(clause[2])))
        place = clause.end()
        joint = _JOINT.match(query, place)
        if joint is not None:
            joints.add(joint[1].upper())
            place = joint.end()
        elif place < len(query):
            joints.add("AND")
    if len(joints) > 1:
        raise invalid("We were unable to parse your search query: AND and OR cannot be mixed.", "query")
    return clauses, "OR" not in joints


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _is_met(clause: tuple[str, str], labels: Mapping[str, str]) -> bool:
    name, value = clause
    return labels.get(name, "").casefold() == value.casefold() and name in labels
