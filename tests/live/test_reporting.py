"""That a run without a key of Stripe says how much of it was not run, instead of passing in silence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.account import NOT_RUN, VARIABLE

ROOT = Path(__file__).parents[2]


def run(**more: str) -> subprocess.CompletedProcess[str]:
    """What `make test-live` does, with no key but one that is given."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "live", "-p", "no:cacheprovider", "tests/live"]
    clean = {name: value for name, value in os.environ.items() if name != VARIABLE and not name.startswith("PYTEST_")}
    return subprocess.run(
        command, env={**clean, **more}, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_a_run_against_stripe_without_a_key_says_how_many_journeys_were_not_run_and_why() -> None:
    done = run()
    assert done.returncode == 0, done.stdout
    (journeys,) = re.findall(rf"^ *(\d+)  {re.escape(NOT_RUN)}$", done.stdout, re.MULTILINE)
    assert int(journeys) > 0
    assert f"{journeys} skipped" in done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_a_run_with_a_live_key_fails_at_every_journey_and_shows_the_key_nowhere() -> None:
    done = run(**{VARIABLE: "sk_live_51Hfakefakefake"})
    assert done.returncode == 1, done.stdout
    assert "passed" not in done.stdout.splitlines()[-1]
    assert "nothing was sent" in done.stdout
    assert "51Hfake" not in done.stdout + done.stderr
