"""`alerts`: read as shares of a quota."""

from __future__ import annotations

import pytest

from gateway.policyfiles import Sources, compile_policy
from gateway.policyfiles.sources import SourceFile

POLICY = """\
version: 1
default_tier: free
{alerts}
tiers:
  free: {{limits: [5 per day]}}
routes:
  - match: "* /**"
"""


@pytest.mark.parametrize(
    ("alerts", "percents"),
    [
        ("", (50, 80, 100)),
        ("alerts: [50%, 80%, 100%]", (50, 80, 100)),
        ("alerts: [100 %, 7%]", (7, 100)),
        ("alerts: 90%", (90,)),
        ("alerts: off", ()),
    ],
    ids=["said nothing", "the default", "any order", "one", "off"],
)
def test_alerts_are_shares_of_a_quota(alerts: str, percents: tuple[int, ...]) -> None:
    content = POLICY.format(alerts=alerts).encode()
    compiled = compile_policy(Sources(files=(SourceFile(name="p.yaml", content=content),), faults=()))
    assert compiled.policy.alerts == percents
