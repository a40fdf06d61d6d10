"""Faults in what customers see of their use, and in what the seller is told of it."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_HISTORY, _TALLIES, _LEDGER_ALERTS = "gateway/ledger/history.py", "gateway/tallies.py", "gateway/ledger/alerts.py"
_RULE, _NOTICING, _SENDING = "gateway/core/alerts.py", "gateway/alerts/noticing.py", "gateway/alerts/sending.py"
_OF_HISTORY, _OF_TALLIES = ("tests/ledger/test_history.py",), ("tests/test_tallies.py",)
_OF_RULE, _OF_ALERTS = ("tests/core/test_alerts.py",), ("tests/alerts/test_alerts.py",)

MUTANTS = (
    Mutant(
        "a batch of usage that is sent again adds again",
        _HISTORY,
        "where=mark.excluded.batch > USAGE_WRITERS.c.batch,",
        "where=mark.excluded.batch >= USAGE_WRITERS.c.batch,",
        _OF_HISTORY,
    ),
    Mutant(
        "a batch of usage takes the place of what was there",
        _HISTORY,
        "set_={name: _T[name] + insert.excluded[name] for name in counts}",
        "set_={name: insert.excluded[name] for name in counts}",
        _OF_HISTORY,
    ),
    Mutant(
        "hours stay beside the day that was made of them",
        _HISTORY,
        'of_hours = (_T.span_s == HOUR_S,) if by == "hour" else ()',
        "of_hours = ()",
        _OF_HISTORY,
    ),
    Mutant(
        "keys that expired take no place in an account",
        "gateway/ledger/keys.py",
        "carried = (API_KEYS.c.customer_id == customer_id, API_KEYS.c.revoked_at.is_(None))",
        "carried = (API_KEYS.c.customer_id == customer_id, API_KEYS.c.expires_at.is_(None))",
        ("tests/ledger/test_keys.py",),
    ),
    Mutant(
        "an account of any size is sent where everybody is charged",
        "gateway/cache/lua/charge.lua",
        "if #account > LARGE then",
        "if #account > 99 * LARGE then",
        ("tests/cache/test_charge.py",),
    ),
    Mutant(
        "the scopes of a key are as long as one likes",
        "gateway/core/key_order.py",
        "if sum(map(len, order.scopes)) > MAX_SCOPES_LENGTH:",
        "if sum(map(len, order.scopes)) > 99 * MAX_SCOPES_LENGTH:",
        ("tests/core/test_key_order.py",),
    ),
    Mutant(
        "looks back take every connection of the ledger",
        "gateway/ledger/database.py",
        "async with self._in_turn(self._look_back), self.reading() as connection:",
        "async with self.reading() as connection:",
        _OF_HISTORY,
    ),
    Mutant(
        "one customer looks back as often at once as it likes",
        _HISTORY,
        "if self._looking[customer_id] >= _LOOKS_AT_ONCE:",
        "if self._looking[customer_id] > 100:",
        _OF_HISTORY,
    ),
    Mutant(
        "a page adds up the whole span",
        _HISTORY,
        "return to_at if last is None else int(min(to_at, last - last % step + step))",
        "return to_at",
        _OF_HISTORY,
    ),
    Mutant(
        "a part of a look back ends within a day",
        _HISTORY,
        "last - last % step + step",
        "last + 1",
        _OF_HISTORY,
    ),
    Mutant(
        "looks back of a customer are not counted",
        "gateway/web/usage_history.py",
        "if caller.account is not None:\n        await take_look_back_turn",
        "if caller is None:\n        await take_look_back_turn",
        ("tests/web/test_look_back_turns.py",),
    ),
    Mutant(
        "a tally that was collected goes on counting where nobody looks",
        _TALLIES,
        "n, self.n, self.until = self.n, 0, 0",
        "n, self.n = self.n, 0",
        _OF_TALLIES,
    ),
    Mutant(
        "what is given back is taken off the calls too",
        _TALLIES,
        "self.add(_whose(account, plan, now), plan.route.cost, times=-1)",
        "self.add(_whose(account, plan, now), plan.route.cost, requests=-1)",
        _OF_TALLIES,
    ),
    Mutant(
        "a batch whose answer was lost gets another number",
        _TALLIES,
        "add_usage(self._writer, number, rows,",
        "add_usage(self._writer, next(self._numbers), rows,",
        _OF_TALLIES,
    ),
    Mutant(
        "a threshold is told again under another limit although the use was told",
        _RULE,
        "one.percent >= percent and one.used >= at",
        "one.percent == percent and one.used >= at",
        _OF_RULE,
    ),
    Mutant(
        "a threshold that was told under a smaller limit is never told again",
        _RULE,
        "one.percent >= percent and one.used >= at",
        "one.percent >= percent",
        _OF_RULE,
    ),
    Mutant(
        "of several thresholds the lowest is told",
        _RULE,
        "    percent = max(reached)\n",
        "    percent = min(reached)\n",
        _OF_RULE,
    ),
    Mutant(
        "a threshold is reached one unit early where it is no whole number",
        _RULE,
        "return -(-limit * percent // 100)",
        "return limit * percent // 100",
        _OF_RULE,
    ),
    Mutant(
        "an alert of the next window has the id of this one's",
        _RULE,
        "self.counter, self.window_starts_at, self.percent",
        "self.counter, self.percent",
        _OF_RULE,
    ),
    Mutant(
        "a worker that was quiet in one window stays quiet in the next",
        _NOTICING,
        "        if self._now(reading) >= quiet.until:\n            return False\n",
        "",
        _OF_ALERTS,
    ),
    Mutant(
        "a worker does not look again when the next threshold is reached",
        _NOTICING,
        "inf if ahead is None else ahead)",
        "inf)",
        _OF_ALERTS,
    ),
    Mutant(
        "a claim that ran out can still be ended",
        _LEDGER_ALERTS,
        "                ALERTS.c.claimed_by == row.claimed_by,\n",
        "",
        ("tests/ledger/test_alerts.py",),
    ),
    Mutant(
        "what nobody takes is sent for ever",
        _SENDING,
        "if is_final or row.attempts > len(pauses):",
        "if is_final:",
        _OF_ALERTS,
    ),
    Mutant(
        "every try to send has an id of its own",
        _SENDING,
        "send(row.alert_id, row.body)",
        'send(f"{row.alert_id}_{row.attempts}", row.body)',
        _OF_ALERTS,
    ),
    Mutant(
        "the time is not signed",
        "gateway/core/webhook_signature.py",
        'signed = b"%b.%d.%b" % (event_id.encode(), at, body)',
        'signed = b"%b.%d.%b" % (event_id.encode(), 0, body)',
        ("tests/core/test_webhook_signature.py",),
    ),
    Mutant(
        "a redirect leads an event away",
        "gateway/notify/webhook.py",
        "follow_redirects=False",
        "follow_redirects=True",
        ("tests/notify/test_webhook.py",),
    ),
    Mutant(
        "a password is sent in clear where TLS was wanted",
        "gateway/notify/email.py",
        '        if server.security == "starttls":\n',
        '        if server.security == "starttls" and smtp.ehlo() and smtp.has_extn("starttls"):\n',
        ("tests/notify/test_email.py",),
    ),
    Mutant(
        "a spreadsheet runs what begins like a formula",
        "gateway/web/csv_text.py",
        "if isinstance(value, str) and value.startswith(_RUNS):",
        'if isinstance(value, str) and value.startswith("="):',
        ("tests/web/test_usage_history.py",),
    ),
)
