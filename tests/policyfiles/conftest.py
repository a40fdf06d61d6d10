from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = """\
version: 1
default_tier: free
meters:
  tokens: {title: tokens}
tiers:
  free:
    limits: [5 per second burst 10, 100 requests per billing period]
  pro:
    features: [exports]
    limits: [50 per second burst 100, 1_000 requests per billing period]
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
routes:
  - match: POST /v1/render/**
    cost: 10
    requires: exports
  - match: "* /v1/**"
lifecycle:
  past_due: {keep: 7d, then: free}
"""


@pytest.fixture
def good() -> str:
    """A small valid policy file."""
    return GOOD


@pytest.fixture
def policies(tmp_path: Path) -> Callable[..., Path]:
    """Writes files (`name="text"`, without `.yaml`) into a policy directory and gives the directory."""
    directory = tmp_path / "policy files"

    def write(**files: str) -> Path:
        directory.mkdir(exist_ok=True)
        for name, text in files.items():
            (directory / f"{name}.yaml").write_text(text, encoding="utf-8")
        return directory

    return write
