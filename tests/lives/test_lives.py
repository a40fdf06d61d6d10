"""Random lives under random trouble: when it is quiet again, everybody has what Stripe says, and never had more."""

from __future__ import annotations

import os

import pytest

from tests.lives.conftest import NewTown
from tests.lives.holding import check_in_step
from tests.lives.laws import DEGRADING, LENIENT, SHIPPED, STRICT, Law, law_of
from tests.lives.living import live_a_round
from tests.lives.town import Town

LIVES = int(os.environ.get("TIERGATE_TEST_LIVES", "2000"))
FIRST = int(os.environ.get("TIERGATE_TEST_LIVES_FROM", "2"))
"""The seed of the first town; the next ones count on from it."""
BUYERS, FEW_BUYERS = 50, 20
ROUNDS = 3


async def live(new_town: NewTown, number: int, law: Law, buyers: int = BUYERS) -> Town:
    town = await new_town(number, buyers, law=law)
    for _ in range(ROUNDS):
        await live_a_round(town)
        await check_in_step(town)
    return town


async def test_a_town_full_of_lives_ends_as_stripe_says(new_town: NewTown) -> None:
    town = await live(new_town, 1, SHIPPED)
    assert town.calling.billed() > 0, "nobody used more than what is included"


@pytest.mark.parametrize("law", [STRICT, LENIENT, DEGRADING], ids=lambda law: law.name)
async def test_a_small_town_under_another_law_ends_as_stripe_says(new_town: NewTown, law: Law) -> None:
    await live(new_town, 1, law, FEW_BUYERS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(FIRST, FIRST + LIVES // BUYERS))
async def test_two_thousand_lives_end_as_stripe_says_whatever_goes_wrong(new_town: NewTown, number: int) -> None:
    await live(new_town, number, law_of(number))
