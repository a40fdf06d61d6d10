"""Faults around the scripts: what decides, what is sent, what is settled."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ADMISSION, _READY_PLANS, _ENDING = (f"gateway/admission/{name}.py" for name in ("admission", "ready_plans", "ending"))
_KEYSPACE, _SCRIPTS = "gateway/cache/keyspace.py", "gateway/cache/scripts.py"
_CLIENT, _LANE = "gateway/cache/client.py", "gateway/cache/lane.py"
_SETTLEMENT, _TOTALS = "gateway/settlement.py", "gateway/ledger/usage.py"
_ADMITS, _SETTLES = ("tests/test_admission.py",), ("tests/test_settlement.py",)

MUTANTS = (
    Mutant(
        "the account's key has lost its hash tag",
        _KEYSPACE,
        'return f"tg:{{{_tag(customer_id)}}}:acct"',
        'return f"tg:{_tag(customer_id)}:acct"',
        ("tests/cache/test_keyspace.py",),
    ),
    Mutant(
        "a burst is counted in the units of its rate",
        _SCRIPTS,
        "_RATE.pack(claim.units, claim.cost * claim.window_ms, claim.burst * claim.window_ms)",
        "_RATE.pack(claim.units, claim.cost * claim.window_ms, claim.units * claim.window_ms)",
        ("tests/cache/test_charge.py",),
    ),
    Mutant(
        "a caller is told to come back a moment too early",
        "gateway/cache/answers.py",
        "reset_ms = -(-(need - room) // claim.units)",
        "reset_ms = (need - room) // claim.units",
        ("tests/cache/test_charge.py",),
    ),
    Mutant(
        "a plan is used after the end of its window, its grace or its key",
        _ADMISSION,
        "ready.policy is policy and attempt.now < ready.until:",
        "ready.policy is policy:",
        _ADMITS,
    ),
    Mutant(
        "a plan is used after an edit of the policy",
        _ADMISSION,
        "ready is not None and ready.policy is policy and",
        "ready is not None and",
        _ADMITS,
    ),
    Mutant(
        "a refusal of the account is forgotten when its version turns out current",
        _ADMISSION,
        "                    if refusal is not None:\n                        raise refusal\n",
        "",
        _ADMITS,
    ),
    Mutant(
        "the shortest wait is told of several",
        "gateway/core/refused_charge.py",
        "wait_s = max(1, *(seconds_up(state.reset_ms)",
        "wait_s = min(1, *(seconds_up(state.reset_ms)",
        _ADMITS,
    ),
    Mutant(
        "a customer's own days begin with the sign-up",
        "gateway/core/window.py",
        "starts_at = instant - instant % window_s",
        "starts_at = instant - (instant - account.created_at) % window_s",
        ("tests/core/test_window.py",),
    ),
    Mutant(
        "a call that its caller left is free although it was worked on",
        "gateway/core/outcome.py",
        "return by_caller and billable.abandoned",
        "return False",
        ("tests/core/test_outcome.py",),
    ),
    Mutant(
        "a stream that breaks off after its first bytes is free",
        "gateway/core/outcome.py",
        "(complete or payload or by_caller)",
        "(complete or by_caller)",
        ("tests/core/test_outcome.py",),
    ),
    Mutant(
        "calls that waited for a connection are sent twice",
        _LANE,
        "        self._held.clear()\n        self._new.clear()\n",
        "",
        ("tests/cache/test_lane.py", "tests/cache/test_outage.py", "tests/cache/test_coalescing.py"),
    ),
    Mutant(
        "a late answer is given to the next call",
        _LANE,
        '            self._lose(TimeoutError("no answer in time"), hangs=True)\n',
        "            self._refuse_late()\n",
        ("tests/cache/test_lane.py", "tests/cache/test_outage.py"),
    ),
    Mutant(
        "the window before is not settled",
        _SETTLEMENT,
        "in (*reading.ended.items(), *reading.quotas.items())",
        "in reading.quotas.items()",
        _SETTLES,
    ),
    Mutant(
        "a settlement that failed forgets whom it was about",
        _SETTLEMENT,
        "            self._charged |= charged\n",
        "",
        _SETTLES,
    ),
    Mutant(
        "the ledger takes a reading that is older than its own",
        _TOTALS,
        "where=insert.excluded.seq > USAGE_TOTALS.c.seq",
        "where=insert.excluded.seq != USAGE_TOTALS.c.seq",
        ("tests/ledger/test_usage.py",),
    ),
    Mutant(
        "of readings of one moment the first is settled, not the latest",
        _TOTALS,
        "latest[key].seq < reading.seq",
        "latest[key].seq > reading.seq",
        ("tests/ledger/test_usage.py",),
    ),
    Mutant(
        "a lost cache is refilled from the oldest window",
        _TOTALS,
        "order_by=(USAGE_TOTALS.c.seq.desc(), USAGE_TOTALS.c.window_starts_at.desc())",
        "order_by=(USAGE_TOTALS.c.seq, USAGE_TOTALS.c.window_starts_at)",
        ("tests/ledger/test_usage.py",),
    ),
    Mutant(
        "a repeat takes its quota's units, and gives them back if it fails",
        "gateway/core/planned.py",
        "            claim=replace(limit.claim, cost=0),\n",
        "",
        ("tests/test_once.py", "tests/web/test_once.py"),
    ),
    Mutant(
        "the length of a body is no part of the fingerprint",
        "gateway/core/once.py",
        "parts = (method.encode(), path, query, length)",
        "parts = (method.encode(), path, query)",
        ("tests/core/test_once.py",),
    ),
    Mutant(
        "a body without a length is a repeat of any other",
        "gateway/core/once.py",
        "    if body_framing(headers, http_version) == CHUNKED:\n",
        "    if False:\n",
        ("tests/core/test_once.py",),
    ),
    Mutant(
        "one charge pays for repeats of calls that cost by what they ask for",
        "gateway/policyfiles/routes.py",
        "bears_keys(route.pattern) and not route.settle and not route.measures",
        "bears_keys(route.pattern)",
        ("tests/policyfiles/test_once.py",),
    ),
    Mutant(
        "Connection keeps an Idempotency-Key from the API",
        "gateway/core/once.py",
        "            is_hidden = True\n",
        "            pass\n",
        ("tests/core/test_once.py",),
    ),
    Mutant(
        "Connection keeps a call's price from the API",
        "gateway/core/pricing.py",
        'elif name == b"connection" and wanted in listed_names(value):',
        "elif False:",
        ("tests/core/test_pricing.py",),
    ),
    Mutant(
        "the plan of a repeat is kept for first calls",
        _READY_PLANS,
        " or plan.key.allow or attempt.is_repeat:",
        " or plan.key.allow:",
        ("tests/test_once.py",),
    ),
    Mutant(
        "a call that was given back is settled as done",
        _ENDING,
        '            return "lost"\n        attempt.once = None\n',
        '            return "lost"\n',
        ("tests/test_once.py",),
    ),
)
