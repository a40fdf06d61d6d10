"""Faults in what becomes of access when the money of a period is taken back."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_TAKEN_BACK, _OF_TAKEN_BACK = "gateway/billing/taken_back.py", ("tests/billing/test_taken_back.py",)
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
        " >= invoice.amount_paid:",
        " > 0:",
        _OF_TAKEN_BACK,
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
