"""Says at the end of a run what was not run against Stripe, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.live.account import NOT_RUN

if TYPE_CHECKING:
    import pytest


def tell_of_live(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, if there is anything to say."""
    left = [report for report in terminalreporter.stats.get("skipped", []) if "live" in report.keywords]
    if left:
        terminalreporter.section("journeys against a real Stripe account")
        terminalreporter.write_line(f"{len(left):5}  {NOT_RUN}")
