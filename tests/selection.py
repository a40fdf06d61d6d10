"""Which tests are run on a cluster, and why others are not. Hooks of pytest: `tests/conftest.py` takes them.

On a cluster, a test is run if it is given a cache: it uses `any_cache`, itself or through a fixture. Of these are
left out only the ones that say so, with the reason, and each reason is printed with its count:

    @pytest.mark.not_on("cluster", because="...")     it is about one server as such
    @pytest.mark.not_on("disturbed", because="...")   what it asserts cannot hold while slots move and masters change
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.caches import DISTURBANCE, KIND, Kind, close_shared_cluster
from tests.live.reporting import tell_of_live

_ANY_CACHE = "any_cache"
_LEFT_OUT: Counter[str] = Counter()
"""Reasons. Filled in where tests are collected: with several processes, in each of them, and told to the first."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept, left = [], []
    for item in items:
        (left if _is_left_out(item) else kept).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    told: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["left_out"] = dict(_LEFT_OUT)
        told["disturbance"] = dict(DISTURBANCE)
    close_shared_cluster()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    told = getattr(node, "workeroutput", {})
    _LEFT_OUT.update({reason: max(0, count - _LEFT_OUT[reason]) for reason, count in told.get("left_out", {}).items()})
    DISTURBANCE.update(told.get("disturbance", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tell_of_live(terminalreporter)
    if KIND is Kind.SERVER:
        return
    terminalreporter.section(f"tests with a cache that are not run on this one ({KIND.value})")
    for reason, count in _LEFT_OUT.most_common():
        terminalreporter.write_line(f"{count:5}  {reason}")
    for what, count in DISTURBANCE.items():
        terminalreporter.write_line(f"Meanwhile: {count} {what}")


def _is_left_out(item: pytest.Item) -> bool:
    if KIND is Kind.SERVER and "[cluster" not in item.name:
        return False
    for marker in item.iter_markers("not_on"):
        if marker.args[0] in {"cluster", KIND.value}:
            _LEFT_OUT[marker.kwargs["because"]] += 1
            return True
    return KIND is not Kind.SERVER and _ANY_CACHE not in getattr(item, "fixturenames", ())
