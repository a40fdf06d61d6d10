"""Routes that no rate holds because they cost nothing of what it counts: allowed, and said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.policyfiles import compile_policy, read_sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = """\
version: 1
default_tier: free
meters: {tokens: {}}
tiers:
  free:
    limits: [2 per second burst 10, 5 tokens per second on chats, 100 requests per day]
routes:
  - {match: POST /v1/chat, cost: {tokens: 1}, group: chats}
  - {match: POST /v1/other, COST}
  - match: "* /v1/**"
"""


def cautions(policies: Callable[..., Path], text: str) -> list[tuple[int, str]]:
    compiled = compile_policy(read_sources(policies(api=text)))
    return [(one.line, one.message) for one in compiled.cautions if "as fast as they come" in one.message]


@pytest.mark.parametrize("cost", ["cost: 0", "cost: {requests: 0, tokens: 1}"])
def test_a_route_that_costs_nothing_of_what_a_rate_counts_is_said(policies: Callable[..., Path], cost: str) -> None:
    ((line, words),) = cautions(policies, TEXT.replace("COST", cost))
    assert line == 9
    assert words.startswith(
        "'POST /v1/other' costs nothing of what a rate of tier 'free' counts ('2 requests per second burst 10')"
    )


@pytest.mark.parametrize("cost", ["cost: 1", "cost: {tokens: 1}", "cost: request header X-N at most 9, group: chats"])
def test_a_route_that_some_rate_counts_is_not_spoken_of(policies: Callable[..., Path], cost: str) -> None:
    assert not cautions(policies, TEXT.replace("COST", cost))


def test_a_tier_without_rates_is_not_spoken_of(policies: Callable[..., Path]) -> None:
    text = TEXT.replace("2 per second burst 10, 5 tokens per second on chats, ", "")
    assert not cautions(policies, text.replace("COST", "cost: 0"))
