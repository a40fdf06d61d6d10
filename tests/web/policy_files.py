"""Small policies for tests that need routes of their own."""

from __future__ import annotations

from pathlib import Path

TIERS = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [1_000 per second, 1_000 requests per billing period]
  pro:
    limits: [1_000 per second, 1_000 requests per billing period]
  enterprise:
    limits: [1_000 per second, 1_000 requests per billing period]
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
  enterprise-monthly: {tier: enterprise, price: lookup_key enterprise_monthly}
"""


def write_policy(directory: Path, *parts: str, tiers: str = TIERS) -> Path:
    """Put a policy of tiers and `parts` in the directory, all at once; returns the directory."""
    beside = directory / ".policy"
    beside.write_text(tiers + "".join(parts))
    beside.replace(directory / "policy.yaml")
    return directory
