"""`idempotency:`: a route's own word wins over the policy's, and only POST and PATCH are spoken of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from gateway.cli.policy import policy_group
from gateway.core.once import OnceTerms
from gateway.policyfiles import load_policy

if TYPE_CHECKING:
    from collections.abc import Callable

START = "version: 1\ndefault_tier: free\ntiers: {free: {limits: unlimited}}\n"
ROUTES = """\
routes:
  - match: GET /v1/read
  - {match: POST /v1/off, idempotency: off}
  - {match: POST /v1/on, idempotency: on}
  - {match: PATCH /v1/own, idempotency: {window: 30m}}
  - match: "* /v1/**"
"""
DAY, HOUR = OnceTerms(), OnceTerms(window_s=3600, repeats=2)
OWN = OnceTerms(window_s=1800)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", [None, None, DAY, OWN, None]),
        ("idempotency: on\n", [None, None, DAY, OWN, DAY]),
        ("idempotency: off\n", [None, None, DAY, OWN, None]),
        ("idempotency: {window: 1h, repeats: 2}\n", [None, None, DAY, OWN, HOUR]),
    ],
)
def test_what_a_route_does_not_say_the_policy_says(policies: Callable[..., Path], said: str, expected: list[object]):
    policy = load_policy(policies(api=START + said + ROUTES))
    assert [route.once for route in policy.routes] == expected


def test_two_files_cannot_both_say_it(policies: Callable[..., Path]) -> None:
    directory = policies(api=START + "idempotency: on\n" + ROUTES, other="version: 1\nidempotency: on\n")
    result = CliRunner().invoke(policy_group, ["check", str(directory)])
    assert result.exit_code == 1
    assert "'idempotency' is defined twice: first at" in result.output


def test_explain_says_what_a_repeat_costs(policies: Callable[..., Path]) -> None:
    directory = policies(api=START + ROUTES)
    said = {
        path: CliRunner().invoke(policy_group, ["explain", *path.split(), "--dir", str(directory)]).output
        for path in ("POST /v1/off", "PATCH /v1/own", "GET /v1/own")
    }
    assert "repeats  each is charged: idempotency is off" in said["POST /v1/off"]
    words = "repeats  up to 3 with the Idempotency-Key of a charged call are free of quotas for 30 minutes"
    assert words in said["PATCH /v1/own"]
    assert "repeats" not in said["GET /v1/own"]


PRICED = """\
version: 1
default_tier: free
idempotency: on
meters: {tokens: {settle: response header X-Tokens at most 9}, items: {}}
tiers: {free: {limits: [9 tokens per day, 9 items per day]}}
routes:
  - {match: POST /v1/settled, cost: {tokens: 1}}
  - {match: POST /v1/measured, cost: {items: request header X-Items at most 9}}
  - {match: POST /v1/sized, cost: {items: request bytes per 1KB at most 9}}
  - {match: POST /v1/fixed, cost: {tokens: 1}, settle: {tokens: off}}
"""


def test_a_key_counts_only_where_every_call_costs_the_same(policies: Callable[..., Path]) -> None:
    directory = policies(api=PRICED)
    assert [route.once for route in load_policy(directory).routes] == [None, None, None, DAY]
    for path in ("/v1/settled", "/v1/measured"):
        said = CliRunner().invoke(policy_group, ["explain", "POST", path, "--dir", str(directory)]).output
        assert "repeats  each is charged: no Idempotency-Key counts where calls cost by what they ask for" in said
