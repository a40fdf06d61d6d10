"""Programs that only some suites need: without them a suite is skipped, and says so; in CI it fails."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def not_tested(what: str, why: str) -> NoReturn:
    """End the test: skipped, or failed where `TIERGATE_TEST_REQUIRE_ALL=1` says that nothing may be missing."""
    message = f"NOT TESTED {what}: {why}"
    if os.environ.get("TIERGATE_TEST_REQUIRE_ALL") == "1":
        pytest.fail(message)
    pytest.skip(message)
