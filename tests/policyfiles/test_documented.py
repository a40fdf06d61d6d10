"""Every example in docs/policies.md is a part of a valid policy, and the one in docs/limits.md is a whole one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.policyfiles import PolicyInvalid, load_policy

DOCS = Path(__file__).parents[2] / "docs"


def examples(page):
    return re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


EXAMPLES = examples("policies.md")
REST = {
    "default_tier": "default_tier: free\n",
    "meters": "meters: {tokens: {}, kb: {}, items: {}}\n",
    "tiers": "tiers:\n  free: {limits: unlimited}\n  pro: {limits: unlimited, features: [exports]}\n",
    "routes": "routes: [{match: /v1/**}]\n",
    "upstreams": "upstreams: {render: {servers: [http://10.0.0.9]}}\n",
}


@pytest.mark.parametrize("example", EXAMPLES, ids=[text.split("\n", 1)[0] for text in EXAMPLES])
def test_a_documented_example_is_valid(policies, example):
    text = example if not example.startswith(" ") else f"routes:\n{example}"
    sections = set(re.findall(r"^([a-z_]+):", text, re.MULTILINE))
    parts = [part for section, part in REST.items() if section not in sections]
    if "tiers" in sections:
        text = text.replace("tiers:\n", "tiers:\n  free: {limits: unlimited, features: [exports]}\n")
    directory = policies(api="version: 1\n" + "".join(parts) + text)
    (directory / "upstream-token").write_text("Bearer abc")
    try:
        load_policy(directory)
    except PolicyInvalid as invalid:
        assert all("does not exist" in fault.message for fault in invalid.faults), str(invalid)  # noqa: PT017


def test_the_policy_about_limits_is_whole(policies):
    (whole,) = examples("limits.md")
    assert set(load_policy(policies(api=whole)).tiers) == {"free", "pro"}
