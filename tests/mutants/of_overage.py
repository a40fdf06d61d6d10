"""Faults in overage: who may have it, what it counts, and what Stripe is told."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ALLOWANCE, _TARIFF, _LOOK = "gateway/core/allowance.py", "gateway/core/tariff.py", "gateway/core/metering.py"
_REPORTER, _DESCRIBED = "gateway/reporting/reporter.py", "gateway/reporting/describing.py"
_OVERAGE, _NAMED = "gateway/core/overage.py", ("tests/core/test_counter_names.py",)
_LEDGER, _STRIPE = "gateway/ledger/metering.py", "gateway/billing/meter_events.py"
_CHARGED, _BOUGHT, _LOOKED = (
    ("tests/test_overage.py",),
    ("tests/core/test_tariff.py",),
    ("tests/core/test_metering.py",),
)
_REPORTED, _KEPT = ("tests/lives/test_reporting.py",), ("tests/ledger/test_metering.py",)
_LIVED = ("tests/lives/test_lives.py",)

MUTANTS = (
    Mutant(
        "units that are reported twice have two names, and are charged twice",
        _LOOK,
        '    told = f"{len(customer_id)}:',
        "    told = f\"{__import__('os').urandom(4).hex()}{len(customer_id)}:",
        (*_LOOKED, *_REPORTED),
    ),
    Mutant(
        "a group called over is overage",
        _OVERAGE,
        "q:([^:@]+):over",
        "q:(.+):over",
        _NAMED,
    ),
    Mutant(
        "whoever did not buy overage has it",
        _ALLOWANCE,
        'access.standing != "good" or subscription.status != "active"',
        'access.standing != "good"',
        _CHARGED,
    ),
    Mutant(
        "overage in a dispute",
        _ALLOWANCE,
        "if any(flag not in _BESIDE_OVERAGE for flag, _ in subscription.flags):",
        "if any(flag is None for flag, _ in subscription.flags):",
        _CHARGED,
    ),
    Mutant(
        "a cap in another currency is taken for one in the price's",
        "gateway/core/spending.py",
        "if tariff is not None and tariff.currency == currency]",
        "if tariff is not None]",
        _CHARGED,
    ),
    Mutant(
        "the higher of two caps holds",
        _ALLOWANCE,
        ":= units_at_all(prices, *spend)) <= units:",
        ":= units_at_all(prices, *spend)) >= units:",
        _CHARGED,
    ),
    Mutant(
        "overage restarts where what is included does",
        _ALLOWANCE,
        "        starts_at=starts_at,\n",
        "        starts_at=max(starts_at, *(at for at, _ in account.subscription.plan_changes), starts_at),\n",
        _CHARGED,
    ),
    Mutant(
        "a price that falls with volume buys what lies behind a dearer number",
        _TARIFF,
        "        if most < last:\n            return most\n",
        '        if most < last and tariff.mode == "graduated":\n            return most\n',
        _BOUGHT,
    ),
    Mutant(
        "a cap is exceeded by what rounding adds",
        _TARIFF,
        "    return -(-amount.numerator // amount.denominator)",
        "    return amount.numerator // amount.denominator",
        _BOUGHT,
    ),
    Mutant(
        "what did not stand is reported",
        _LOOK,
        "min(running.stood, running.total)",
        "running.total",
        _LOOKED,
    ),
    Mutant(
        "what is reported falls",
        _LOOK,
        "report_to=max(running.reported, stands)",
        "report_to=stands",
        _LOOKED,
    ),
    Mutant(
        "a unit of the last second counts in the next period",
        _LOOK,
        "min(now, ends_at - 1)",
        "min(now, ends_at)",
        _LOOKED,
    ),
    Mutant(
        "two windows have one name",
        _LOOK,
        "{meter}:{starts_at}:{total}",
        "{meter}:{total}",
        _LOOKED,
    ),
    Mutant(
        "a duplicate is a refusal",
        _STRIPE,
        "                if not _is_duplicate(error, identifier):\n                    raise\n",
        "                raise\n",
        ("tests/stripe_sdk/test_calls.py",),
    ),
    Mutant(
        "what nobody could tell about is sent again for ever",
        _REPORTER,
        "now - report.tried_at > KNOWN_FOR_S",
        "now - report.tried_at > 99 * KNOWN_FOR_S",
        _REPORTED,
    ),
    Mutant(
        "usage is reported to whatever account the key is of",
        _REPORTER,
        "        if (trouble := await proof.find_trouble()) is None:\n",
        "        if (trouble := None) is None:\n",
        ("tests/billing/test_account_of_usage.py",),
    ),
    Mutant(
        "a report is sent before it is written",
        _REPORTER,
        "            is_ours = await self._ledger.begin_report(turn, window, report, self._now())\n"
        "            if not is_ours or not await self._send(report, proof):\n",
        "            is_sent = await self._send(report, proof)\n"
        "            if not await self._ledger.begin_report(turn, window, report, self._now()) or not is_sent:\n",
        _REPORTED,
    ),
    Mutant(
        "a report has the name of a total that did not stand",
        _REPORTER,
        "window.window_starts_at, seen.report_to),",
        "window.window_starts_at, window.total),",
        _LIVED,
    ),
    Mutant(
        "units of a subscription that ended count in the period of the next",
        _DESCRIBED,
        "ends_at = min(ends_at, next_at)",
        "ends_at = max(ends_at, next_at)",
        _REPORTED,
    ),
    Mutant(
        "a change of plan begins the cap again",
        _ALLOWANCE,
        "if all(one.gone_at is None for one in known):",
        "if known:",
        _CHARGED,
    ),
    Mutant(
        "a cap of the customer's own is ignored",
        _ALLOWANCE,
        "overage.spend_cap if own is None else",
        "overage.spend_cap if own is None or own.amount else",
        _CHARGED,
    ),
    Mutant(
        "two reports of one step",
        _LEDGER,
        "                _WINDOWS.reported == window.reported,\n",
        "",
        _KEPT,
    ),
    Mutant(
        "somebody reports without the turn",
        _LEDGER,
        "*_has(turn), _TURNS.claimed_until > now",
        "_TURNS.claimed_until > now",
        _KEPT,
    ),
    Mutant(
        "two have the turn at once",
        _LEDGER,
        "                where=_TURNS.claimed_until <= now,\n",
        "",
        _KEPT,
    ),
    Mutant(
        "what was seen to goes on calling for action",
        "gateway/ledger/unbilled.py",
        "case((_WINDOWS.acknowledged_at.is_(None), _WINDOWS.unbilled), else_=0)",
        "_WINDOWS.unbilled",
        ("tests/ledger/test_unbilled.py",),
    ),
    Mutant(
        "a change removes an item whose units are not reported yet",
        "gateway/sync/letting_go.py",
        "    return None in waiting or await",
        "    return None in waiting and await",
        ("tests/billing/test_overage_of_a_fall.py",),
    ),
)
