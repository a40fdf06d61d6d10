"""What an error looks like over HTTP: the body, the links in it, and the fields beside it.

Bodies are RFC 9457 `application/problem+json`. `type` is the address of a page of this
gateway that explains the code (`/_tiergate/errors/<code>`). What each code means is in `web.problem_table`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gateway.core.errors import ChargeDenied, FeatureNotInTier, Paced, PaymentRequired, TiergateError
from gateway.core.standing_words import CONFIRMATION_PAGE
from gateway.core.websocket import VERSION
from gateway.sync import ChangeInProgress
from gateway.web.asgi import Headers
from gateway.web.problem_table import TABLE
from gateway.web.refusals import RequestInvalid

_KEYS = ("keys", "account#keys-title")
_NEXT = {
    "quota-exceeded": ("upgrade", "account"),
    "overage-cap-reached": ("account", "account"),
    "cost-above-limit": _KEYS,
    "address-not-allowed": _KEYS,
    "feature-not-in-tier": ("upgrade", "account"),
    "subscription-required": ("plans", "pricing"),
    "no-subscription": ("plans", "pricing"),
    "unknown-plan": ("plans", "pricing"),
    "seats-not-sold": ("plans", "pricing"),
    "add-on-not-sold": ("plans", "pricing"),
    "payment-required": ("billing", "account/portal/payment_method_update"),
    "already-subscribed": ("billing", "account"),
    "subscription-ending": ("billing", "account"),
    "subscription-scheduled": ("billing", "account"),
    "change-planned": ("account", "account"),
    "change-in-progress": ("billing", "account"),
    "portal-cannot-change": ("account", "account"),
}
"""The page that helps after a refusal: link name and page."""

_UNAUTHORIZED, _UPGRADE_REQUIRED = 401, 426


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Addresses of this gateway's own pages, absolute."""

    base_url: str

    def error_type(self, code: str) -> str:
        """The problem type URI of a code: a page that explains it."""
        return f"{self.base_url}/_tiergate/errors/{code}"

    def links(self, error: TiergateError, decision_id: str | None) -> dict[str, str]:
        """Where the caller can go next."""
        links = {"docs": self.error_type(error.code)}
        if decision_id is not None:
            links["why"] = f"{self.base_url}/_tiergate/why/{decision_id}"
        name, page = _NEXT.get(error.code, ("", ""))
        if isinstance(error, ChargeDenied) and error.of_key:
            name, page = _KEYS
        if name:
            links[name] = f"{self.base_url}/_tiergate/{page}"
        if isinstance(error, PaymentRequired) and error.is_unconfirmed:
            links["confirm"] = f"{self.base_url}{CONFIRMATION_PAGE}"
        return links


def problem_body(
    error: TiergateError, site: Site, *, decision_id: str | None = None, request_id: str | None = None
) -> dict[str, object]:
    """The members of one problem document, in reading order."""
    kind = TABLE[error.code]
    body: dict[str, object] = {
        "type": site.error_type(error.code),
        "title": kind.title,
        "status": kind.status,
        "detail": str(error),
        "code": error.code,
        "advice": kind.advice,
    }
    if decision_id is not None:
        body["decision_id"] = decision_id
    if request_id is not None:
        body["request_id"] = request_id
    if isinstance(error, ChargeDenied):
        if error.violated:
            body["violated-policies"] = list(error.violated)
        body["retry_after_s"] = error.retry_after_s
    if isinstance(error, FeatureNotInTier):
        body |= {"feature": error.feature, "tier": error.tier, "offered_by": list(error.offered_by)}
    if isinstance(error, PaymentRequired) and error.payment_url is not None:
        body["payment_url"] = error.payment_url
    if isinstance(error, RequestInvalid) and error.errors:
        body["errors"] = list(error.errors)
    body["links"] = site.links(error, decision_id)
    return body


def retry_after_s(error: TiergateError) -> int | None:
    """Seconds for the Retry-After field, or None where waiting does not help."""
    if isinstance(error, ChargeDenied | Paced):
        return error.retry_after_s
    if isinstance(error, ChangeInProgress) and error.retry_after_s is not None:
        return error.retry_after_s
    return TABLE[error.code].retry_after_s


def problem_response(
    error: TiergateError, site: Site, *, decision_id: str | None = None, request_id: str | None = None
) -> tuple[int, Headers, bytes]:
    """Status, header fields and body of an error, ready for ASGI."""
    body = msgspec.json.encode(problem_body(error, site, decision_id=decision_id, request_id=request_id))
    headers: Headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if TABLE[error.code].status == _UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Bearer realm="api"'))
    if TABLE[error.code].status == _UPGRADE_REQUIRED:  # RFC 9110 section 15.5.22, RFC 6455 section 4.4
        headers += [(b"upgrade", b"websocket"), (b"sec-websocket-version", VERSION)]
    wait_s = retry_after_s(error)
    if wait_s is not None:
        headers.append((b"retry-after", str(wait_s).encode()))
    return TABLE[error.code].status, headers, body
