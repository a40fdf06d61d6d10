"""What one setting may hold, also beside others: the types of the settings.

A setting that contradicts another is the fault of the one that is declared later: its rule
sees what was read before it (`info.data`), so that one run finds every fault, of both kinds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo
from pydantic_settings import NoDecode

from gateway.alert_values import check_address, check_event_secrets, check_webhook_url
from gateway.setting_values import (
    MIN_PEPPER_LENGTH,
    MIN_TOKEN_LENGTH,
    check_assertion_keys,
    check_audience,
    check_billing_prefix,
    check_http_url,
    check_ledger_url,
    check_networks,
    check_redis_url,
    check_signing_secret,
    check_stripe_key,
    check_strong,
    is_loopback,
)

T = TypeVar("T")

_BOTH_OR_NEITHER: Final = "set both, or neither to go without Stripe"


def is_live(key: SecretStr | None) -> bool:
    """Whether a key of Stripe's moves real money."""
    return key is not None and "_live_" in key.get_secret_value()[:8]


def variable(name: str) -> str:
    """What a setting of ours is called in the environment."""
    return f"TIERGATE_{name.upper()}"


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _is_stripe_key(value: SecretStr) -> SecretStr:
    check_stripe_key(value.get_secret_value())
    return value


def _are_signing_secrets(value: tuple[SecretStr, ...] | None, info: ValidationInfo) -> tuple[SecretStr, ...] | None:
    has_key = info.data.get("stripe_secret_key", "malformed") is not None
    if value is None and has_key:
        raise ValueError(f"is not set, and STRIPE_SECRET_KEY is: {_BOTH_OR_NEITHER}")
    if value is None:
        return value
    if not value:
        raise ValueError("empty: with an empty secret anyone could sign events")
    for secret in value:
        check_signing_secret(secret.get_secret_value())
    if not has_key:
        raise ValueError(f"only together with STRIPE_SECRET_KEY: {_BOTH_OR_NEITHER}")
    return value


def _is_sandbox(value: str, info: ValidationInfo) -> str:
    if info.data.get("stripe_secret_key", "malformed") is None:
        raise ValueError("only together with STRIPE_SECRET_KEY")
    if not is_loopback(urlsplit(value).hostname or ""):
        raise ValueError("the sandbox lives on loopback only. Unset it to use Stripe")
    if is_live(info.data.get("stripe_secret_key")):
        raise ValueError("a live key must not be used with the sandbox. Unset it to use Stripe")
    return value


def _is_of_sandbox(value: Path, info: ValidationInfo) -> Path:
    if info.data.get("stripe_url", "malformed") is None:
        raise ValueError("only together with TIERGATE_STRIPE_URL (the sandbox)")
    return value


def _is_public(value: str | None, info: ValidationInfo) -> str | None:
    if value is None and is_live(info.data.get("stripe_secret_key")):
        raise ValueError("needed with a live key, so that Stripe can send customers back")
    return value


def _is_strong(value: SecretStr, info: ValidationInfo) -> SecretStr:
    least = MIN_PEPPER_LENGTH if info.field_name == "key_pepper" else MIN_TOKEN_LENGTH
    check_strong(value.get_secret_value(), least=least)
    for other in ("key_pepper", "admin_token"):
        if info.data.get(other) == value:
            raise ValueError(f"must differ from {variable(other)}")
    return value


def _are_assertion_keys(value: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
    check_assertion_keys(tuple(key.get_secret_value() for key in value))
    for other in ("key_pepper", "admin_token", "server_token"):
        if info.data.get(other) in value:
            raise ValueError(f"must differ from {variable(other)}")
    return value


def _are_event_secrets(value: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
    check_event_secrets(tuple(secret.get_secret_value() for secret in value))
    if info.data.get("alert_url", "malformed") is None and value:
        raise ValueError(f"only together with {variable('alert_url')}")
    if info.data.get("alert_url") is not None and not value:
        raise ValueError(f"needed with {variable('alert_url')}: without it a receiver could not tell who sends")
    return value


def _is_hidden(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    if (value is None) != (info.data.get("smtp_user") is None):
        raise ValueError(f"only together with {variable('smtp_user')}, and that only with it")
    is_plain = info.data.get("smtp_security") == "none"
    if value is not None and is_plain and not is_loopback(info.data.get("smtp_host") or ""):
        raise ValueError("would be sent in clear: choose starttls or tls")
    return value


def _are_addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(check_address(address) for address in value)


def _goes_with_server(value: object, info: ValidationInfo) -> object:
    if bool(value) != (info.data.get("smtp_host") is not None):
        raise ValueError(f"only together with {variable('smtp_host')}, and that only with it")
    return value


def _is_redis_url(value: SecretStr) -> SecretStr:
    check_redis_url(value.get_secret_value())
    return value


def _is_ledger_url(value: SecretStr) -> SecretStr:
    check_ledger_url(value.get_secret_value())
    return value


def _outlasts_hours(value: int, info: ValidationInfo) -> int:
    if value < info.data.get("usage_hours_kept_days", 0):
        raise ValueError(f"less than {variable('usage_hours_kept_days')}: hours become days before they go")
    return value


Several: TypeAlias = Annotated[tuple[T, ...], NoDecode, BeforeValidator(_split)]
"""Written in one variable, with commas between."""

HttpUrl: TypeAlias = Annotated[str, AfterValidator(check_http_url)]
BillingPrefix: TypeAlias = Annotated[str, AfterValidator(check_billing_prefix)]
Networks: TypeAlias = Annotated[Several[str], AfterValidator(check_networks)]
RedisUrl: TypeAlias = Annotated[SecretStr, AfterValidator(_is_redis_url)]
LedgerUrl: TypeAlias = Annotated[SecretStr, AfterValidator(_is_ledger_url)]
StrongSecret: TypeAlias = Annotated[SecretStr, AfterValidator(_is_strong)]
UsageDays: TypeAlias = Annotated[int, AfterValidator(_outlasts_hours)]

StripeKey: TypeAlias = Annotated[SecretStr, AfterValidator(_is_stripe_key)]
SigningSecrets: TypeAlias = Annotated[
    tuple[SecretStr, ...] | None, NoDecode, BeforeValidator(_split), AfterValidator(_are_signing_secrets)
]
SandboxUrl: TypeAlias = Annotated[HttpUrl, AfterValidator(_is_sandbox)]
SandboxClock: TypeAlias = Annotated[Path, AfterValidator(_is_of_sandbox)]
PublicUrl: TypeAlias = Annotated[HttpUrl | None, AfterValidator(_is_public)]

AssertionKeys: TypeAlias = Annotated[Several[SecretStr], AfterValidator(_are_assertion_keys)]
Audience: TypeAlias = Annotated[str, AfterValidator(check_audience)]

WebhookUrl: TypeAlias = Annotated[str, AfterValidator(check_webhook_url)]
EventSecrets: TypeAlias = Annotated[Several[SecretStr], AfterValidator(_are_event_secrets)]
SmtpPassword: TypeAlias = Annotated[SecretStr | None, AfterValidator(_is_hidden)]
Sender: TypeAlias = Annotated[Annotated[str, AfterValidator(check_address)] | None, AfterValidator(_goes_with_server)]
Receivers: TypeAlias = Annotated[Several[str], AfterValidator(_are_addresses), AfterValidator(_goes_with_server)]
