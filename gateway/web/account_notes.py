"""What the account page says first: what is wrong with the subscription, or when it ends, and what helps.

The facts are those of `core.access`, so page, API and `Tiergate-Warning` never disagree; here they
are put for people, and beside each stands the way to the portal if the portal can help.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.access import decide_access, ended_by
from gateway.core.access_value import Access
from gateway.core.account import Account
from gateway.core.lifecycle import PENDING_UPDATE
from gateway.core.policy import Policy
from gateway.core.standing_words import WHERE_TO_CONFIRM, instant_text
from gateway.web.page_words import moment
from gateway.web.portal_page import CONFIRMS_PAYMENT

_MENDED_BY_CARD = frozenset({"past_due", "unpaid", "incomplete", "paused"})
_ENDED = frozenset({"canceled", "incomplete_expired"})
_MEND = "Update the payment method"
_CONFIRM = "Confirm the payment"
_KEEP = "Keep the subscription"
_REFUSED_UNTIL = {
    "payment-required": "that is mended",
    "account-suspended": "that is settled",
    "subscription-required": "there is a paid plan",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing that the customer should know before anything else on the page."""

    text: str
    is_urgent: bool = False
    """Something is wrong, and is to be read out at once."""
    portal_button: str | None = None
    """What the customer does at Stripe about it; None: nothing can be done there."""

    @property
    def portal_flow(self) -> str:
        """The act that it is (`gateway.web.portal_page`); empty: it is done at the portal's beginning."""
        return {_MEND: "payment_method_update", _CONFIRM: CONFIRMS_PAYMENT}.get(self.portal_button or "", "")


def account_note(account: Account, access: Access, policy: Policy) -> Note | None:
    """What there is to say of an account; None: it is as it was bought, or nothing was ever bought."""
    if account.blocked and access.refusal is not None:
        return Note(text="This account is suspended. Contact the provider of this API.", is_urgent=True)
    if access.warning is not None:
        text = _for_people(access)
        text = text if access.plan_id is not None else f"{text} {_now(access)}"
        return Note(text=text, is_urgent=True, portal_button=_mending(account))
    subscription = account.subscription
    if access.plan_id is not None and subscription is not None and subscription.cancel_at is not None:
        end, then = moment(subscription.cancel_at), _afterwards(account, subscription.cancel_at, policy)
        text = f"The subscription is cancelled: it ends on {end.text if end else ''}. {then}"
        return Note(text=text, portal_button=_KEEP)
    if subscription is not None and subscription.status in _ENDED and access.plan_id is None:
        return Note(text=f"{_ended(subscription.status, subscription.status_since)} {_now(access)}")
    return None if access.refusal is None else Note(text=_now(access), is_urgent=True)


def _for_people(access: Access) -> str:
    """The warning that calls carry, with its instant as the page writes instants; its link is a button here."""
    end, warning = moment(access.grace_until), (access.warning or "").replace(WHERE_TO_CONFIRM, "")
    if end is None or access.grace_until is None:
        return warning
    return warning.replace(f"at {instant_text(access.grace_until)}", f"on {end.text}")


def _mending(account: Account) -> str | None:
    subscription = account.subscription
    if subscription is None:
        return None
    if subscription.is_unconfirmed:
        return _CONFIRM
    waits = any(flag == PENDING_UPDATE for flag, _ in subscription.flags)
    return _MEND if waits or subscription.status in _MENDED_BY_CARD else None


def _afterwards(account: Account, end: int, policy: Policy) -> str:
    """What the account has then, and what once that ends by itself: also of what is paid for beneath, or granted."""
    access = decide_access(ended_by(account, end), policy, end)
    if access.tier is None:
        return "After that, calls are refused. Keys and usage stay."
    text, until = f"After that, the account has the {access.tier.title} tier", moment(access.grace_until)
    if until is not None and access.grace_until is not None:
        last = decide_access(ended_by(account, access.grace_until), policy, access.grace_until).tier
        text += f" until {until.text}, then {'calls are refused' if last is None else f'the {last.title} tier'}"
    return f"{text}. Keys and usage stay."


def _ended(status: str, since: int | None) -> str:
    if status == "incomplete_expired":
        return "The first payment was not made, so there is no subscription."
    end = moment(since)
    return "The subscription has ended." if end is None else f"The subscription ended on {end.text}."


def _now(access: Access) -> str:
    if access.tier is None:
        return f"Calls are refused until {_REFUSED_UNTIL[access.refusal or 'subscription-required']}."
    return f"The account has the {access.tier.title} tier now."
