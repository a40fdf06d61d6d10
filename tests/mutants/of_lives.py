"""Faults that lives meet: under the law of another seller, and in what several things make of a customer together."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_TOWN = "tests/lives/test_lives.py::test_a_town_full_of_lives_ends_as_stripe_says"
_SMALL = "tests/lives/test_lives.py::test_a_small_town_under_another_law_ends_as_stripe_says"
_OF_BOUNDS, _OF_CALLS_WITHOUT = ("tests/lives/test_bounds.py",), ("tests/lives/test_away.py",)

MUTANTS = (
    Mutant(
        "what the cache never had is not brought there",
        "gateway/ledger/customers.py",
        "            .where(CUSTOMERS.c.published_version < CUSTOMERS.c.version, CUSTOMERS",
        "            .where(CUSTOMERS.c.published_version.between(1, CUSTOMERS.c.version - 1), CUSTOMERS",
        (f"{_SMALL}[strict]",),
    ),
    Mutant(
        "what a policy refuses at once is kept for good",
        "gateway/core/access.py",
        "    return None if rule.keep_s is None else since + rule.keep_s\n",
        "    return since + rule.keep_s if rule.keep_s else None\n",
        (f"{_SMALL}[strict]",),
    ),
    Mutant(
        "what Stripe entitles to is not recorded",
        "gateway/sync/facts.py",
        "    if policy.entitlements and facts.subscriptions:\n",
        "    if False:\n",
        (f"{_SMALL}[lenient]",),
    ),
    Mutant(
        "a tier by hand does not end",
        "gateway/core/tier_grant.py",
        "    if now >= grant.ends_at or",
        "    if",
        _OF_BOUNDS,
    ),
    Mutant(
        "a first payment that is on its way is there",
        "gateway/core/flags.py",
        "    if facts.first_payment_missing and not facts.ran_unpaid:\n",
        "    if False:\n",
        ("tests/lives/test_debits.py",),
    ),
    Mutant(
        "what was never paid for is kept after it is cancelled",
        "gateway/core/access.py",
        "        until = earlier(until, _unpaid_until(subscription, policy))\n",
        "        pass\n",
        ("tests/core/test_lifecycle.py",),
    ),
    Mutant(
        "each read begins the days anew that an unpaid subscription is kept",
        "gateway/core/candidate.py",
        "    known = (one.status_since for one in (own, previous) if one is not None and one.status == facts.status)\n",
        "    known = (None,)\n",
        _OF_BOUNDS,
    ),
    Mutant(
        "an event is worked on an hour after it came",
        "gateway/ledger/inbox.py",
        '"due_at": now if due_at is None else due_at,',
        '"due_at": now + 3600 if due_at is None else due_at,',
        _OF_BOUNDS,
    ),
    Mutant(
        "a status that nobody knows is kept for good",
        "gateway/core/access.py",
        "    own = _kept_until(policy.lifecycle[UNREADABLE], ",
        "    own = _kept_until(policy.lifecycle[PAUSE_COLLECTION], ",
        _OF_BOUNDS,
    ),
    Mutant(
        "each read begins the time anew for which a status is kept that nobody knows",
        "gateway/core/candidate.py",
        "    return own.unreadable_since if own is not None and own.unreadable_since is not None else now\n",
        "    return now\n",
        _OF_BOUNDS,
    ),
    Mutant(
        "an account is gone by without the cache however long ago it was confirmed",
        "gateway/outages.py",
        "        return abs(now - self.confirmed_at) <= SNAPSHOT_LIVES_S\n",
        "        return True\n",
        _OF_CALLS_WITHOUT,
    ),
    Mutant(
        "an outage is over as soon as the cache answers",
        "gateway/outages.py",
        "self._monotonic() - self._failed_at < CALM_S",
        "self._monotonic() < self._failed_at",
        _OF_CALLS_WITHOUT,
    ),
)
