"""Which counts an edit starts again: those whose meter, window or group of routes is another one."""

from __future__ import annotations

import pytest

from gateway.core.policy_edit import restarted_counts
from gateway.policyfiles import load_policy

POLICY = """\
version: 1
default_tier: free
meters: {tokens: {}}
tiers:
  free:
    limits:
      - 10 per second burst 20
      - 1_000 requests per billing period
      - 50_000 tokens per day
      - 100 requests per day on renders
      - 3 concurrent
  pro: {limits: [9_000 requests per billing period]}
routes:
  - {match: POST /v1/render, group: renders}
  - {match: "* /v1/**", cost: {requests: 1, tokens: 5}}
"""

RESTARTS = {
    "the kind of a window": ("1_000 requests per billing period", "1_000 requests per day", [("window", "requests")]),
    "the length of a window": ("50_000 tokens per day", "50_000 tokens per hour", [("window", "tokens")]),
    "the name of a meter": ("tokens", "words", [("meter", "words")]),
    "the name of a group": ("renders", "drawings", [("group", "requests")]),
}

KEEPS = {
    "another number": ("1_000 requests", "7 requests"),
    "another pace": ("10 per second burst 20", "600 per minute burst 20"),
    "fewer calls at once": ("3 concurrent", "1 concurrent"),
    "another name of a tier": ("  pro:", "  gold:"),
    "a limit less": ("      - 50_000 tokens per day\n", ""),
    "a limit more": ("      - 3 concurrent\n", "      - 3 concurrent\n      - 500 requests per hour\n"),
    "another order": (
        "      - 1_000 requests per billing period\n      - 50_000 tokens per day\n",
        "      - 50_000 tokens per day\n      - 1_000 requests per billing period\n",
    ),
    "another meter that was there before": ("50_000 tokens per day", "60 requests per day"),
    "a group for all calls": ("100 requests per day on renders", "100 requests per day"),
}


@pytest.fixture
def compiled(tmp_path):
    def compile_text(text):
        (tmp_path / "policy.yaml").write_text(text)
        return load_policy(tmp_path)

    return compile_text


@pytest.mark.parametrize("what", RESTARTS)
def test_what_names_the_counter_starts_it_again(compiled, what):
    old, new, restarts = RESTARTS[what]
    found = restarted_counts(compiled(POLICY), compiled(POLICY.replace(old, new)))
    assert [(one.because, one.after.meter) for one in found] == restarts
    assert found[0].tier == "free"
    assert found[0].before != found[0].after


@pytest.mark.parametrize("what", KEEPS)
def test_all_else_keeps_counts(compiled, what):
    old, new = KEEPS[what]
    assert old in POLICY
    assert restarted_counts(compiled(POLICY), compiled(POLICY.replace(old, new))) == ()


def test_two_limits_that_change_their_windows_are_both_said_and_each_once(compiled):
    old = "      - 1_000 requests per billing period\n      - 50_000 tokens per day\n"
    new = "      - 1_000 requests per hour\n      - 50_000 tokens per billing period\n"
    found = restarted_counts(compiled(POLICY), compiled(POLICY.replace(old, new)))
    assert [(one.before.name, one.after.name) for one in found] == [
        ("period", "hour"),
        ("tokens-day", "tokens-period"),
    ]
