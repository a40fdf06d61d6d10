"""Faults in what is done after a clock was wrong."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CHARGE, _LEDGER = "gateway/cache/lua/charge.lua", "gateway/ledger/usage.py"
_ADMISSION, _TIMES = "gateway/admission/admission.py", ("tests/test_cache_time.py",)
_CLOCKS = ("tests/cache/test_wrong_clock.py", "tests/cache/test_oracle.py")

MUTANTS = (
    Mutant(
        "a window that a wrong clock opened is counted in when it comes",
        _CHARGE,
        "    if value and since * 1000 > now then\n",
        "    if false then\n",
        _CLOCKS,
    ),
    Mutant(
        "what was counted before a clock went ahead is forgotten",
        _CHARGE,
        "math.min(MOST, before + sub(known, bar + 1))",
        "before",
        _CLOCKS,
    ),
    Mutant(
        "a quota is set right only by calls that pass",
        _CHARGE,
        "if moved or (was_ahead and last > 4) then\n",
        "if reply[1] == 1 and (moved or (was_ahead and last > 4)) then\n",
        _CLOCKS,
    ),
    Mutant(
        "a window that begins within the tolerance is counted anew when it has begun",
        _CHARGE,
        "      if since * 1000 <= now + TOLERANCE_MS then\n",
        "      if false then\n",
        _CLOCKS,
    ),
    Mutant(
        "what was counted before a clock went ahead is counted and settled as ended too",
        _CHARGE,
        "  if gone then call('HDEL', KEYS[1], unpack(gone)) end\n",
        "",
        _CLOCKS,
    ),
    Mutant(
        "a lost cache is refilled from a window that a wrong clock opened",
        _LEDGER,
        "order_by=(USAGE_TOTALS.c.seq.desc(), USAGE_TOTALS.c.window_starts_at.desc())",
        "order_by=USAGE_TOTALS.c.window_starts_at.desc()",
        ("tests/ledger/test_usage.py", "tests/test_settlement.py"),
    ),
    Mutant(
        "a worker goes by its own clock",
        "gateway/admission/cache_time.py",
        "            self._skew_s += off_s\n",
        "            self._skew_s += 0\n",
        _TIMES,
    ),
    Mutant(
        "calls whose plan is ready do not show that a clock was set",
        _ADMISSION,
        "attempt.now if -TOLERANCE_MS < off_ms < TOLERANCE_MS else",
        "attempt.now if True else",
        _TIMES,
    ),
    Mutant(
        "a refusal by a clock that was wrong stands",
        _ADMISSION,
        " and not (is_off and refusal is not None):\n",
        ":\n",
        _TIMES,
    ),
)
