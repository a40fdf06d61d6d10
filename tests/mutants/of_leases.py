"""Faults in leases: what is drawn ahead, for how long, and what goes back."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_DRAW, _END = "gateway/cache/lua/lease.lua", "gateway/cache/lua/lease_end.lua"
_LAW, _NEWS = "gateway/core/lease.py", "gateway/cache/news.py"
_LEASING, _LESSEE, _ASKING = "gateway/leasing/leasing.py", "gateway/leasing/lessee.py", "gateway/leasing/asking.py"
_SCRIPTS, _PURE, _ACTS = ("tests/cache/test_leases.py",), ("tests/core/test_lease.py",), ("tests/test_leasing.py",)
_STALLS = ("tests/test_giving_back.py",)

MUTANTS = (
    Mutant(
        "a bucket does not keep what it gains while a lease waits",
        _DRAW,
        "math.max(owed, units * ARGV[5])",
        "math.max(owed, 0)",
        _SCRIPTS,
    ),
    Mutant("a draw does not look at the account's version", _DRAW, "stored[1] ~= ARGV[1]", "false", _SCRIPTS),
    Mutant(
        "a quota's end is leased",
        _DRAW,
        "fits = left * 10 < room and 0 or left / 10 / need",
        "fits = left / need",
        _SCRIPTS,
    ),
    Mutant(
        "what a lost cache never charged is given back",
        _END,
        "if not charged then return 0 end",
        "charged = charged or ' q:m:60=999 '",
        _SCRIPTS,
    ),
    Mutant(
        "a lease gives back more than it has charged",
        _END,
        "math.min(used, ARGV[at + 1] + 0, most)",
        "math.min(used, ARGV[at + 1] + 0)",
        _SCRIPTS,
    ),
    Mutant(
        "a lease is drawn from data of another history",
        _DRAW,
        "elseif not find(info, 'master_replid:' .. history .. '\\r', 1, true) then\n",
        "elseif false then\n",
        _SCRIPTS,
    ),
    Mutant("a lease is written without its cost", _DRAW, "granted * needs[i]\n", "0\n", _SCRIPTS),
    Mutant(
        "a lease gives back to a later window",
        _END,
        "if field and from then",
        "field, used = field and ARGV[at], used\n  if field and from then",
        _SCRIPTS,
    ),
    Mutant(
        "a lease gives back to what another history left",
        _END,
        " or not history_is(stored[3]) then",
        " then",
        ("tests/cache/test_corrections.py",),
    ),
    Mutant(
        "what a draw without an answer may have granted is forgotten",
        _ASKING,
        "if reply is None and _may_have_happened(asked):",
        "if False:",
        _STALLS,
    ),
    Mutant(
        "a give-back without an answer is forgotten",
        _ASKING,
        "if given is None and parts:",
        "if False:",
        _STALLS,
    ),
    Mutant(
        "a draw that is still on its way is taken for one that never was",
        "gateway/leasing/giving_back.py",
        "elif owed.asked < _ASKED:",
        "elif owed.asked < 1:",
        _STALLS,
    ),
    Mutant("a lease outlives its window", _LAW, "min([draw.ttl_ms, *ends])", "draw.ttl_ms", _PURE),
    Mutant(
        "what was let through is given back too",
        _LAW,
        "quota_parts(self._claims, self.left)",
        "quota_parts(self._claims, 5)",
        _PURE,
    ),
    Mutant("what credits pay for is leased", _LAW, " and not claim.passes_on", "", _PURE),
    Mutant("what a lease has let through is not told", _LAW, "[owed + used * step for", "[owed + 0 * step for", _PURE),
    Mutant(
        "a slow cache is asked as late as a quick one",
        _LAW,
        "max(_AHEAD_S, took_s * _PATIENCE)",
        "_AHEAD_S",
        _PURE,
    ),
    Mutant("all that may come is leased", _LAW, "-int(-pace * _ASKED_FOR * ttl_ms", "-int(-pace * ttl_ms", _PURE),
    Mutant("a lease survives its account", _LEASING, "            lessee.drop()", "            pass", _ACTS),
    Mutant(
        "lost news are not noticed",
        _LEASING,
        "        if not is_informed:\n",
        "        if False:\n",
        _ACTS,
    ),
    Mutant(
        "a lease of before a machine's sleep is spent",
        _LESSEE,
        "if not lease.left or now_s >= lease.over_s:",
        "if not lease.left:",
        _ACTS,
    ),
    Mutant(
        "a draw that was answered too late is spent",
        _LESSEE,
        "if dropped != self._dropped or now_s >= lease.over_s:",
        "if dropped != self._dropped:",
        _ACTS,
    ),
    Mutant("nobody is told of a change", _NEWS, "self._changed(customer_of", "len(customer_of", _ACTS),
)
