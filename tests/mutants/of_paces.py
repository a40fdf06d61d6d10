"""Faults in how strangers and customers are paced."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_SIGNUPS, _PACING = "gateway/signups.py", "gateway/pacing.py"
_OF_SIGNUPS, _OF_PACING = ("tests/web/test_signups.py",), ("tests/test_pacing.py",)
_OF_ONE = (
    "        wait_s = await self._pacing.wait_s(pacing_address(address), _OF_ONE)\n"
    "        if wait_s:\n"
    '            self._refused.labels("network").inc()\n'
    '            raise TooManySignups("Too many sign-ups from this network; wait a little.", retry_after_s=wait_s)\n'
)
_OF_ALL = "        wait_s = await self._pacing.wait_s(_EVERYBODY, self._of_all)\n"

MUTANTS = (
    Mutant("strangers of many networks have no pace together", _SIGNUPS, _OF_ALL, "        wait_s = 0\n", _OF_SIGNUPS),
    Mutant(
        "each worker counts all strangers by itself",
        _SIGNUPS,
        _OF_ALL,
        _OF_ALL.replace("_EVERYBODY", 'f"everybody {id(self)}"'),
        _OF_SIGNUPS,
    ),
    Mutant(
        "a network that is refused takes of what all have",
        _SIGNUPS,
        _OF_ONE + _OF_ALL,
        _OF_ALL.replace("wait_s =", "of_all =") + _OF_ONE + "        wait_s = of_all\n",
        _OF_SIGNUPS,
    ),
    Mutant(
        "nobody is paced without the cache",
        _PACING,
        "            return seconds_up(self._count(who, rate))\n",
        "            return 0\n",
        _OF_PACING,
    ),
    Mutant(
        "who is refused without the cache is forgotten before others",
        _PACING,
        "        self._own.spend(who, () if wait_ms else (rate,), now_ms)\n",
        "        if not wait_ms:\n            self._own.spend(who, (rate,), now_ms)\n",
        _OF_PACING,
    ),
)
