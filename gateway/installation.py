"""USE CASE: do the settings belong to the ledger?

A ledger is full of what only one Stripe account and one pepper can make use of. With others, every customer
would be unknown at Stripe, or every API key invalid, and nothing would say so. So the ledger keeps what it was
first used with, and a gateway that was given something else does not start until somebody says it is meant.

| fact             | value                                              | known               |
|------------------|----------------------------------------------------|---------------------|
| `stripe-mode`    | `live`, `test` or `sandbox`; none without Stripe   | from settings       |
| `stripe-account` | `acct_...`                                         | `sync.account`      |
| `key-pepper`     | a MAC under the pepper: the same for no other one  | from settings       |
| `ledger-id`      | drawn once; labels at Stripe name it               | the ledger          |
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gateway.core.audited import Assess
from gateway.ledger import STRIPE_ACCOUNT, Ledger
from gateway.settings import Settings

Subject: TypeAlias = Literal["stripe", "pepper"]

MODE: Final = "stripe-mode"
PEPPER: Final = "key-pepper"
_CHECKED_TEXT: Final = b"tiergate installation: is this the pepper?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is not what the ledger was made with."""

    subject: Subject
    """What `tiergate ledger accept` is to be told."""
    what: str
    """Which it is, and what it means."""
    fix: str
    """How to undo it, and how to go on with it."""


class InstallationChanged(Exception):
    """The settings do not belong to the ledger. Nothing may be served with them."""

    def __init__(self, changes: tuple[Change, ...]) -> None:
        super().__init__("\n".join(f"{change.what} {change.fix}" for change in changes))
        self.changes = changes


async def check_installation(ledger: Ledger, settings: Settings, *, now: int) -> None:
    """Hold the settings against the ledger; a ledger that knows nothing yet learns them.

    Raises:
        InstallationChanged: Something is another than it was.
        LedgerUnavailable: Nobody knows.
    """
    changes = _changes(await ledger.keep_facts(facts_of(settings), now=now), settings)
    if changes:
        raise InstallationChanged(changes)
    await ledger.keep_ledger_id(now=now)


async def find_changes(ledger: Ledger, settings: Settings) -> tuple[Change, ...]:
    """What of the settings does not belong to the ledger. Writes nothing."""
    return _changes(await ledger.load_facts(), settings)


async def accept_change(
    ledger: Ledger,
    settings: Settings,
    subject: Subject,
    *,
    now: int,
    actor: str,
    account_id: str | None = None,
    assess: Assess | None = None,
) -> int:
    """Let the ledger belong to the settings as they are.

    Another Stripe account: nobody has a subscription or a Stripe customer any more, because those that are recorded
    do not exist there. Another pepper: keys that were issued stay invalid.

    Args:
        ledger: Whose it is to be.
        settings: Of this process.
        subject: What is another.
        now: Unix seconds.
        actor: For the audit log.
        account_id: Of the Stripe key. Until the end the ledger is the old account's, and then at once the new one's:
            a gateway that still runs under the old key finds no ledger without an account to learn its own again.
            None: it is not known, and the first gateway whose key may read it is believed.
        assess: For the audit log: what a customer may do.

    Returns:
        How many customers lost what they had at Stripe.
    """
    facts = facts_of(settings)
    if subject == "pepper":
        await ledger.replace_facts({PEPPER: facts[PEPPER]}, now=now, actor=actor)
        return 0
    new = {name: facts[name] for name in (MODE,) if name in facts}
    new |= {} if account_id is None else {STRIPE_ACCOUNT: account_id}
    return await ledger.leave_stripe(new, without=(MODE, STRIPE_ACCOUNT), now=now, actor=actor, assess=assess)


def facts_of(settings: Settings) -> dict[str, str]:
    """What is known without asking anybody."""
    pepper = settings.key_pepper.get_secret_value().encode()
    mode = _stripe_mode(settings)
    return {
        **({} if mode is None else {MODE: mode}),
        PEPPER: hmac.digest(pepper, _CHECKED_TEXT, "sha256").hex(),
    }


def _stripe_mode(settings: Settings) -> str | None:
    """None: there is no Stripe, and a ledger that knows none yet learns it when there is one."""
    if settings.stripe_key is None:
        return None
    return settings.mode if settings.stripe_url is None else "sandbox"


def _changes(recorded: dict[str, str], settings: Settings) -> tuple[Change, ...]:
    facts = facts_of(settings)
    changes = []
    if MODE in recorded and MODE not in facts:
        changes.append(_without_stripe(recorded[MODE]))
    elif MODE in facts and recorded.get(MODE, facts[MODE]) != facts[MODE]:
        what = f"The ledger was made in Stripe's {recorded[MODE]} mode, and STRIPE_SECRET_KEY is of {facts[MODE]} mode."
        changes.append(stripe_change(what))
    if recorded.get(PEPPER, facts[PEPPER]) != facts[PEPPER]:
        changes.append(_PEPPER_CHANGE)
    return tuple(changes)


def stripe_change(what: str) -> Change:
    """The ledger belongs to another Stripe account, or to another mode of it; `what` says which."""
    return Change(
        subject="stripe",
        what=f"{what} Its customers and subscriptions do not exist there: nobody who has an account could buy or pay, "
        "and no usage is reported.",
        fix="Set STRIPE_SECRET_KEY back, or give the other account a ledger of its own (TIERGATE_LEDGER_URL or "
        "TIERGATE_DATA_DIR). To go on with this one, in which then nobody has a subscription: "
        "`tiergate ledger accept stripe`.",
    )


def _without_stripe(mode: str) -> Change:
    return Change(
        subject="stripe",
        what=f"The ledger was made in Stripe's {mode} mode, and STRIPE_SECRET_KEY is not set: no payment and no "
        "cancellation would be heard of, and whoever has a subscription would keep it for nothing.",
        fix="Set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET back. To go on without Stripe, in which then nobody has a "
        "subscription: `tiergate ledger accept stripe`.",
    )


_PEPPER_CHANGE: Final = Change(
    subject="pepper",
    what="TIERGATE_KEY_PEPPER is not the one that the ledger was made with: every API key in it would be invalid.",
    fix="Set the old pepper again. If it is lost, every customer needs a new key; to go on: "
    "`tiergate ledger accept pepper`.",
)
