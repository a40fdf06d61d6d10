"""What must hold in a town: at any time within bounds, and exactly at rest.

The bound of what is late: when deliveries, the inbox and a sweep go through undisturbed, nothing that Stripe had before
is granted any more, and it does not come back. Where something went wrong until just now, `LAG_S` is left to whoever
waits to try again, or takes over from who was killed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from gateway.cache import decode_account
from gateway.cache.keyspace import acct_key
from gateway.core.access import decide_access, in_force
from gateway.core.account import Account
from gateway.core.lifecycle import CUSTOMER_DELETED, ENDED
from gateway.core.projection import project
from gateway.ledger.subscriptions import SUBSCRIPTION_COLUMNS, read_subscription
from gateway.ledger.tables import SUBSCRIPTIONS, TIER_GRANTS
from gateway.ledger.tier_grants import TIER_GRANT_COLUMNS, read_tier_grant
from gateway.sync.facts import read_facts
from tests.lives.beyond import metered_of, without_gone
from tests.lives.sold import bought_of, entitlements_of, planned_of
from tests.lives.trouble import CALM
from tests.lives.truth import RANK, owed_since, raised, truth_of

if TYPE_CHECKING:
    from gateway.admission import Attempt
    from gateway.core.account import Subscription
    from tests.lives.town import Buyer, Town
    from tests.lives.truth import Truth

LAG_S = 600
"""Longer than a worker waits between two tries, and than a claim of one that was killed lasts."""


async def check_bounds(town: Town) -> None:
    """At any time: what is granted is what Stripe had since all was in step; what is kept ends at most so much late."""
    now = town.now()
    accounts = await recorded(town)
    for buyer in town.buyers:
        granted = granted_to(town, accounts[buyer.customer_id], now)
        allowed = _allowed(town, buyer, buyer.truths, now)
        assert granted in allowed, f"{granted} is not one of {allowed}: {town.told(buyer)}"


def check_let_in(town: Town, buyer: Buyer, attempt: Attempt) -> None:
    """At any call: the tier as which it is let in is none above what is allowed, whatever the cache was told."""
    assert attempt.plan is not None
    now, tier = town.now(), attempt.plan.tier.name
    by_plan = {one for truth in buyer.truths for one in truth.allowed(town.law, now, town.seen_at, buyer.owed_since)}
    allowed = {raised(one, grant, now) for one in by_plan for grant in buyer.told}
    assert RANK[tier] <= max(RANK.get(one, -1) for one in allowed), (
        f"let in as {tier}, not {allowed}: {town.told(buyer)}"
    )


async def check_lag(town: Town) -> None:
    """After a turn of the background: what is late is no later than said, and what is over is over."""
    left = await town.left_to_do()
    assert not left or not town.is_calm_for(LAG_S), f"{left} events wait after {LAG_S} s in which nothing went wrong"
    if town.trouble is not CALM or left:
        await check_bounds(town)
        return
    now = town.now()
    town.seen_at.append(now)
    accounts = await recorded(town)
    for buyer in town.buyers:
        truth, account = buyer.truths[-1], accounts[buyer.customer_id]
        assert truth.at == now, "somebody has to look at Stripe first"
        _check_granted(town, buyer, account, truth)
        _forget_what_was(buyer, account, truth)


async def check_in_step(town: Town) -> None:
    """At rest: ledger and cache grant what Stripe says, and a read of Stripe would change nothing."""
    await town.come_to_rest()
    now = town.now()
    town.seen_at.append(now)
    accounts = await recorded(town)
    blobs = await town.cache.mget([acct_key(buyer.customer_id) for buyer in town.buyers])
    for buyer, blob in zip(town.buyers, blobs, strict=True):
        truth = truth_of(town.simulator.world, buyer.stripe_customer_id, buyer.begun, town.unheard)
        account = accounts[buyer.customer_id]
        _check_granted(town, buyer, account, truth)
        await _check_record(town, buyer, account, now)
        await _check_cached(town, buyer, blob)
        _forget_what_was(buyer, account, truth)
    await town.calling.check()
    await town.simulator.advance(1)  # what happens at the instant of a rest was seen at it


def _check_granted(town: Town, buyer: Buyer, account: Account, truth: Truth) -> None:
    granted, allowed = granted_to(town, account, town.now()), _allowed(town, buyer, [truth], town.now())
    assert granted in allowed, f"{granted} is not one of {allowed}: {town.told(buyer)}"


def _forget_what_was(buyer: Buyer, account: Account, truth: Truth) -> None:
    """All is known: what was true before, or nobody could tell, may not be granted any more."""
    buyer.grants = {_terms(account)}
    buyer.told = {_terms(account)}
    buyer.owed_since = owed_since(buyer.owed_since, [*buyer.truths, truth])
    buyer.begun.settle(truth)
    buyer.truths = [truth]


def _allowed(town: Town, buyer: Buyer, truths: list[Truth], now: float) -> set[str]:
    by_plan = {one for truth in truths for one in truth.allowed(town.law, now, town.seen_at, buyer.owed_since)}
    return {raised(one, grant, now) for one in by_plan for grant in buyer.grants}


async def _check_record(town: Town, buyer: Buyer, account: Account, now: float) -> None:
    """What was recorded is what a read says, and what Stripe has."""
    told, record = town.told(buyer), in_force(account, town.policy, now).subscription
    assert _terms(account) in buyer.grants, told
    if buyer.stripe_customer_id is not None:
        facts = await read_facts(town.billing, town.ledger, town.policy, buyer.customer_id, buyer.stripe_customer_id)
        read, _ = project(facts.of_customer, town.policy, account.subscription, int(now))
        grants = decide_access(account, town.policy, now).plan_id is not None
        then = record.subscription_id if record is not None and grants else None
        assert _parts(without_gone(read), then) == _parts(without_gone(account.subscription), then), (
            f"{told}; recorded {account}; read {read}"
        )
    if record is not None and record.status != CUSTOMER_DELETED:
        world = town.simulator.world
        assert (record.seats, record.add_ons) == bought_of(world, record.subscription_id), told
        metered = {item.price_id for item in record.metered if item.gone_at is None}
        assert metered == metered_of(world, record.subscription_id), told
        assert (record.scheduled_plan_id, record.scheduled_at) == planned_of(world, record.subscription_id), told
        if town.law.entitles:
            assert record.entitlements == entitlements_of(world, buyer.stripe_customer_id or ""), told


def _parts(top: Subscription | None, granting: str | None) -> list[Subscription]:
    """What is recorded of the subscription that grants a tier, and of those that are not over, in no order.

    What was on top may have lost its tier by time since it was read.
    """
    all_ = () if top is None else top.all()
    parts = [one for one in all_ if one.subscription_id == granting or one.status not in ENDED]
    return [replace(one, beneath=None) for one in sorted(parts, key=lambda one: one.subscription_id)]


async def _check_cached(town: Town, buyer: Buyer, blob: bytes | None) -> None:
    """The cache has what the ledger has. It may have nothing only of whom it forgot, and who has not changed since."""
    known = await town.ledger.load_account(buyer.customer_id)
    assert known is not None
    if blob is None:
        assert town.calling.forgotten.get(buyer.customer_id) == known.version, f"not in the cache: {town.told(buyer)}"
    else:
        assert decode_account(blob) == known, town.told(buyer)


async def recorded(town: Town) -> dict[str, Account]:
    """Every account as the ledger has it, as far as access goes."""
    of_subscriptions = select(SUBSCRIPTIONS.c.customer_id, *SUBSCRIPTION_COLUMNS)
    of_grants = select(TIER_GRANTS.c.customer_id, *TIER_GRANT_COLUMNS)
    async with town.ledger._database.reading() as connection:
        subscriptions = {
            row["customer_id"]: read_subscription(row)
            for row in (await connection.execute(of_subscriptions)).mappings().all()
        }
        grants = {
            row["customer_id"]: read_tier_grant(row) for row in (await connection.execute(of_grants)).mappings().all()
        }
    return {
        one.customer_id: Account(
            customer_id=one.customer_id,
            user_id="",
            version=1,
            created_at=0,
            subscription=subscriptions.get(one.customer_id),
            tier_grant=grants.get(one.customer_id),
        )
        for one in town.buyers
    }


def granted_to(town: Town, account: Account, now: float) -> str:
    """The name of a tier, or why there is none."""
    access = decide_access(account, town.policy, now)
    return f"refused: {access.refusal}" if access.tier is None else access.tier.name


def _terms(account: Account) -> tuple[str, int] | None:
    grant = account.tier_grant
    return None if grant is None else (grant.tier, grant.ends_at)
