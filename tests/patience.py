"""A cache that has patience, but for as long as a test is about what it does without.

What a test sets up has to pass on a busy machine too: there the cache is given `PATIENT_S`, and the deadline that
is to end something only where it is to end.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cache import Cache

SHORT_S = 0.3


@contextmanager
def impatient(cache: Cache, deadline_s: float = SHORT_S) -> Iterator[None]:
    """Within this, a call that is sent is given up after so long."""
    servers: Any = cache._servers
    before = servers._deadline_s, servers._operation_s
    _set(servers, deadline_s, max(1.0, deadline_s))
    try:
        yield
    finally:
        _set(servers, *before)


def _set(servers: Any, deadline_s: float, operation_s: float) -> None:
    for one in (servers, *getattr(servers, "_nodes", {}).values()):
        one._deadline_s, one._operation_s = deadline_s, operation_s
        if hasattr(one, "_lane"):
            _set_lane(one._lane, deadline_s)


def _set_lane(lane: Any, deadline_s: float) -> None:
    lane._deadline_s = deadline_s
    if lane._timer is not None:  # it may be set for an older call, which had more time; the next one sets it anew
        lane._timer.cancel()
        lane._timer = None
