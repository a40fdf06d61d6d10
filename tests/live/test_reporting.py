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


@pytest.mark.slow
def test_a_run_against_stripe_without_a_key_says_how_many_journeys_were_not_run_and_why() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "live", "-p", "no:cacheprovider", "tests/live"]
    without = {name: value for name, value in os.environ.items() if name != VARIABLE and not name.startswith("PYTEST_")}
    done = subprocess.run(command, env=without, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    (journeys,) = re.findall(rf"^ *(\d+)  {re.escape(NOT_RUN)}$", done.stdout, re.MULTILINE)
    assert int(journeys) > 0
    assert f"{journeys} skipped" in done.stdout.splitlines()[-1]
