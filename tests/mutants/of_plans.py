"""Faults in changes that are planned for the end of the period."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_OF_SETTINGS = ("tests/billing/test_planned_settings.py",)

MUTANTS = (
    Mutant(
        "a planned change is left as it is, whatever card is there since",
        "gateway/billing/terms.py",
        "times < MOST_TIMES and terms != terms_of(subscription)",
        "False",
        _OF_SETTINGS,
    ),
    Mutant(
        "what was planned is found by a name that was written for another plan",
        "gateway/sync/restoring.py",
        "plan_id not in policy.plans and whose == plan_id",
        "plan_id not in policy.plans and whose",
        ("tests/billing/test_renamed_plans.py",),
    ),
    Mutant(
        "each check begins the days anew that a dropped plan is kept",
        "gateway/core/missing_plans.py",
        "    return now if record.unreadable_since is None else record.unreadable_since\n",
        "    return now\n",
        ("tests/core/test_missing_plans.py",),
    ),
    Mutant(
        "a plan that was missing once has no days when it goes again",
        "gateway/core/missing_plans.py",
        "        return None\n",
        "        return record.unreadable_since\n",
        ("tests/core/test_missing_plans.py",),
    ),
    Mutant(
        "two workers hold the records against an edit at once",
        "gateway/ledger/plan_checks.py",
        "(checks.claimed_until <= now)),\n",
        "checks.name.is_not(None)),\n",
        ("tests/ledger/test_plan_checks.py", "tests/billing/test_renamed_plans.py"),
    ),
    Mutant(
        "a check that was overtaken writes over what the next one wrote",
        "gateway/ledger/subscriptions.py",
        "if not await keep_plan_claim(connection, claim):",
        "if not await keep_plan_claim(connection, claim) and not customer_ids:",
        ("tests/ledger/test_plan_checks.py", "tests/billing/test_renamed_plans.py"),
    ),
    Mutant(
        "what a read of Stripe records while records are held against policy is lost",
        "gateway/ledger/subscriptions.py",
        "(await connection.execute(query.with_for_update())).all()",
        "(await connection.execute(query)).all()",
        ("tests/ledger/test_plan_checks.py",),
    ),
    Mutant(
        "a check that was broken off counts as done",
        "gateway/ledger/plan_checks.py",
        'own = {"policy_hash": None,',
        'own = {"policy_hash": policy_hash,',
        ("tests/ledger/test_plan_checks.py",),
    ),
    Mutant(
        "reads that many need are due all at once",
        "gateway/sync/asking.py",
        "self.begins_at + int(number /",
        "self.begins_at + int(0 /",
        ("tests/billing/test_renamed_plans.py", "tests/billing/test_plan_map.py"),
    ),
    Mutant(
        "a worker whose policy was checked never looks again",
        "gateway/sync/plan_checking.py",
        "        if not is_new and now < self._looks_at:",
        "        if not is_new:",
        ("tests/billing/test_renamed_plans.py",),
    ),
    Mutant(
        "a look again takes instants out",
        "gateway/sync/plan_checking.py",
        "self._check(policy, is_new=is_new)",
        "self._check(policy, is_new=True)",
        ("tests/billing/test_renamed_plans.py",),
    ),
    Mutant(
        "whom policy lacks a plan of is not told to the cache",
        "gateway/sync/plan_checking.py",
        "                    await self._publish(one.customer_id)\n",
        "",
        ("tests/billing/test_renamed_plans.py",),
    ),
    Mutant(
        "what is planned is not written down before it is released to be planned anew",
        "gateway/sync/changing.py",
        "        is_noted = await self._remember_planned(current)\n        is_planned =",
        "        is_noted = False\n        is_planned =",
        _OF_SETTINGS,
    ),
    Mutant(
        "each phase names the card that there was as the change was planned",
        "gateway/billing/phases.py",
        '        "default_tax_rates": [',
        '        "default_payment_method": id_of(defaults.default_payment_method),\n        "default_tax_rates": [',
        ("tests/billing/test_phases.py", *_OF_SETTINGS),
    ),
)
