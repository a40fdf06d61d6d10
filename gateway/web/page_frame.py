"""What every page is made of: templates, headers, who is looking, and the ways onward.

Nothing here needs JavaScript, and the policy of the headers forbids it. A page that belongs
to somebody is never stored. What must not be repeated by a reload is a POST that ends in a
redirect; the only exceptions are the answers that show a new key, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.plugins.jinja import JinjaTemplateEngine

from gateway.checkout import Checkouts
from gateway.core.access import in_force
from gateway.core.account import Account, KeyRecord
from gateway.core.allow_list import allows
from gateway.core.errors import CapacityReduced, ScopeMissing
from gateway.settings import Settings
from gateway.web.billing_routes import provide_checkouts
from gateway.web.callers import AnyRequest, client_address
from gateway.web.refusals import NotAuthorized
from gateway.web.runtime import Runtime
from gateway.web.session import (
    SESSION_COOKIE,
    SESSION_LASTS_S,
    SESSION_PATH,
    PageSession,
    open_session,
    seal_session,
    session_secret,
)

Page: TypeAlias = Response[Any]

STYLE_SHEET = (Path(__file__).parent / "static" / "style.css").read_bytes()
STYLE_VERSION = sha256(STYLE_SHEET).hexdigest()[:12]
STRIPE_ORIGINS = ("https://checkout.stripe.com", "https://billing.stripe.com", "https://invoice.stripe.com")
"""Where forms lead to in the end. A checkout on a seller's own domain is reached by way of a page of ours."""

