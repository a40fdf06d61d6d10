"""Faults in what a change of a subscription may do: at which price, to which subscription, and for whom."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_WISHING = "gateway/sync/wishing.py"

_SEEN = "gateway/core/seen_changes.py"
_OF_SEATS = ("tests/core/test_seat_changes.py",)

MUTANTS = (
    Mutant(
        "seats that change often count for a second's share more than they were",
        _SEEN,
        "counts[-1] | {name: each + 1}",
        "counts[-1] | {name: each + 2}",
        _OF_SEATS,
    ),
    Mutant(
        "the seats before a change of plan and after it are mixed",
        _SEEN,
        "            continue  # a seat of one plan is not a seat of the other\n",
        "            pass\n",
        _OF_SEATS,
    ),
    Mutant(
        "a time without seats is mixed with the seats around it",
        _SEEN,
        " or any(change.seats < 1 for change in changes)",
        "",
        _OF_SEATS,
    ),
    Mutant(
        "more seats of a plan move it to the plan's present price",
        "gateway/sync/currencies.py",
        "    if plan == current.plan and current.item is not None:\n",
        "    if False and current.item is not None:\n",
        ("tests/billing/test_kept_price.py",),
    ),
    Mutant(
        "another product of the seller is changed to a plan",
        "gateway/core/projection.py",
        "ours = tuple(one for one in facts.subscriptions if is_ours(one, policy, previous))",
        "ours = facts.subscriptions",
        ("tests/core/test_ours.py", "tests/billing/test_other_products.py"),
    ),
    Mutant(
        "another product of the seller is in the way of a checkout, or is ended for it",
        "gateway/sync/customers.py",
        "if is_ours(one, self.policy, outcome.subscription)]",
        "]",
        ("tests/billing/test_other_products.py",),
    ),
    Mutant(
        "more is sold while collection is paused",
        "gateway/sync/refusing_more.py",
        "if current.facts.paused_collection is not None:",
        "if False:",
        ("tests/billing/test_nothing_more.py",),
    ),
    Mutant(
        "a plan in another currency is asked of Stripe, though it is not sold in the one that is paid",
        "gateway/sync/currencies.py",
        "    if lacking:",
        "    if False:",
        ("tests/billing/test_currencies.py",),
    ),
    Mutant(
        "what has an option for the currency that is paid is refused all the same",
        "gateway/billing/sales.py",
        'return "" if pays in sold_in else',
        'return "" if False else',
        ("tests/billing/test_currencies.py",),
    ),
    Mutant(
        "an add-on in another currency than its plan is asked of Stripe at a checkout",
        "gateway/billing/sales.py",
        "        if pays is None and own.currency not in {None, price.currency}:",
        "        if False:",
        ("tests/billing/test_currencies.py",),
    ),
    Mutant(
        "a subscription whose parts renew at different times is changed",
        "gateway/sync/wishing.py",
        "    refuse_mixed(current.facts)\n",
        "",
        ("tests/billing/test_mixed_intervals.py",),
    ),
    Mutant(
        "whoever is suspended for a dispute is sold more",
        "gateway/sync/refusing_more.py",
        "    if is_suspended(account, sync.policy, sync.clock.now()):",
        "    if account.blocked:",
        ("tests/billing/test_nothing_more.py",),
    ),
    Mutant(
        "whoever has fallen to the tier of a block is sold a plan that is held down",
        "gateway/sync/refusing_more.py",
        "    if is_suspended(account, sync.policy, sync.clock.now()):",
        "    from gateway.core.access import decide_access\n\n"
        '    if decide_access(account, sync.policy, sync.clock.now()).standing == "suspended":',
        ("tests/billing/test_closed_pages.py",),
    ),
    Mutant(
        "a page that was open before a dispute suspends its customer can be paid",
        "gateway/sync/customers.py",
        "            if facts.of_customer.exists and self._is_suspended(row, outcome.subscription):\n",
        "            if False:\n",
        ("tests/billing/test_closed_pages.py",),
    ),
    Mutant(
        "a page that is made while its customer is blocked can be paid",
        "gateway/checkout.py",
        "            await refuse_suspended(self._sync, customer_id)\n            await self._end_idle",
        "            await self._end_idle",
        ("tests/billing/test_closed_pages.py",),
    ),
    Mutant(
        "an old debt is forgotten with the subscription that it is of",
        "gateway/sync/old_debts.py",
        '    if not read.ended or sync.policy.debts == "allow":\n',
        "    if read.ended:\n",
        ("tests/billing/test_old_debts.py",),
    ),
    Mutant(
        "a change that was never paid and never made is owed",
        "gateway/core/debt.py",
        "    if invoice.is_mailed or invoice.reason not in _PAID_AHEAD:\n",
        "    if True:\n",
        ("tests/core/test_debt.py",),
    ),
    Mutant(
        "a checkout that is begun ends the days that a deleted customer keeps",
        "gateway/core/projection.py",
        "        return left, ()\n",
        "        return None, ()\n",
        ("tests/billing/test_kept_after_deletion.py",),
    ),
    Mutant(
        "another add-on is sold while collection is paused, if something else is given up with it",
        _WISHING,
        'if beside.adds_more or "upgrade" in {way, direction}:',
        'if direction == "upgrade":',
        ("tests/billing/test_nothing_more.py",),
    ),
    Mutant(
        "means of payment are not read for the plan that there is",
        _WISHING,
        'when == "now" and (direction != "same" or bool(adds or removes))',
        'when == "now" and direction != "same"',
        ("tests/billing/test_own_plan_again.py",),
    ),
)
