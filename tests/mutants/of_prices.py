"""Faults in what a call costs: by what it asks for, by what comes of it, and whether it is billed."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_SETTLE, _PRICING, _OUTCOME = "gateway/core/settle.py", "gateway/core/pricing.py", "gateway/core/outcome.py"
_SETTLES, _PRICES, _OUTCOMES = (
    ("tests/core/test_settle.py",),
    ("tests/core/test_pricing.py",),
    ("tests/core/test_outcome.py",),
)
_ANSWERED = ("tests/web/test_settling.py",)
_LEFT, _READ_ON = ("tests/web/test_left_streams.py",), ("tests/upstream/test_reading_on.py",)

MUTANTS = (
    Mutant(
        "a response may say more than a call can cost",
        _SETTLE,
        "units[rule.meter] = min(said, rule.at_most)",
        "units[rule.meter] = said",
        _SETTLES,
    ),
    Mutant("a unit that was begun is free", _SETTLE, "-(-count // per_bytes)", "count // per_bytes", _SETTLES),
    Mutant(
        "of two costs that a response tells, the first is taken",
        _SETTLE,
        'parse_units(values[0].strip(b" \\t")) if len(values) == 1 else None',
        'parse_units(values[0].strip(b" \\t")) if values else None',
        _SETTLES,
    ),
    Mutant(
        "callers see the field that tells the cost",
        _SETTLE,
        "if values and not rule.keeps_header:",
        "if values and rule.keeps_header:",
        _SETTLES,
    ),
    Mutant(
        "a stream that breaks costs what its head told of the whole",
        "gateway/web/settling.py",
        'if outcome.ended in {"upstream-broke", "timeout"}:',
        'if outcome.ended == "timeout":',
        _ANSWERED,
    ),
    Mutant(
        "a cost behind the body is not heard",
        "gateway/web/settling.py",
        "return {**counted, **self.heard, **told}",
        "return {**counted, **self.heard}",
        _ANSWERED,
    ),
    Mutant(
        "a cost that was promised behind the body is not owed if its caller does not let it come",
        "gateway/web/settling.py",
        "if rule.header in self._promised and rule.at_most != MOST_UNITS",
        "if rule.header not in self._promised and rule.at_most != MOST_UNITS",
        _LEFT,
    ),
    Mutant(
        "a cost that nobody bounds is charged without bound",
        "gateway/web/settling.py",
        "if rule.header in self._promised and rule.at_most != MOST_UNITS",
        "if rule.header in self._promised",
        _LEFT,
    ),
    Mutant(
        "who leaves a stream before its cost is told has left it for the upstream too",
        "gateway/web/settling.py",
        "return bool(self._unheard)",
        "return False",
        _LEFT,
    ),
    Mutant(
        "a response that is read on is read without end",
        "gateway/upstream/reading_on.py",
        "elif now >= self._gives_up_at:",
        "elif now < 0:",
        _READ_ON,
    ),
    Mutant(
        "a response that is read on may be of any size",
        "gateway/upstream/reading_on.py",
        "if ended or self._size > READ_ON_BYTES:",
        "if ended:",
        _READ_ON,
    ),
    Mutant(
        "an upstream that breaks off a response without its caller has not broken it off",
        "gateway/upstream/exchange.py",
        "if reading.failure is not None:",
        "if reading.failure is None:",
        _READ_ON,
    ),
    Mutant(
        "what a caller left before a response is charged whatever policy says",
        _OUTCOME,
        "return by_caller and billable.abandoned",
        "return by_caller",
        _OUTCOMES,
    ),
    Mutant(
        "an open websocket is free",
        _OUTCOME,
        "frozenset(statuses | {_SWITCHING} if _OK in statuses else statuses)",
        "frozenset(statuses)",
        _OUTCOMES,
    ),
    Mutant(
        "every response is billed that came to its end",
        _OUTCOME,
        "return status in billable.statuses and (complete or payload or by_caller)",
        "return complete or (status in billable.statuses and (payload or by_caller))",
        _OUTCOMES,
    ),
    Mutant(
        "a price may be said twice in one document",
        _PRICING,
        "if len(document) != len(pairs):",
        "if len(document) > len(pairs):",
        _PRICES,
    ),
    Mutant("a price may be true", _PRICING, " and not isinstance(document, bool)", "", _PRICES),
    Mutant(
        "a call may cost more than the most",
        _PRICING,
        "if units is None or not least <= units <= measure.at_most:",
        "if units is None or units < least:",
        _PRICES,
    ),
    Mutant(
        "a caller may price its call at nothing",
        _PRICING,
        "return _checked(measure, units, least=1)",
        "return _checked(measure, units, least=0)",
        _PRICES,
    ),
    Mutant(
        "a body of unknown size reserves nothing",
        _PRICING,
        "    if framing == CHUNKED:\n        return measure.at_most\n",
        "    if framing == CHUNKED:\n        return 0\n",
        _PRICES,
    ),
    Mutant(
        "a compressed body is read as it is",
        _PRICING,
        'if any(name == b"content-encoding" and value.strip().lower() != b"identity" for name, value in headers):',
        "if not headers and body == headers:",
        _PRICES,
    ),
    Mutant(
        "a body may be longer than what was reserved for it",
        "gateway/web/edge_plan.py",
        "self.max_body = min(self.max_body, reserved)",
        "self.max_body = max(self.max_body, reserved)",
        ("tests/web/test_measuring.py",),
    ),
    Mutant(
        "a price for one call is kept for the next",
        "gateway/admission/ready_plans.py",
        "        if plan.route.is_priced:\n            return\n",
        "",
        ("tests/test_admission.py",),
    ),
    Mutant(
        "a body is waited for under any key",
        "gateway/admission/admission.py",
        "        if not is_whole or attempt.plan is None:\n",
        "        if attempt.plan is None:\n",
        ("tests/web/test_measuring.py",),
    ),
    Mutant(
        "a call whose body is waited for is not in progress",
        "gateway/admission/admission.py",
        "            attempt.gate(attempt.account, attempt.plan)\n\n    def recognise",
        "            pass\n\n    def recognise",
        ("tests/web/test_measuring.py",),
    ),
    Mutant(
        "a call that says it costs nothing passes without a rate",
        "gateway/core/decision.py",
        "claim=replace(claim, cost=1)",
        "claim=claim",
        ("tests/core/test_decision.py",),
    ),
    Mutant(
        "another case of a name is another name",
        _PRICING,
        "other.casefold() == name.casefold()",
        "other == name",
        ("tests/core/test_pricing.py",),
    ),
    Mutant(
        "a worker goes on with what a price asked before another worker had the event of its change",
        "gateway/sync/judging.py",
        "        self._forget_prices_once(rows)\n",
        "",
        ("tests/billing/test_currency_options.py",),
    ),
)