_SEE_OTHER = 303
_TEMPLATES = JinjaTemplateEngine(
    engine_instance=Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """The customer who looks at a page, and the live key it signed in with."""

    account: Account
    """With the subscription that counts now."""
    key: KeyRecord

    @property
    def customer_id(self) -> str:
        """Ours."""
        return self.account.customer_id

    @property
    def actor(self) -> str:
        """The customer in the audit log."""
        return f"customer:{self.account.customer_id}"

    @property
    def may_manage(self) -> bool:
        """Whether the customer may manage keys and billing, with this key."""
        return self.key.may_manage

    def require_manager(self) -> None:
        """Refuse a key that may not manage keys and billing.

        Raises:
            ScopeMissing: The key was issued for less than the account may.
        """
        if not self.may_manage:
            raise ScopeMissing(
                "The key you signed in with has scopes or limits of its own, so it cannot manage keys or billing."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request for a page: by whom, and the answers to it."""

    request: AnyRequest
    runtime: Runtime
    signed_in: SignedIn | None

    @property
    def checkouts(self) -> Checkouts:
        """The checkout use case."""
        return provide_checkouts(self.runtime)

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach this gateway over https, so that cookies need never travel in the clear."""
        return self.runtime.settings.base_url.startswith("https://")

    def require_signed_in(self) -> SignedIn:
        """The customer.

        Raises:
            NotAuthorized: Nobody is signed in, or not any more.
        """
        if self.signed_in is None:
            raise NotAuthorized("You are not signed in, or not any more.")
        return self.signed_in

    async def form(self) -> dict[str, str]:
        """The text fields of the form that was sent; the first of each name."""
        fields: dict[str, str] = {}
        for name, value in (await self.request.form()).multi_items():
            if isinstance(value, str):
                fields.setdefault(name, value)
        return fields

    def page(
        self,
        template: str,
        *,
        status: int = 200,
        cookies: Sequence[Cookie] = (),
        refresh: str = "",
        signs_in: bool = False,
        **values: object,
    ) -> Page:
        """A page of ours.

        Args:
            refresh: Seconds after which the browser asks again by itself, or goes elsewhere.
            signs_in: The cookies sign the browser in, so the page is one of a customer already.
        """
        return render(
            self.runtime.settings,
            template,
            status=status,
            cookies=cookies,
            headers={"refresh": refresh} if refresh else {},
            signed_in=signs_in or self.signed_in is not None,
            **values,
        )

    def see(self, path: str, *, cookies: Sequence[Cookie] = ()) -> Page:
        """On to another page of ours, with GET. `path` follows `/_tiergate`."""
        return self._redirect(f"{SESSION_PATH}{path}", cookies)

    def leave_for(self, url: str, *, cookies: Sequence[Cookie] = ()) -> Page:
        """On to a page of Stripe's. `form-action` lets a form's answer lead to known hosts only; others get a link."""
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" in payment_origins(self.runtime.settings):
            return self._redirect(url, cookies)
        return self.page("leave.html", cookies=cookies, refresh=f"0; url={url}", url=url, host=parts.netloc)

    def session_cookie(self, customer_id: str, key_id: str) -> Cookie:
        """Signs the browser in."""
        session = PageSession(
            customer_id=customer_id, key_id=key_id, expires_at=int(self.runtime.clock.now()) + SESSION_LASTS_S
        )
        return self._cookie(seal_session(session, _secret(self.runtime.settings)), SESSION_LASTS_S)

    def no_session_cookie(self) -> Cookie:
        """Signs the browser out."""
        return self._cookie("", 0)

    def _cookie(self, value: str, max_age: int) -> Cookie:
        return Cookie(
            key=SESSION_COOKIE,
            value=value,
            max_age=max_age,
            path=SESSION_PATH,
            httponly=True,
            samesite="lax",
            secure=self.is_secure,
        )

    def _redirect(self, url: str, cookies: Sequence[Cookie]) -> Page:
        headers = page_headers(self.runtime.settings) | {"location": url}
        note = f'<!doctype html>\n<title>Go on</title>\n<a href="{escape(url)}">Go on</a>\n'
        return Response(
            content=note, status_code=_SEE_OTHER, headers=headers, cookies=list(cookies), media_type="text/html"
        )


FromVisit: TypeAlias = NamedDependency[SkipValidation[Visit]]


async def open_visit(request: AnyRequest) -> Visit:
    """Who looks at a page, for handlers.

    Raises:
        LedgerUnavailable: There is a session, and nobody can say whether its key still lives.
    """
    runtime: Runtime = request.app.state.runtime
    session = read_session(request, runtime)
    return Visit(
        request=request,
        runtime=runtime,
        signed_in=await _find_signed_in(runtime, session, client_address(request, runtime)) if session else None,
    )


def read_session(request: AnyRequest, runtime: Runtime) -> PageSession | None:
    """The session in the request's cookie. Whether its key still lives is another question."""
    value = request.cookies.get(SESSION_COOKIE, "")
    return open_session(value, _secret(runtime.settings), runtime.clock.now())


def render(
    settings: Settings,
    template: str,
    *,
    status: int,
    signed_in: bool,
    cookies: Sequence[Cookie] = (),
    headers: dict[str, str] | None = None,
    **values: object,
) -> Page:
    """A response with a page. Values are escaped by the template engine."""
    text = _TEMPLATES.get_template(template).render(
        **values, signed_in=signed_in, test_mode=settings.mode == "test", style_version=STYLE_VERSION
    )
    return Response(
        content=text,
        status_code=status,
        headers=page_headers(settings) | (headers or {}),
        cookies=list(cookies),
        media_type="text/html",
    )


def page_headers(settings: Settings) -> dict[str, str]:
    """What every page is sent with. `Referrer-Policy` keeps `Origin` on our own forms, and session ids from others."""
    policy = (
        "default-src 'none'; style-src 'self'; img-src data:; "
        f"form-action 'self' {' '.join(payment_origins(settings))}; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "content-security-policy": policy,
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }


def payment_origins(settings: Settings) -> tuple[str, ...]:
    """Where a form of ours may lead to besides ourselves: Stripe's pages, or the simulator's."""
    return STRIPE_ORIGINS if settings.stripe_url is None else (settings.stripe_url,)


async def _find_signed_in(runtime: Runtime, session: PageSession, address: str | None) -> SignedIn | None:
    """Who the session's key signs in now: nobody, if it has ended or is not to be used from there."""
    try:
        account = await runtime.admission.current_account(session.customer_id)
    except CapacityReduced:
        account = await runtime.ledger.load_account(session.customer_id)
    if account is None:
        return None
    now = runtime.clock.now()
    for key in account.keys.values():
        is_live = key.expires_at is None or now < key.expires_at
        if key.key_id == session.key_id and is_live and allows(key.allow, address):
            return SignedIn(account=in_force(account, runtime.policy.current, now), key=key)
    return None


def _secret(settings: Settings) -> bytes:
    return session_secret(settings.key_pepper.get_secret_value())
