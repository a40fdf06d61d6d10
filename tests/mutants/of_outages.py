"""Faults in what goes on while the cache cannot decide, and in how it is counted afterwards."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CHARGE_BACK, _OUTAGES = "gateway/cache/lua/charge_back.lua", "gateway/outages.py"
_ADMISSION, _SNAPSHOTS = "gateway/admission/admission.py", "gateway/admission/snapshots.py"
_POLICY = "gateway/core/outage_policy.py"
_MODEL, _ACTS = ("tests/cache/test_oracle.py",), ("tests/test_outages.py",)
_COSTS = ("tests/test_outage_costs.py",)
_CHARGES, _LOOKS = "gateway/web/websocket_charges.py", ("tests/web/test_websocket_looks.py",)

MUTANTS = (
    Mutant(
        "a charge-back that is repeated counts again",
        _CHARGE_BACK,
        "if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then return {0, 0} end",
        "redis.call('SET', KEYS[2], '1', 'EX', ARGV[1])",
        _ACTS,
    ),
    Mutant(
        "a charge-back goes to a customer that the cache has lost",
        _CHARGE_BACK,
        "if not here[1] or not here[3] or not history_is(here[3]) then return {-1, 0} end",
        "",
        _ACTS,
    ),
    Mutant(
        "a charge-back goes to what another history left",
        _CHARGE_BACK,
        " or not history_is(here[3])",
        "",
        ("tests/cache/test_history.py",),
    ),
    Mutant(
        "what was let in in the window before counts in this one",
        _CHARGE_BACK,
        "elseif since == starts_at then",
        "elseif since >= starts_at then",
        _MODEL,
    ),
    Mutant(
        "what was let in by an account that was moved back counts in a window that nobody is held to",
        _CHARGE_BACK,
        "  if goes_on(since, starts_at, charged_at) then starts_at = since end\n",
        "",
        ("tests/cache/test_corrections.py",),
    ),
    Mutant(
        "what was let in before the window of now began counts in it",
        "gateway/cache/lua/counted.lua",
        " and since <= charged_at",
        "",
        ("tests/cache/test_corrections.py",),
    ),
    Mutant(
        "a charge-back into a new window forgets the window before",
        _CHARGE_BACK,
        "    if since then put(before(field), since, used) end\n",
        "",
        _MODEL,
    ),
    Mutant(
        "a charge-back takes the place of what was counted",
        _CHARGE_BACK,
        "put(field, starts_at, used + units)",
        "put(field, starts_at, units)",
        _ACTS,
    ),
    Mutant(
        "a charge-back is not seen by settlement: its number stays",
        _CHARGE_BACK,
        "redis.call('HSET', KEYS[1], 's', format('%.0f', seq))\n",
        "",
        _MODEL,
    ),
    Mutant(
        "the marker of a charge-back has lost its hash tag",
        "gateway/cache/keyspace.py",
        'return f"tg:{{{_tag(customer_id)}}}:owed:{receipt_id}"',
        'return f"tg:{_tag(customer_id)}:owed:{receipt_id}"',
        ("tests/cache/test_keyspace.py",),
    ),
    Mutant(
        "what may have been charged is charged back all the same",
        _OUTAGES,
        "if not error.may_have_happened:",
        "if error is not None:",
        _ACTS,
    ),
    Mutant(
        "a charge that was sent and not answered passes for one that was not sent",
        "gateway/cache/wire.py",
        "fail_call(call, reason, was_sent=True)",
        "fail_call(call, reason)",
        _ACTS,
    ),
    Mutant(
        "a cache that comes back for a moment refills the allowance",
        _OUTAGES,
        "self._monotonic() - self._failed_at < CALM_S:",
        "self._monotonic() - self._failed_at < 0:",
        _ACTS,
    ),
    Mutant(
        "an outage ends although the cache is away",
        _OUTAGES,
        "        if not self._cache.is_ready or not all(self._cache.is_reachable(name) for name in self._customers):\n"
        "            self._failed_at = self._monotonic()\n        if not self",
        "        if not self",
        _ACTS,
    ),
    Mutant(
        "an outage of one master ends when the others are well",
        _OUTAGES,
        " or not all(self._cache.is_reachable(name) for name in self._customers):",
        ":",
        ("tests/test_outages_on_cluster.py",),
    ),
    Mutant(
        "a charge-back that did not arrive is not sent again",
        _OUTAGES,
        "batch = customer.sending = customer.batch",
        "batch = customer.batch",
        _ACTS,
    ),
    Mutant(
        "a call that is let in and refunded twice is owed less than nothing",
        _OUTAGES,
        "        passed.parts = ()\n        return True\n",
        "        return True\n",
        _ACTS,
    ),
    Mutant(
        "who was over its quota is let in by an outage",
        _OUTAGES,
        "if any(_could_not_pay(",
        "if False and any(_could_not_pay(",
        _ACTS,
    ),
    Mutant(
        "a call that no window's share covers is let in by an outage",
        _OUTAGES,
        "    if limit.claim.cost > limit.quota:\n        return True\n",
        "",
        _ACTS,
    ),
    Mutant(
        "a rate is not held while the cache is away",
        _OUTAGES,
        "if waits := self._paces.waits_ms(",
        "if waits := {} and self._paces.waits_ms(",
        _ACTS,
    ),
    Mutant(
        "a rate that a worker holds by itself does not drain",
        "gateway/core/pace.py",
        "debt.units - max(0, now_ms - debt.at_ms) * claim.units",
        "debt.units",
        ("tests/core/test_pace.py",),
    ),
    Mutant(
        "a quota that is used up makes forget the others",
        _OUTAGES,
        "for name, one in self._exhausted.get(customer_id, {}).items() if",
        "for name, one in () if",
        _ACTS,
    ),
    Mutant(
        "the allowance is one more than policy says",
        _OUTAGES,
        "if customer.units + units > most_units(rule, claims):",
        "if customer.units + units > most_units(rule, claims) + 1:",
        _ACTS,
    ),
    Mutant(
        "a call takes one of the allowance, whatever it costs",
        _POLICY,
        "return max([1, *(claim.cost for claim in claims)])",
        "return 1",
        ("tests/core/test_outage_policy.py", *_ACTS),
    ),
    Mutant(
        "a call takes of the allowance what it reserved, whatever it turns out to cost",
        _OUTAGES,
        "            customer.units += more\n",
        "",
        _COSTS,
    ),
    Mutant(
        "what a call turns out to cost is taken of the allowance each time that it is said",
        _OUTAGES,
        "            passed.units += more\n",
        "",
        _COSTS,
    ),
    Mutant(
        "a call takes of an allowance that is not of its own outage",
        _OUTAGES,
        "if more > 0 and customer is not None and batch is not None and batch.number >= customer.first_batch:",
        "if more > 0 and customer is not None and batch is not None:",
        _COSTS,
    ),
    Mutant(
        "an open websocket is believed for good",
        _CHARGES,
        "return abs(attempt.now - self._decided_at) <= SNAPSHOT_LIVES_S",
        "return True",
        _LOOKS,
    ),
    Mutant(
        "a key that is known to be revoked keeps a websocket open",
        _CHARGES,
        "if attempt.account is not None and isinstance(error, CacheUnavailable):\n            return False",
        "if attempt.account is not None and isinstance(error, CacheUnavailable):\n            return True",
        _LOOKS,
    ),
    Mutant(
        "a look that the cache did not decide counts as its word",
        _CHARGES,
        "        if attempt.outage is None:\n            self._decided_at = attempt.now",
        "        self._decided_at = attempt.now",
        _LOOKS,
    ),
    Mutant(
        "an allowance larger than a quota is had in full",
        _POLICY,
        "return min([rule.units, *(",
        "return max([rule.units, *(",
        ("tests/core/test_outage_policy.py",),
    ),
    Mutant(
        "an account is gone by however old it is",
        _ADMISSION,
        "if held is None or not held.is_fresh(attempt.now):",
        "if held is None:",
        _ACTS,
    ),
    Mutant(
        "an account that is known to be old is gone by",
        _SNAPSHOTS,
        "            self._accounts.pop(customer_id, None)  # there is a newer one, whoever can read it\n",
        "",
        _ACTS,
    ),
    Mutant(
        "a key that the held account does not have is let in",
        _ADMISSION,
        "(refusal := attempt.make_plan(key.digest)) is not None",
        "(refusal := attempt.make_plan(next(iter(held.account.keys)))) is not None",
        _ACTS,
    ),
)
