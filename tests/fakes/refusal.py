"""Why a cache that cannot be used is not."""

from __future__ import annotations

import pytest

from gateway.cache import Cache, CacheUnavailable
from tests.fakes.caller import Caller

_NOT_KNOWN_YET = {
    "it has not been connected yet",
    "no server of the cluster says who has a key",
}


async def why_refused(url: str) -> str:
    """Why a charge is, once that is known."""
    cache = await Cache.connect(url, deadline_s=1.0)
    try:
        assert not await cache.wait_ready(0.5)
        while True:
            with pytest.raises(CacheUnavailable) as refusal:
                await cache.charge(Caller(cache, "anybody", 1).request)
            reason = refusal.value.reason
            if reason not in _NOT_KNOWN_YET and "Timeout connecting" not in reason:
                return reason
    finally:
        await cache.aclose()
