"""Faults in what becomes of access when the money of a period is taken back."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_TAKEN_BACK, _OF_TAKEN_BACK = "gateway/billing/taken_back.py", ("tests/billing/test_taken_back.py",)
_OF_CREDIT = ("tests/billing/test_paid_by_credit.py",)
_BEHIND, _OF_BEHIND = "gateway/core/money_behind.py", ("tests/core/test_money_behind.py",)
_ACCESS, _OF_ACCESS = "gateway/core/access.py", ("tests/core/test_lifecycle.py",)
_FLAGS, _OF_FLAGS = "gateway/core/flags.py", ("tests/core/test_flags.py",)
_OF_LIVES = ("tests/lives/test_losses.py",)

MUTANTS = (
    Mutant(
        "a dispute that is lost is over like one that was won",
        _TAKEN_BACK,
        'one.status == "lost"',
        'one.status == "needs_response"',
        _OF_TAKEN_BACK,
    ),
    Mutant(
        "a refund that did not arrive counts",
        _TAKEN_BACK,
        " if one.status not in _CAME_BACK]",
        "]",
        _OF_TAKEN_BACK,
    ),
    Mutant(
        "a refund of what was paid by card takes back what was paid by hand beside it",
        _TAKEN_BACK,
        " >= sum(one.amount_paid for one in paid):",
        " > 0:",
        _OF_TAKEN_BACK,
    ),
    Mutant(
        "what a credit paid was paid by nobody",
        _TAKEN_BACK,
        "    return [one for one in found if one.id in behind]\n",
        "    return []\n",
        _OF_CREDIT,
    ),
    Mutant(
        "a gift is the customer's own money",
        _BEHIND,
        "for paid, worth in one.gives_back if behind.get(paid)]",
        "for paid, worth in one.gives_back]",
        _OF_BEHIND,
    ),
    Mutant(
        "a credit lasts longer than the money that it was",
        _BEHIND,
        "        used = _use(credits_left, one.total + sum(worth for _, worth in own))\n",
        "        used = _use(deque(credits_left), one.total + sum(worth for _, worth in own))\n",
        _OF_BEHIND,
    ),
    Mutant(
        "what the seller takes off a balance pays for periods still",
        _BEHIND,
        "        _use(credits_left, there - max(-one.starting_balance, 0))",
        "        _use(credits_left, 0)",
        _OF_BEHIND,
    ),
    Mutant(
        "each period that a credit pays begins the time of what was lost anew",
        _TAKEN_BACK,
        "    paid_at = max(one.status_transitions.paid_at or one.created for one in paid)\n",
        "    paid_at = subscription.latest_invoice.created\n",
        _OF_CREDIT,
    ),
    Mutant(
        "a change in mid-period is taken for the payment of one",
        _TAKEN_BACK,
        "    is_whole = details is not None and not details.proration\n",
        "    is_whole = details is not None\n",
        _OF_TAKEN_BACK,
    ),
    Mutant(
        "a fall credits a period whose money is gone",
        "gateway/sync/paying.py",
        'return "none" if current.facts.taken_back or is_disputed else',
        'return "none" if is_disputed else',
        _OF_TAKEN_BACK,
    ),
    Mutant(
        "a fall credits what a dispute may still take",
        "gateway/sync/paying.py",
        'return "none" if current.facts.taken_back or is_disputed else',
        'return "none" if current.facts.taken_back else',
        _OF_TAKEN_BACK,
    ),
    Mutant(
        "who cancelled long ago has days again by being deleted",
        "gateway/core/projection.py",
        "        status_since=record.status_since if record.status in ENDED else now,\n",
        "        status_since=now,\n",
        ("tests/core/test_projection.py",),
    ),
    Mutant(
        "what is refunded is not looked for",
        _TAKEN_BACK,
        "    if REFUNDED in asked.rows and",
        "    if False and",
        _OF_LIVES,
    ),
    Mutant(
        "events of refunds ask for nothing",
        "gateway/sync/judging.py",
        "_OF_PAYMENTS = frozenset({Meaning.REFUND, Meaning.PAYMENT})\n",
        "_OF_PAYMENTS: frozenset[Meaning] = frozenset()\n",
        _OF_TAKEN_BACK,
    ),
    Mutant(
        "payments are read though nothing hangs on them",
        _FLAGS,
        "for row in TAKEN_BACK if policy.lifecycle[row].keep_s is not None)",
        "for row in TAKEN_BACK)",
        _OF_FLAGS,
    ),
    Mutant(
        "a payment that is lost has the days that an earlier one has used up",
        _FLAGS,
        "if seen.get(flag, 0) >= paid_at else",
        "if flag in seen else",
        _OF_FLAGS,
    ),
    Mutant(
        "who is refunded is sold what it cannot use",
        "gateway/sync/refusing_more.py",
        "    if current.facts.taken_back and",
        "    if False and",
        _OF_TAKEN_BACK,
    ),
    Mutant(
        "a granted tier lifts what a bank took back",
        _ACCESS,
        "_SUSPENDED = frozenset({*_SUSPENDING, DISPUTE_LOST})\n",
        "_SUSPENDED = _SUSPENDING\n",
        _OF_ACCESS,
    ),
    Mutant(
        "who refunds and cancels gives the days after the end",
        "gateway/core/lifecycle.py",
        "UNPAID_FOR = frozenset({FIRST_PAYMENT_PENDING, *TAKEN_BACK})\n",
        "UNPAID_FOR = frozenset({FIRST_PAYMENT_PENDING})\n",
        _OF_ACCESS,
    ),
)
