"""Who calls one of our own routes, and for which customer.

    admin      the seller: everything
    server     the seller's own server: billing, usage and keys of any customer
    customer   the holder of an API key: itself, and nobody else
    anonymous  sent nothing that is ours to judge

Credentials that are wrong are refused, never taken for none.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import SkipValidation

from gateway.core.access import in_force
from gateway.core.account import Account, KeyRecord
from gateway.core.decision import check_address, find_key
from gateway.core.errors import CapacityReduced, InvalidKey, MalformedRequest, ScopeMissing
from gateway.ledger import CustomerRow
from gateway.settings import Settings
from gateway.web.asgi import Headers
from gateway.web.presented_key import presented_key
from gateway.web.refusals import CustomerNotFound, NotAllowed, NotAuthorized, RequestInvalid
from gateway.web.runtime import Runtime

AnyRequest: TypeAlias = Request[Any, Any, Any]
Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls. `account` and `key` are set for a customer, and for nobody else."""

    role: Literal["admin", "server", "customer", "anonymous"]
    account: Account | None = None
    key: KeyRecord | None = None

    @property
    def is_seller(self) -> bool:
        """Whether the caller may name any customer."""
        return self.role in {"admin", "server"}

    @property
    def actor(self) -> str:
        """The caller in the audit log."""
        return f"customer:{self.account.customer_id}" if self.account is not None else self.role

    def require_manager(self) -> None:
        """Refuse a key that may not manage keys and billing.

        Raises:
            ScopeMissing: The key was issued for less than the account may.
        """
        if self.key is not None and not self.key.may_manage:
            raise ScopeMissing("A key with scopes or limits of its own cannot manage keys or billing; use another.")


def provide_runtime(state: State) -> Runtime:
    """The opened parts, for handlers."""
    runtime: Runtime = state.runtime
    return runtime


FromRuntime: TypeAlias = NamedDependency[SkipValidation[Runtime]]
FromCaller: TypeAlias = NamedDependency[SkipValidation[Caller]]


async def provide_caller(request: AnyRequest, runtime: FromRuntime) -> Caller:
    """Who calls, for handlers.

    Raises:
        NotAuthorized, InvalidKey: The credentials are wrong.
        AddressNotAllowed: The key is right and may not be used from there.
        MalformedRequest: There are two that differ.
        LedgerUnavailable: The key cannot be looked up.
    """
    headers = list(request.scope["headers"])
    token, key = presented_token(headers), presented_key(headers)
    if token is not None and key is not None:
        raise MalformedRequest("The request carries a token and an API key; send one.")
    if token is not None:
        return Caller(role=_role_of(token, runtime.settings))
    if key is None:
        return Caller(role="anonymous")
    account, record = await identify(runtime, key, client_address(request, runtime))
    return Caller(role="customer", account=account, key=record)


def client_address(request: AnyRequest, runtime: Runtime) -> str | None:
    """Who sent a request, as far as trusted proxies tell."""
    peer = request.client.host if request.client is not None else None
    return runtime.rules.proxies.client_address(request.scope["headers"], peer)


async def identify(runtime: Runtime, presented: bytes, address: str | None) -> tuple[Account, KeyRecord]:
    """The account and key behind a key's text; without a cache, by the ledger.

    Args:
        runtime: The opened parts.
        presented: The key as sent.
        address: The client's, from `client_address`.

    Raises:
        InvalidKey: Not a live key.
        AddressNotAllowed: It may not be used from there.
        LedgerUnavailable: Neither answers.
    """
    parsed = runtime.codec.parse(presented)
    try:
        account, _ = await runtime.admission.identify(presented)
    except CapacityReduced:
        found = await runtime.ledger.load_account(parsed.customer_id)
        if found is None:
            raise InvalidKey from None
        account = found
    key = find_key(account, parsed.digest, runtime.clock.now())
    check_address(key, address)
    return account, key


