"""What a call cost more than it took of a chain, against a plain model: each link in its order, up to its limit."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.cache import Cache, Receipt
from gateway.core.account import Account
from gateway.core.charge import QuotaClaim
from gateway.core.planned import Surplus
from tests.cache.ends import settle
from tests.conftest import PATIENT_S

NAMES = ("q:tokens:period", "q:tokens:credits:a", "q:tokens:credits:b", "q:tokens:over")
BEGAN = 1_000
BEFORE, NOW, AFTER = -1, 0, 1

windows = st.sampled_from([BEFORE, NOW, NOW, NOW, AFTER])
counters = st.none() | st.tuples(windows, st.integers(0, 12), st.none() | st.integers(0, 12))
"""Of one link, as the cache has it: its window, against the charged one, and its units; and those of the window
before, if it is a window after the charged one."""


def spread(
    links: list[int], have: list[Any], before: list[Any], units: int, *, is_restored: bool
) -> tuple[list[Any], list[Any], int]:
    """The counters after it, those of windows that ended, and how much was counted."""
    after, ended, rest = list(have), list(before), units
    for at, limit in enumerate(links):
        window, used = have[at] or (BEFORE, 0)
        counts_in = ended if window == AFTER else after
        if window == AFTER:
            if before[at] is None:
                continue
            used = before[at][1]
        elif window == BEFORE:
            used = 0
            if is_restored:
                continue
        takes = min(rest, max(0, limit - used))
        if takes:
            counts_in[at] = (NOW, takes + used)
            if have[at] is not None and window == BEFORE:
                ended[at] = have[at]
            rest -= takes
    for counts_in in (after, ended):
        if rest and counts_in[0] is not None and counts_in[0][0] == NOW:
            counts_in[0], rest = (NOW, counts_in[0][1] + rest), 0
    return after, ended, units - rest


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    links=st.lists(st.tuples(st.integers(0, 12), counters), min_size=2, max_size=4),
    units=st.integers(1, 60),
    charged=st.integers(0, 3),
    is_restored=st.booleans(),
)
def test_any_surplus_is_spent_along_its_chain(shared_cache_url, links, units, charged, is_restored):
    asyncio.run(_spend(shared_cache_url, links, units, charged, is_restored=is_restored))


async def _spend(url: str, links: list[Any], units: int, charged: int, *, is_restored: bool) -> None:
    limits, have = [limit for limit, _ in links], [one and one[:2] for _, one in links]
    before = [None if one is None or one[0] != AFTER or one[2] is None else (NOW, one[2]) for _, one in links]
    cache = await Cache.connect(url, deadline_s=PATIENT_S)
    try:
        assert await cache.wait_ready(PATIENT_S)
        customer_id = secrets.token_hex(6)
        account = Account(customer_id=customer_id, user_id="u", version=1, created_at=0)
        await cache.publish(account, counters=_stored(have), ended=_stored(before), seq_floor=0)
        seq = (await cache.read_usage(customer_id)).seq
        chain = tuple(
            QuotaClaim(field=name, cost=0, limit=limit, starts_at=BEGAN, ends_at=BEGAN + 10)
            for name, limit in zip(NAMES, limits, strict=False)
        )
        parts = ((NAMES[0], BEGAN, charged),) if charged else ()
        receipt = Receipt(customer_id=customer_id, receipt_id="one", parts=parts, seq=0 if is_restored else seq)
        after, ended, counted = spread(limits, have, before, units, is_restored=is_restored)
        for times in (1, 0):
            surplus = Surplus(units=units, chain=chain, part=0)
            answer = await settle(cache, receipt, [charged] * len(parts), [surplus])
            assert answer == (0, counted * times)
            reading = await cache.read_usage(customer_id)
            assert reading.quotas == _stored(after)
            assert reading.ended == _stored(ended)
            assert reading.seq == seq + (counted > 0)
    finally:
        await cache.aclose()


def _stored(counters: list[Any]) -> dict[str, tuple[int, int]]:
    return {name: (BEGAN + one[0], one[1]) for name, one in zip(NAMES, counters, strict=False) if one is not None}
