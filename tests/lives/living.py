"""How lives go on in a town.

A round: each buyer does something, then time passes in stretches shorter than Stripe's three days of retries, and in
each stretch deliveries, workers, sweeps and repairs meet the trouble of that stretch.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.core.errors import TiergateError
from gateway.sandbox.cards import CardRefused
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.wire.problems import StripeProblem
from gateway.sandbox.world import NoSuchRecord
from tests.lives.acts import ACTS, BEGINNINGS, call_and_cap, running
from tests.lives.debits import DEBITS, buy_by_debit
from tests.lives.holding import check_lag
from tests.lives.laws import DAY_S
from tests.lives.losses import LOSSES
from tests.lives.trouble import CALM, draw_trouble
from tests.lives.unheard import UNHEARD_OF

if TYPE_CHECKING:
    from tests.lives.town import Town

HOUR_S = 3600
_REFUSALS = (TiergateError, StripeProblem, CardRefused, Refused, NoSuchRecord)
_BEGINS = 0.4
"""How often who has nothing gets something, whatever else it would have done."""
_FORGETS, _CALLS = 0.1, 0.3
"""How often the cache is lost after a stretch of time, and somebody calls in one."""
_ALL = (*ACTS, *DEBITS, *LOSSES, *UNHEARD_OF)
_ACTS = [act for act, _ in _ALL]
_WEIGHTS = [often for _, often in _ALL]


async def live_a_round(town: Town) -> None:
    """Each buyer does something; then time passes, hours or a renewal."""
    town.begin(draw_trouble(town.chance))
    for buyer in town.buyers:
        [act] = town.chance.choices(_ACTS, _WEIGHTS)
        if town.chance.random() < _BEGINS and not running(town, buyer):
            act = town.chance.choice((*BEGINNINGS, buy_by_debit))
        buyer.acts.append(act.__name__)
        with suppress(*_REFUSALS):
            await act(town, buyer)
        await town.look_up(buyer)
        await call_and_cap(town, buyer)
    await town.work()
    await let_time_pass(town, town.chance.choice((HOUR_S, DAY_S, 3 * DAY_S, 9 * DAY_S, 33 * DAY_S)))


async def let_time_pass(town: Town, seconds: float) -> None:
    """In stretches, such that no outage is longer than what a sweep looks back: the rest is reconciliation's."""
    until = town.now() + seconds
    while (left := until - town.now()) > 0:
        stretch_s = min(left, 2.4 * DAY_S)
        if town.now() + stretch_s > town.swept_at + 2.9 * DAY_S:
            town.begin(CALM)
            await town.sweep()
        await town.simulator.advance(stretch_s)
        town.note_truths()
        await _call(town)
        await town.work()
        town.note_truths()
        await check_lag(town)
        if town.chance.random() < _FORGETS:
            await town.calling.lose_the_cache()
        town.begin(CALM if town.chance.random() < 0.5 else draw_trouble(town.chance))


async def _call(town: Town) -> None:
    """Whoever may exceed its quota uses the API at other times too."""
    for buyer in town.buyers:
        if town.calling.may_exceed(buyer) and town.chance.random() < _CALLS:
            await town.calling.call(buyer)