def require_admin(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard of the admin routes.

    Raises:
        NotAuthorized, NotAllowed: Not the admin token.
    """
    headers = list(connection.scope["headers"])
    token = presented_token(headers)
    if token is None:
        if presented_key(headers) is not None:
            raise NotAllowed("This needs the admin token (TIERGATE_ADMIN_TOKEN), not an API key.")
        raise NotAuthorized("This needs the admin token: 'Authorization: Bearer' with TIERGATE_ADMIN_TOKEN.")
    if _role_of(token, connection.app.state.runtime.settings) != "admin":
        raise NotAllowed("This needs the admin token (TIERGATE_ADMIN_TOKEN), not the server token.")


def presented_token(headers: Headers) -> bytes | None:
    """A bearer token that is no API key: on our own routes it can only be meant for us.

    Raises:
        MalformedRequest: Two different ones.
    """
    found: bytes | None = None
    for name, value in headers:
        scheme, _, rest = value.partition(b" ")
        if name != b"authorization" or scheme.lower() != b"bearer":
            continue
        token = rest.strip()
        if token.startswith(b"tg_"):
            continue
        if found is not None and token != found:
            raise MalformedRequest("The request carries two different tokens; send one.")
        found = token
    return found


async def find_named(runtime: Runtime, caller: Caller, user_id: str | None, customer_id: str | None) -> str:
    """The customer a request is about: the key's own, or the one that the seller names.

    Raises:
        NotAuthorized: Nobody in particular asks.
        NotAllowed: A customer names another.
        RequestInvalid: The seller names none, or two.
        CustomerNotFound: The seller names one that is not there.
    """
    if caller.account is not None:
        check_own(caller, user_id, customer_id)
        return caller.account.customer_id
    if not caller.is_seller:
        raise NotAuthorized("Send an API key, or the server token.")
    if (user_id is None) == (customer_id is None):
        raise RequestInvalid("Name one customer: by 'user_id' or by 'customer_id'.")
    return (await find_row(runtime, user_id=user_id, customer_id=customer_id)).customer_id


def check_own(caller: Caller, user_id: str | None, customer_id: str | None) -> None:
    """A customer may name itself and nobody else.

    Raises:
        NotAllowed: It names another.
    """
    account = caller.account
    if account is None:
        return
    if user_id not in {None, account.user_id} or customer_id not in {None, account.customer_id}:
        raise NotAllowed("An API key acts for its own customer only.")


async def find_row(runtime: Runtime, *, user_id: str | None = None, customer_id: str | None = None) -> CustomerRow:
    """The ledger's row of a customer, by either id.

    Raises:
        CustomerNotFound: There is none.
    """
    if customer_id is not None:
        row = await runtime.ledger.find_customer(customer_id)
    else:
        row = await runtime.ledger.find_customer_by_user(user_id or "")
    if row is None:
        raise CustomerNotFound
    return row


async def load_named(runtime: Runtime, caller: Caller, user_id: str | None, customer_id: str | None) -> Account:
    """As `find_named`, with the account as of now and its subscription that counts; the ledger's without a cache."""
    if caller.account is not None:
        check_own(caller, user_id, customer_id)
        return in_force(caller.account, runtime.policy.current, runtime.clock.now())
    named = await find_named(runtime, caller, user_id, customer_id)
    account = await runtime.ledger.load_account(named)
    if account is None:
        raise CustomerNotFound
    return in_force(account, runtime.policy.current, runtime.clock.now())


def _role_of(token: bytes, settings: Settings) -> Literal["admin", "server"]:
    is_admin = hmac.compare_digest(token, settings.admin_token.get_secret_value().encode())
    is_server = hmac.compare_digest(token, settings.server_token.get_secret_value().encode())
    if is_admin:
        return "admin"
    if is_server:
        return "server"
    if not token:
        raise NotAuthorized("There is no token behind 'Bearer'. Is the variable that should hold it set?")
    raise NotAuthorized("This token is not one of this gateway.")
