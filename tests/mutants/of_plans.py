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
