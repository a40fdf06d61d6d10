"""Every example in docs/policies.md is a part of a valid policy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.policyfiles import PolicyInvalid, load_policy

TEXT = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
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
