"""Faults in credits, in changes of plan, and in edits of the policy."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CHARGE, _CREDITS, _LEDGER = "gateway/cache/lua/charge.lua", "gateway/core/credits.py", "gateway/ledger/credits.py"
_CHANGE, _ATTEMPT = "gateway/core/plan_change.py", "gateway/admission/attempt.py"
_CHAINS, _USED, _KEPT = ("tests/cache/test_chain.py",), ("tests/test_credits.py",), ("tests/ledger/test_credits.py",)
_EDIT, _EDITS = "gateway/core/policy_edit.py", ("tests/core/test_policy_edit.py",)
_NAMED = ("tests/core/test_counter_names.py",)
_CHANGES = ("tests/core/test_plan_change.py",)

MUTANTS = (
    Mutant(
        "an overdrawn quota lends to the credits behind it",
        _CHARGE,
        "if takes < 0 then takes = 0 end",
        "",
        _CHAINS,
    ),
    Mutant(
        "each part of a chain takes the whole cost",
        _CHARGE,
        "rest, need = need - takes, takes",
        "rest = need - takes",
        _CHAINS,
    ),
    Mutant(
        "a second chain goes on with the rest of the first",
        _CHARGE,
        "        rest = nil\n",
        "        rest = rest\n",
        _CHAINS,
    ),
    Mutant(
        "an overdrawn grant refuses what the quota covers",
        _CHARGE,
        "if need == 0 then room = owed end",
        "",
        _CHAINS,
    ),
    Mutant(
        "a refund gives back the whole cost to every part of a chain",
        _ATTEMPT,
        "zip(plan.claims, attempt.taken or plan.costs, strict=True)",
        "zip(plan.claims, [claim.cost for claim in plan.claims], strict=True)",
        _USED,
    ),
    Mutant(
        "credits are spent in the order in which they were granted",
        _CREDITS,
        "return ends_at(grant), grant.granted_at, grant.grant_id",
        "return grant.granted_at, ends_at(grant), grant.grant_id",
        _USED,
    ),
    Mutant(
        "grants behind the eighth are not asked",
        _CREDITS,
        "        for grant in live\n",
        "        for grant in live[:8]\n",
        _USED,
    ),
    Mutant(
        "a tier that lives on credits refuses for good",
        _CREDITS,
        "limit.units == 0 and _is_longest",
        "limit.units < 0 and _is_longest",
        _USED,
    ),
    Mutant(
        "credits are not restored after a loss of the cache",
        _CREDITS,
        "if field in live or not is_grant_field(field)",
        "if not is_grant_field(field)",
        _USED,
    ),
    Mutant(
        "every counter of a meter called credit is a grant's",
        _CREDITS,
        "return _FIELD.fullmatch(field) is not None",
        "return field.startswith(_FIELD_STARTS)",
        _NAMED,
    ),
    Mutant(
        "grants are named as shortly as windows",
        _CREDITS,
        "GRANT_ID_LENGTH = 12",
        "GRANT_ID_LENGTH = 6",
        _NAMED,
    ),
    Mutant(
        "credits that are used up stay in the account",
        _LEDGER,
        'values(ended="spent", ended_at=now)',
        "values(ended=None, ended_at=None)",
        _KEPT,
    ),
    Mutant(
        "a refund does not bring used up credits back",
        _LEDGER,
        "values(ended=None, ended_at=None)",
        'values(ended="spent", ended_at=now)',
        _KEPT,
    ),
    Mutant(
        "a fall of the tier starts a fresh count",
        _CHANGE,
        "if rank > highest:",
        "if rank != highest:",
        _CHANGES,
    ),
    Mutant(
        "a change of an earlier window is a share of this one",
        _CHANGE,
        "if starts_at < change[0] < ends_at]",
        "if change[0] < ends_at]",
        _CHANGES,
    ),
    Mutant(
        "a renamed tier hides that its counts start again",
        _EDIT,
        "                yield old.tier, new.tier\n",
        "                yield old.tier, old.tier\n",
        _EDITS,
    ),
    Mutant(
        "a renamed plan is followed by nobody",
        _EDIT,
        "new.plan_id == old.plan_id or (new.price_id, new.lookup_key) == (old.price_id, old.lookup_key)",
        "new.plan_id == old.plan_id",
        _EDITS,
    ),
    Mutant(
        "another default tier hides that its counts start again",
        _EDIT,
        "yield fallen, standing.then",
        "yield fallen, fallen",
        _EDITS,
    ),
    Mutant(
        "a charge that pays for repeats is said where none can be",
        "gateway/policyfiles/cautions.py",
        "for route in routes if honours_keys(route)]",
        "for route in routes]",
        ("tests/policyfiles/test_cautions.py",),
    ),
    Mutant(
        "who waits for credits that are used up is told to wait for ever",
        "gateway/core/refused_charge.py",
        "if limit.claim.cost > (most := _most_after_reset(limit, state)):\n",
        "if (most := _most_after_reset(limit, state)) < 0:\n",
        ("tests/test_no_wait_helps.py",),
    ),
    Mutant(
        "credits that expire with the window are waited for",
        "gateway/cache/answers.py",
        "own if claim.ends_at > first.ends_at else 0",
        "own if claim is not first else 0",
        ("tests/test_no_wait_helps.py",),
    ),
)
