"""Customers are searched by their metadata, as Stripe's query language says."""

from __future__ import annotations

import pytest

from gateway.sandbox.wire.problems import StripeProblem
from gateway.sandbox.wire.searching import search

RECORDS = ({"a": "1"}, {"a": "1", "b": 'x"y'}, {"b": "Z"})


def found(query: str, **params: int) -> list[dict[str, str]]:
    answer = search(
        RECORDS, {"query": query, **params}, "/v1/customers/search", labels=lambda one: one, shape=lambda one: one
    )
    assert answer["object"] == "search_result"
    shown: list[dict[str, str]] = answer["data"]
    return shown


def test_clauses_are_joined_by_and_unless_all_are_joined_by_or() -> None:
    one, two, three = RECORDS
    assert found('metadata["a"]:"1"') == [two, one]
    assert found('metadata["a"]:"1" metadata["b"]:"x\\"y"') == [two]
    assert found('metadata["a"]:"1" AND metadata["b"]:"z"') == []
    assert found('metadata["a"]:"1" or metadata["b"]:"z"') == [three, two, one]


def test_an_empty_value_is_not_what_is_not_there() -> None:
    assert found('metadata["c"]:""') == []


@pytest.mark.parametrize(
    "query", ['name:"x"', 'metadata["a"]:1', 'metadata["a"]:"1" AND metadata["a"]:"1" OR metadata["a"]:"1"', "x"]
)
def test_what_cannot_be_read_is_refused(query: str) -> None:
    with pytest.raises(StripeProblem):
        found(query)
