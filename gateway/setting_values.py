"""What a single setting may hold. Pure checks: each takes text and returns it, or says why not.

Law: no message repeats anything of the value. A setting that is malformed may be a password,
or hold one in an unexpected place; so every sentence here is a constant.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from gateway.core.assertion import read_seed
from gateway.core.cache_url import is_of_several, parse_cache_url
from gateway.core.errors import TargetRejected
from gateway.core.target import canonical_path

MIN_TOKEN_LENGTH = 24
MIN_PEPPER_LENGTH = 32
MAX_AUDIENCE_LENGTH = 200
_FEWEST_DISTINCT_CHARACTERS = 8
_STRIPE_KEY_PREFIXES = ("sk_test_", "rk_test_", "sk_live_", "rk_live_")
_OPERATIONS = "/_tiergate"
_PREFIX = re.compile(r"/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-]")
_CUTS = frozenset("/?#")
_SQLITE_PREFIXES = ("sqlite:///", "sqlite+aiosqlite:///")
_POSTGRESQL_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})


def check_http_url(value: str) -> str:
    """A base URL, without its trailing slash.

    Raises:
        ValueError: It is none, or has parts that a base URL cannot have.
    """
    if any(character.isspace() or not character.isprintable() for character in value):
        raise ValueError("holds white space or a control character")
    parts = _split(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http:// or https:// URL")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("a base URL has no user, query or fragment")
    return value.rstrip("/")


def check_redis_url(value: str) -> str:
    """A URL of a Redis or Valkey, of a cluster of them, or of the sentinels that watch over one.

    Raises:
        ValueError: It is none.
    """
    if is_of_several(value):
        _check_cuts(value)
        parse_cache_url(value)
    elif "," in value.partition("://")[2].rpartition("@")[2].partition("/")[0]:
        raise ValueError("several hosts need redis+cluster:// or redis+sentinel://")
    elif _split(value).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("not a redis://, rediss://, unix://, redis+cluster:// or redis+sentinel:// URL")
    return value


def check_ledger_url(value: str) -> str:
    """A URL of a database. The ledger itself reads it more closely.

    Raises:
        ValueError: It is none.
    """
    if value.startswith(_SQLITE_PREFIXES):  # what follows is a path, verbatim
        return value
    if _split(value).scheme not in _POSTGRESQL_SCHEMES:
        raise ValueError("not a sqlite:/// or postgresql:// URL")
    return value


def check_stripe_key(value: str) -> str:
    """A secret or restricted key of Stripe.

    Raises:
        ValueError: It is none, or not whole.
    """
    if not value:
        raise ValueError("empty")
    if value.startswith("pk_"):
        raise ValueError("this is a publishable key; the secret key starts with sk_ or rk_")
    if not value.startswith(_STRIPE_KEY_PREFIXES):
        raise ValueError("does not start with sk_test_, rk_test_, sk_live_ or rk_live_")
    if len(value) < MIN_TOKEN_LENGTH:
        raise ValueError(f"shorter than {MIN_TOKEN_LENGTH} characters: it looks truncated")
    return value


def check_signing_secret(value: str) -> str:
    """A signing secret of a Stripe webhook endpoint.

    Raises:
        ValueError: It is none, or not whole.
    """
    if not value.startswith("whsec_"):
        raise ValueError("does not start with whsec_ (Stripe dashboard: Webhooks, Signing secret)")
    if len(value) < MIN_TOKEN_LENGTH:
        raise ValueError(f"shorter than {MIN_TOKEN_LENGTH} characters: it looks truncated")
    return value


def check_strong(value: str, *, least: int) -> str:
    """A secret of our own, at least `least` characters long.

    Raises:
        ValueError: It could be guessed, or could not be sent.
    """
    if not value:
        raise ValueError("empty")
    if "change-me" in value.lower():
        raise ValueError("still the placeholder of .env.example")
    if len(value) < least:
        raise ValueError(f"shorter than {least} characters")
    if len(set(value)) < _FEWEST_DISTINCT_CHARACTERS:
        raise ValueError("too uniform to be random")
    if not value.isascii() or any(character.isspace() for character in value):
        raise ValueError("holds white space or characters outside ASCII, which a header cannot carry")
    return value


def check_assertion_keys(values: tuple[str, ...]) -> tuple[str, ...]:
    """Keys that assertions are signed with.

    Raises:
        ValueError: One is none, or is there twice; the message counts from 1.
    """
    if not values:
        raise ValueError("empty. Leave it out to send no assertions")
    for number, text in enumerate(values, 1):
        try:
            read_seed(text)
            check_strong(text, least=MIN_PEPPER_LENGTH)
        except ValueError as error:
            raise ValueError(f"entry {number} is {error}" if text else f"entry {number} is empty") from None
        if text in values[: number - 1]:
            raise ValueError(f"entry {number} is there twice")
    return values


def check_audience(value: str) -> str:
    """A name that tokens are addressed to.

    Raises:
        ValueError: It could not be told from another.
    """
    if not value or len(value) > MAX_AUDIENCE_LENGTH or not value.isprintable() or " " in value:
        raise ValueError(f"not 1 to {MAX_AUDIENCE_LENGTH} printable characters without a blank")
    return value


def check_billing_prefix(value: str) -> str:
    """A path that every parser reads alike, under which our billing routes may stand.

    Raises:
        ValueError: It could not be reached, or it is where the operations routes are.
    """
    if _PREFIX.fullmatch(value) is None:
        raise ValueError("not a path of letters, digits, '.', '_', '~', '-' and '/', without a slash at its end")
    try:
        canonical_path(value.encode())
    except TargetRejected as error:
        raise ValueError(str(error).rstrip(".")) from None
    if value.casefold().startswith(f"{_OPERATIONS}/") or value.casefold() == _OPERATIONS:
        raise ValueError("everything under /_tiergate is the gateway's own")
    return value


def check_networks(values: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses and networks.

    Raises:
        ValueError: One is neither; the message counts from 1.
    """
    for number, text in enumerate(values, 1):
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"entry {number} is not an IP address or network") from None
        if "/" in text and network.network_address != ipaddress.ip_address(text.partition("/")[0]):
            raise ValueError(f"entry {number} is an address inside a network: write the network's first address")
    return values


def _split(url: str) -> SplitResult:
    """The parts of a URL, its port among them being a port.

    The standard library's own errors quote what they complain of, so none is let through.
    """
    _check_cuts(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("its host is malformed") from None
    try:
        is_port = parts.port != 0
    except ValueError:
        is_port = False
    if not is_port:
        raise ValueError("its port is not a number from 1 to 65535")
    return parts


def _check_cuts(url: str) -> None:
    """Refuse a password that ends the host's part of the URL too early.

    What follows a raw `/`, `?` or `#` would be taken for a path and be shown. So none of these may stand before
    the last `@`.
    """
    rest = url.partition("://")[2]
    if not rest.startswith("/") and not _CUTS.isdisjoint(rest.rpartition("@")[0]):
        raise ValueError(
            "a '/', '?' or '#' stands before an '@': percent-encode it in the password (%2F, %3F, %23), "
            "and an '@' further on as %40"
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
