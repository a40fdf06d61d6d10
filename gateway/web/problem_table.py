"""The one table from errors to HTTP: status, title and what to do next, of every code.

docs/errors.md has the same text, and a test keeps both complete.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What one code means over HTTP."""

    status: int
    title: str
    advice: str
    """What the caller can do, in one or two sentences."""
    retry_after_s: int | None = None
    """Default Retry-After, where waiting helps and the error does not know better."""


TABLE: dict[str, Kind] = {
    "invalid-api-key": Kind(
        status=401,
        title="No valid API key",
        advice="Send a live key as 'Authorization: Bearer tg_...' or 'X-API-Key: tg_...'. Missing, mistyped, "
        "revoked and expired keys all get this answer.",
    ),
    "ambiguous-target": Kind(
        status=400,
        title="The request target has more than one reading",
        advice="Send the path without '//', dot segments, backslashes, or encoded slashes, dots and controls.",
    ),
    "target-too-long": Kind(
        status=414,
        title="The request target is too long",
        advice="Shorten the path or the query, or send what is in them in a request body.",
    ),
    "malformed-request": Kind(
        status=400,
        title="The request is malformed",
        advice="Fix the field that the detail names; most HTTP clients never send this.",
    ),
    "method-not-supported": Kind(
        status=501,
        title="This method is not proxied",
        advice="Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.",
    ),
    "http-version-not-supported": Kind(
        status=505,
        title="This version of HTTP is not spoken here",
        advice="Use HTTP/1.1.",
    ),
    "headers-too-large": Kind(
        status=431,
        title="The request's header fields are too large",
        advice="Send fewer or shorter header fields; cookies are the usual reason.",
    ),
    "request-timeout": Kind(
        status=408,
        title="The request did not arrive in time",
        advice="Send the whole request without long pauses. A call whose body stopped arriving after it had begun "
        "stays charged.",
    ),
    "expectation-failed": Kind(
        status=417,
        title="This expectation cannot be met",
        advice="Leave the Expect field out, or send 'Expect: 100-continue'.",
    ),
    "idempotency-key-invalid": Kind(
        status=400,
        title="The Idempotency-Key cannot be used",
        advice="Send one Idempotency-Key of at most 255 characters, a UUID for example, or none. Nothing was charged.",
    ),
    "idempotency-key-reused": Kind(
        status=422,
        title="The Idempotency-Key belongs to another call",
        advice="Send a new key with every new call, and the same key only with the same call. Nothing was charged.",
    ),
    "idempotency-key-in-flight": Kind(
        status=409,
        title="The first call with this Idempotency-Key is in progress",
        advice="Try again after the seconds in Retry-After, never more than 5: once the first call has ended, however "
        "long it takes, a repeat passes and is not charged again. If the gateway that had the first call was lost, "
        "that takes a minute. Nothing was charged.",
        retry_after_s=1,
    ),
    "upgrade-not-supported": Kind(
        status=501,
        title="No WebSocket is to be had here",
        advice="Use plain HTTP requests or server-sent events. Nothing was charged.",
    ),
    "websocket-version-not-supported": Kind(
        status=426,
        title="This version of the WebSocket protocol is not spoken here",
        advice="Use version 13 (RFC 6455), as every current client does.",
    ),
    "route-not-found": Kind(
        status=404,
        title="Not part of this API",
        advice="Check method and path. The seller lists every sold route in the policy; what is not listed is refused.",
    ),
    "body-too-large": Kind(
        status=413,
        title="The request body is too large",
        advice="Send a smaller body, or several requests. Nothing was charged if the body's length was announced; "
        "a call that had begun before it showed stays charged.",
    ),
    "cost-unreadable": Kind(
        status=400,
        title="The call does not say what it costs",
        advice="Send what the detail names: a whole number within its bounds, once. Nothing was charged.",
    ),
    "body-incomplete": Kind(
        status=400,
        title="The request body did not arrive as announced",
        advice="Send the whole body, as long as Content-Length says, without long pauses. The call stays charged.",
    ),
    "feature-not-in-tier": Kind(
        status=403,
        title="Your tier does not include this",
        advice="Upgrade to one of the tiers named in 'offered_by'.",
    ),
    "scope-missing": Kind(
        status=403,
        title="This key may not make this call",
        advice="Use another key of this account, or issue one with a wider scope.",
    ),
    "address-not-allowed": Kind(
        status=403,
        title="This key may not be used from here",
        advice="Call from an address that the key allows, or issue a key for this one at 'links.keys'. If the address "
        "is not yours, a proxy in front of the gateway is missing in its settings: tell the provider.",
    ),
    "origin-not-allowed": Kind(
        status=403,
        title="Pages of this site may not open WebSockets here",
        advice="The seller names the sites under 'cors' in the policy. Nothing was charged.",
    ),
    "cost-above-limit": Kind(
        status=403,
        title="This call costs more than a limit can hold",
        advice="Ask for less in one call. If the limit is the key's own, use another key, or issue one with a larger "
        "limit at 'links.keys'; if it has credits, get more of them. Waiting does not help. Nothing was charged.",
    ),
    "account-suspended": Kind(
        status=403, title="This account is suspended", advice="Contact the provider of this API."
    ),
    "subscription-required": Kind(
        status=402,
        title="A subscription is needed",
        advice="Choose a plan at the address under 'links.plans'.",
    ),
    "payment-required": Kind(
        status=402,
        title="A payment is due",
        advice="Update the payment method at the address under 'links.billing', or pay at 'payment_url', where the "
        "answer has one. A payment that waits to be confirmed with its bank is confirmed at 'links.confirm'. Once it "
        "is paid, access returns, and a plan can be bought.",
    ),
    "rate-limited": Kind(
        status=429,
        title="Too fast",
        advice="Wait for the seconds in Retry-After, then go on. Nothing was charged.",
    ),
    "quota-exceeded": Kind(
        status=429,
        title="The quota is used up",
        advice="Wait until the window ends (Retry-After), upgrade at 'links.upgrade', or, if the limit is this key's "
        "own, use another key ('links.keys'). Nothing was charged.",
    ),
    "overage-cap-reached": Kind(
        status=429,
        title="The overage that is allowed is used up",
        advice="Raise the spend cap or the plan at 'links.account', or wait until the window ends (Retry-After). The "
        "answer says whose cap it is. Nothing was charged.",
    ),
    "too-many-concurrent": Kind(
        status=429,
        title="Too many calls at once",
        advice="Wait for some of the calls in progress to end, then go on. Nothing was charged.",
        retry_after_s=1,
    ),
    "overloaded": Kind(
        status=503,
        title="The gateway is busy",
        advice="Try again after the seconds in Retry-After. Nothing was charged. Higher tiers are served first.",
        retry_after_s=2,
    ),
    "temporary-reduced-capacity": Kind(
        status=503,
        title="This call cannot be served right now",
        advice="Try again shortly. The call was not let through; in rare cases it counts all the same.",
        retry_after_s=2,
    ),
    "upstream-unreachable": Kind(
        status=502,
        title="The API could not be reached",
        advice="Try again; the charge for this call was given back.",
    ),
    "upstream-busy": Kind(
        status=503,
        title="The API is busy",
        advice="Try again after the seconds in Retry-After; the charge for this call was given back.",
        retry_after_s=2,
    ),
    "too-many-connections": Kind(
        status=503,
        title="Too many connections",
        advice="Try again after the seconds in Retry-After, and keep connections open between calls.",
        retry_after_s=5,
    ),
    "upstream-invalid-response": Kind(
        status=502,
        title="The API gave an invalid answer",
        advice="Report it to the provider with the decision id; the charge was given back.",
    ),
    "upstream-timeout": Kind(
        status=504,
        title="The API did not answer in time",
        advice="Try again, perhaps with a smaller request; the charge was given back.",
    ),
    "billing-unavailable": Kind(
        status=503,
        title="Billing is not available right now",
        advice="Try again in a minute. Calls to the API are not affected.",
        retry_after_s=30,
    ),
    "billing-refused": Kind(
        status=502,
        title="Billing refused the request",
        advice="The provider of this API must look at the billing configuration; give them the request id.",
    ),
    "billing-customer-missing": Kind(
        status=502,
        title="Billing does not have this customer",
        advice="The provider of this API must look at it; calls to the API are not affected.",
    ),
    "billing-not-configured": Kind(
        status=501,
        title="Nothing is sold here",
        advice="Ask the provider of this API for what you need. Calls to the API are not affected.",
    ),
    "ledger-unavailable": Kind(
        status=503,
        title="The request could not be recorded",
        advice="Try again shortly; nothing was changed.",
        retry_after_s=5,
    ),
    "invalid-request": Kind(status=400, title="The request is not valid", advice="See 'detail' and 'errors'."),
    "not-authorized": Kind(
        status=401,
        title="Credentials are missing or wrong",
        advice="Send 'Authorization: Bearer' with the token or key that this route needs.",
    ),
    "not-allowed": Kind(
        status=403,
        title="These credentials do not allow this",
        advice="Use the credentials the detail names.",
    ),
    "not-found": Kind(status=404, title="There is nothing here", advice="Check the address."),
    "method-not-allowed": Kind(
        status=405, title="Not with this method", advice="Use one of the methods in the Allow field."
    ),
    "invalid-signature": Kind(
        status=400,
        title="The webhook signature is not valid",
        advice="Check STRIPE_WEBHOOK_SECRET, and the clock: a signature is good for five minutes.",
    ),
    "invalid-payload": Kind(
        status=400,
        title="The webhook payload is not an event",
        advice="Point this endpoint at snapshot or thin events of Stripe.",
    ),
    "unknown-plan": Kind(status=422, title="No such plan", advice="Choose a plan_id from 'GET plans'."),
    "seats-not-sold": Kind(
        status=422, title="So many seats are not sold", advice="Choose a number that 'GET plans' shows for the plan."
    ),
    "add-on-not-sold": Kind(
        status=422,
        title="No such add-on with this plan",
        advice="Choose from the plan's 'add_ons' in 'GET plans', each once.",
    ),
    "already-subscribed": Kind(
        status=409,
        title="There is a subscription already",
        advice="Change the plan with 'POST subscription/change', or use the billing portal under 'links.billing'.",
    ),
    "no-subscription": Kind(
        status=409, title="There is no subscription", advice="Start one with 'POST create-checkout'."
    ),
    "subscription-ending": Kind(
        status=409,
        title="The subscription is about to end",
        advice="Resume it in the billing portal under 'links.billing', then change the plan.",
    ),
    "subscription-scheduled": Kind(
        status=409,
        title="Somebody else planned a change of the subscription",
        advice="Take it back in the billing portal under 'links.billing', or ask the provider of this API.",
    ),
    "change-planned": Kind(
        status=409,
        title="A change to another plan is planned",
        advice="Take it back with 'DELETE subscription/change', or on the account page under 'links.account'; or send "
        "'plan_id' too: of the planned plan, or of the one that there is, which takes its place.",
    ),
    "collection-paused": Kind(
        status=409,
        title="Payments for the subscription are paused",
        advice="Ask the provider of this API; what there is stays, and less of it can be had.",
    ),
    "currency-differs": Kind(
        status=409,
        title="It is not sold in the currency of the subscription",
        advice="Leave out an add-on that is not. To have another plan, cancel the subscription in the billing portal "
        "under 'links.billing', and buy the plan when it has ended.",
    ),
    "intervals-differ": Kind(
        status=409,
        title="The parts of the subscription are paid at different intervals",
        advice="Ask the provider of this API to change it. It can be cancelled in the billing portal under "
        "'links.billing'.",
    ),
    "change-in-progress": Kind(
        status=409,
        title="Another change is being made",
        advice="Wait for the seconds in Retry-After, look at 'GET subscription', then decide again.",
        retry_after_s=5,
    ),
    "portal-cannot-change": Kind(
        status=409,
        title="The billing portal cannot change this subscription",
        advice="Change it with 'POST subscription/change', or on the account page under 'links.account'. Cards, "
        "invoices and cancelling are in the portal as ever.",
    ),
    "change-time-refused": Kind(
        status=422,
        title="Such a change does not take effect then",
        advice="Leave 'when' out, or send one that a preview names under 'when_allowed'.",
    ),
    "user-exists": Kind(
        status=409, title="This user_id is taken", advice="Use the customer that has it, or another user_id."
    ),
    "customer-not-found": Kind(
        status=404, title="No such customer", advice="Check the customer id or user_id; create one first."
    ),
    "key-not-found": Kind(status=404, title="No such live key", advice="List the keys to see their ids."),
    "key-replaced": Kind(
        status=409,
        title="The key was replaced already",
        advice="Rotate its successor: the list of keys names it under 'replaced_by'.",
    ),
    "too-many-keys": Kind(
        status=409,
        title="Too many keys",
        advice="Revoke a key that is no longer used; expired ones leave within minutes.",
    ),
    "invalid-spend-cap": Kind(
        status=400, title="There can be no such spend cap", advice="Mend what the detail names: amount or currency."
    ),
    "no-overage": Kind(
        status=409,
        title="There is no overage to cap",
        advice="A plan with overage, in good standing, can be exceeded; 'GET usage' lists what can.",
    ),
    "invalid-credits": Kind(
        status=400, title="There can be no such credits", advice="Mend what the detail names: meter, units or expiry."
    ),
    "credits-not-found": Kind(
        status=404, title="No such live credits", advice="List the customer's credits to see their ids."
    ),
    "credits-reference-taken": Kind(
        status=409,
        title="This reference is another grant's",
        advice="Use a reference of its own for each grant; the same one only to ask for the same grant again.",
    ),
    "too-many-credits": Kind(
        status=409,
        title="Too many live grants of credits",
        advice="Grant fewer and larger ones, or revoke one that is not needed.",
    ),
    "invalid-tier-grant": Kind(
        status=400,
        title="There can be no such grant of a tier",
        advice="Name a tier of the policy, and an end in the future.",
    ),
    "tier-grant-not-found": Kind(
        status=404,
        title="No tier was granted by hand",
        advice="Look at the customer: 'subscription.tier_grant' is what was granted, if anything was.",
    ),
    "event-not-found": Kind(status=404, title="No such event", advice="List the events to see their ids."),
    "event-busy": Kind(
        status=409, title="A worker has this event", advice="Look at it again in a minute.", retry_after_s=60
    ),
    "conflict": Kind(
        status=409, title="This contradicts what is recorded", advice="Read the current state, then decide again."
    ),
    "decision-not-found": Kind(
        status=404,
        title="No such recent decision",
        advice="Decisions are kept for about an hour, the most recent ones of each worker; check the id.",
    ),
    "too-many-signups": Kind(
        status=429,
        title="Too many sign-ups",
        advice="Wait for the seconds in Retry-After.",
        retry_after_s=60,
    ),
    "too-many-billing-requests": Kind(
        status=429,
        title="Too many billing requests of one customer",
        advice="Wait for the seconds in Retry-After. Calls of the API itself are not meant.",
        retry_after_s=10,
    ),
    "too-many-changes": Kind(
        status=429,
        title="Too many new keys and spend caps of one customer",
        advice="Wait for the seconds in Retry-After. Revoking a key is never held up.",
        retry_after_s=15,
    ),
    "too-many-looks-back": Kind(
        status=429,
        title="Too many looks back of one customer",
        advice="Wait for the seconds in Retry-After. Calls of the API itself are not meant.",
        retry_after_s=1,
    ),
    "internal-error": Kind(
        status=500, title="Something broke here", advice="Report it to the provider with the request id or decision id."
    ),
}
