"""That no test with a cache stays away from the cluster without saying why."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
_OPENS = re.compile(r"\b(CacheServer\.start|SnapshotServer|Sentinels|opened_cache|running_gateway|run_trial)\(")
_SAYS = re.compile(r"\bany_cache\b|not_on\(\s*\"cluster\"")


def test_a_file_of_tests_that_opens_a_cache_by_itself_runs_on_a_cluster_or_says_why_not() -> None:
    silent = [
        file.name
        for file in TESTS.rglob("test_*.py")
        if _OPENS.search(text := file.read_text()) and not _SAYS.search(text)
    ]
    assert silent == [], "use any_cache, or mark what is about one server: tests/selection.py says how"


def test_a_reason_is_given_for_each_exception_and_its_kind_exists() -> None:
    for file in TESTS.rglob("test_*.py"):
        for given in re.findall(r"mark\.not_on\(([^)]*)", file.read_text()):
            assert re.match(r"\s*\"(cluster|disturbed)\",\s*because=\"\w", given), f"{file.name}: {given}"
