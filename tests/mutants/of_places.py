"""Faults in limits on calls at once, and in limits on a group of routes."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CHARGE, _RENEW, _RELEASE = (f"gateway/cache/lua/{name}.lua" for name in ("charge", "renew", "release"))
_LIVE, _CHARGING = "gateway/live_calls.py", "gateway/admission/charging.py"
_COUNTS, _ACTS = ("tests/cache/test_live.py", "tests/cache/test_live_oracle.py"), ("tests/test_live_calls.py",)
_GROUPS = ("tests/test_group_limits.py",)

MUTANTS = (
    Mutant(
        "calls whose worker died count for ever",
        _CHARGE,
        "owed = call('ZCOUNT', KEYS[n], format('(%d', now), format('%d', now + LIVE_MS + TOLERANCE_MS))",
        "owed = call('ZCARD', KEYS[n])",
        _COUNTS,
    ),
    Mutant(
        "a call counts for the millisecond in which it stops to",
        _CHARGE,
        "format('(%d', now)",
        "format('%d', now)",
        _COUNTS,
    ),
    Mutant(
        "what a clock far ahead has written counts until then",
        _CHARGE,
        "format('%d', now + LIVE_MS + TOLERANCE_MS))",
        "'+inf')",
        _COUNTS,
    ),
    Mutant(
        "a call that is refused takes a place",
        _CHARGE,
        "if live and reply[1] == 1 then",
        "if live then",
        _COUNTS,
    ),
    Mutant(
        "a call takes a place in the first of its sets only",
        _CHARGE,
        "  for i = 1, #live do\n",
        "  for i = 1, 1 do\n",
        _COUNTS,
    ),
    Mutant(
        "the entries of calls that nobody holds are kept",
        _CHARGE,
        "    call('ZREMRANGEBYSCORE', live[i], '-inf', format('%d', now))\n",
        "",
        _COUNTS,
    ),
    Mutant(
        "a set of calls is kept for ever",
        _CHARGE,
        "    call('PEXPIRE', live[i], LIVE_MS)\n",
        "",
        _COUNTS,
    ),
    Mutant(
        "a place moves the sequence of counters",
        _CHARGE,
        "elseif need > 0 and units ~= -2 then",
        "elseif need > 0 then",
        _COUNTS,
    ),
    Mutant(
        "a call gives back its first place only",
        _RELEASE,
        "for i = 1, #KEYS do",
        "for i = 1, 1 do",
        _COUNTS,
    ),
    Mutant(
        "only calls that the server remembers are held",
        _RENEW,
        "redis.call('ZADD', KEYS[1], unpack(writes))",
        "redis.call('ZADD', KEYS[1], 'XX', unpack(writes))",
        _COUNTS,
    ),
    Mutant(
        "the last of the calls is not held",
        _RENEW,
        "for i = 2, #ARGV do",
        "for i = 2, math.max(2, #ARGV - 1) do",
        _COUNTS,
    ),
    Mutant(
        "a call that was given up while it was charged keeps its place",
        _CHARGING,
        "            self._live.give_back(attempt.decision_id, account.customer_id, plan.live)\n            raise\n",
        "            raise\n",
        _ACTS,
    ),
    Mutant(
        "a repeat under an Idempotency-Key never gives its place back",
        _CHARGING,
        "if reply[0] in _PASSED:",
        "if reply[0] == CHARGED:",
        _ACTS,
    ),
    Mutant(
        "a call that has ended is held on",
        _LIVE,
        "self._young.pop(call_id, None) or self._old.pop(call_id, None)",
        "self._young.pop(call_id, None) or self._old.get(call_id)",
        _ACTS,
    ),
    Mutant(
        "calls are forgotten after they were held once",
        _LIVE,
        "            self._old.update(self._young)\n",
        "            self._old = dict(self._young)\n",
        _ACTS,
    ),
    Mutant(
        "what a call goes on to cost takes another place",
        "gateway/core/route.py",
        "return replace(route, cost=cost, begins=False)",
        "return replace(route, cost=cost)",
        ("tests/core/test_decision.py",),
    ),
    Mutant(
        "a limit on a group counts every call",
        "gateway/core/decision.py",
        "        if limit.group in of_route\n",
        "",
        _GROUPS,
    ),
    Mutant(
        "a key's limit on a group counts every call",
        "gateway/core/decision.py",
        "for limit in key.limits if limit.group in of_route",
        "for limit in key.limits",
        _GROUPS,
    ),
    Mutant(
        "all groups share a counter",
        "gateway/core/limits.py",
        '        name = f"{name}:{limit.group}"\n',
        '        name = f"{name}:group"\n',
        ("tests/core/test_limit_text.py",),
    ),
    Mutant(
        "credits stand behind the quota of a group",
        "gateway/core/credits.py",
        "    if quota.group is not None:\n        return False\n",
        "",
        _GROUPS,
    ),
)
