"""Process settings: the only reader of the environment and of `.env`.

Every setting has a unit, bounds and a consequence. Secrets have no default and never
appear in an error: a fault names the variable, says what is wrong and shows an example.

A setting that contradicts another is the fault of the one that is declared later: its validator
sees what was read before it (`info.data`), so that one run finds every fault, of both kinds.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gateway.alert_values import check_address, check_event_secrets, check_webhook_url
from gateway.core.assertion import read_seed
from gateway.core.webhook_signature import read_secret
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


class SettingsInvalid(Exception):
    """The process must not start. `faults` are complete sentences, all of them, no secret in any."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


HttpUrl = Annotated[str, AfterValidator(check_http_url)]


_SERVICE_FACT = re.compile(
    r"TIERGATE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class _Environment(EnvSettingsSource):
    """The environment, without the variables that Kubernetes makes of the names of services."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """As every source; a service link is no value, so that the next source is asked."""
        value, key, is_complex = super().get_field_value(field, field_name)
        return (None if _is_service_link(_variable(field_name), value) else value), key, is_complex


class Settings(BaseSettings):
    """Everything a process of Tiergate is told from outside."""

    model_config = SettingsConfigDict(
        env_prefix="TIERGATE_",
        env_file=".env",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        env_ignore_empty=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        del env_settings, file_secret_settings
        return init_settings, _Environment(settings_cls), dotenv_settings

    stripe_secret_key: SecretStr = Field(validation_alias="STRIPE_SECRET_KEY")
    """Stripe's secret or restricted key. Its mode (test, live) is this gateway's mode."""
    stripe_webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(validation_alias="STRIPE_WEBHOOK_SECRET")
    """Signing secrets of the webhook endpoint, comma separated: put the new one beside the old while rotating."""
    stripe_url: HttpUrl | None = None
    """Base URL of the Stripe simulator. Loopback only; refused with a live key. Unset: Stripe itself."""
    simulated_clock: Path | None = None
    """Clock file of the simulator. Only together with `TIERGATE_STRIPE_URL`."""

    upstream_url: Annotated[tuple[HttpUrl, ...], NoDecode] = ()
    """The API behind the gateway; several, comma separated, are used in turn. Needed unless policy has a group
    `default`, or every route names its group, or the gateway runs inside an app."""
    public_url: HttpUrl | None = Field(default=None, validate_default=True)
    """Where browsers reach this gateway. Needed with a live key; otherwise derived from host and port."""

    key_pepper: SecretStr
    """Secret under which API keys are hashed. Losing or changing it makes every issued key invalid."""
    admin_token: SecretStr
    """Bearer token of the admin API and of `why`: all customers, all decisions."""
    server_token: SecretStr
    """Bearer token of the seller's own server: checkouts, portal and usage for any `user_id`."""

    assertion_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(default=(), validate_default=False)
    """Ed25519 seeds that sign who calls, for the upstream, comma separated: the first signs, all are published. Unset:
    no assertions."""
    assertion_audience: Annotated[str, AfterValidator(check_audience)] | None = None
    """Whom assertions are for (`aud`). Unset: the name of the upstream group in policy, or `upstream`."""

    redis_url: SecretStr | None = None
    """redis://, rediss:// or unix:// URL of a Redis >= 6.2 or Valkey; redis+cluster:// or
    redis+sentinel:// with several hosts. Unset: an embedded Valkey."""
    ledger_url: SecretStr | None = None
    """sqlite:/// or postgresql:// URL. Unset: an SQLite file in the data directory."""
    data_dir: Path = Path(".tiergate")
    """Where the embedded cache and ledger keep their files."""
    policy_dir: Path = Path("policies")
    """Directory of `*.yaml` policy files."""

    billing_prefix: Annotated[str, AfterValidator(check_billing_prefix)] = "/api/v1"
    """Path prefix of the billing routes. They are never proxied."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on. 0 takes a free one and prints it."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that serve. More than the machine's cores does not help."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses or networks whose X-Forwarded-* fields are believed, comma separated."""

    upstream_connect_timeout_s: float = Field(default=5.0, gt=0, le=120)
    """Seconds to connect to the upstream; then 502."""
    upstream_first_byte_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """Seconds from the end of the request to the first byte of the response; then 504."""
    upstream_idle_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """Seconds without a byte in mid-exchange; then it is aborted."""
    upstream_total_timeout_s: float = Field(default=0.0, ge=0, le=86400)
    """Seconds for a whole exchange. 0: none, so that streams may last."""
    upstream_max_connections: int = Field(default=256, ge=1, le=65535)
    """Connections per upstream and worker. When all are busy, requests wait up to 5 s, then 503."""
    upstream_max_websockets: int = Field(default=1_000, ge=0, le=1_000_000)
    """WebSockets per upstream and worker, beside those connections; more are told 503. 0: none."""
    websocket_idle_timeout_s: float = Field(default=600.0, ge=0, le=604800)
    """Seconds a WebSocket may be open without a message either way; then 1001. 0: any. Pings are no messages."""
    max_body_bytes: int = Field(default=10_000_000, ge=0, le=10**12)
    """Largest request body that is proxied; then 413."""

    max_connections: int = Field(default=20_000, ge=1, le=1_000_000)
    """Connections from callers, per worker; more are told 503. An idle one takes a few KB."""
    max_in_flight: int = Field(default=2_000, ge=0, le=1_000_000)
    """Calls in progress, per worker; beyond three quarters of it the lowest tiers are told 503 first. 0: no limit."""
    max_in_flight_per_customer: int = Field(default=500, ge=0, le=1_000_000)
    """Calls in progress of one customer, per worker; then 429. 0: no limit."""
    header_timeout_s: float = Field(default=10.0, gt=0, le=600)
    """Seconds for a request's header fields to arrive, and for a body that is read for its price; then 408."""
    keep_alive_s: float = Field(default=75.0, gt=0, le=3600)
    """Seconds an idle connection from a caller is kept. Longer than the load balancer's, or it meets closed ones."""

    cache_deadline_ms: int = Field(default=50, ge=5, le=5000)
    """Milliseconds a decision may wait for the cache; then 503. Added latency is at most this."""
    leases: Literal["off", "on"] = "off"
    """Whether busy keys are let through by leases, without asking the cache. Off: every call is charged by itself."""
    lease_ttl_ms: int = Field(default=500, ge=250, le=1000)
    """Milliseconds a lease lasts: how long a revoked key may be let in at the very most, if all messages are lost."""
    snapshot_entries: int = Field(default=50_000, ge=100, le=10_000_000)
    """Customers whose account a worker keeps in memory, about 2 KB each. Never stale: the charge script checks."""
    settle_interval_s: float = Field(default=2.0, ge=0.1, le=300)
    """Seconds between settlements of counters into the ledger: what a lost cache can lose."""
    usage_hours_kept_days: int = Field(default=35, ge=1, le=3660)
    """Days for which usage can be looked back at by the hour; then only by the day."""
    usage_kept_days: int = Field(default=400, ge=1, le=3660)
    """Days for which usage can be looked back at at all; then it is deleted. Not less than the hours are kept."""
    price_ttl_s: float = Field(default=300.0, ge=0, le=86400)
    """Seconds a price read from Stripe is shown before it is read again. Never used to charge."""
    event_sweep_interval_s: float = Field(default=300.0, ge=5, le=86400)
    """Seconds between sweeps for events that Stripe could not deliver."""
    shutdown_grace_s: int = Field(default=30, ge=1, le=3600)
    """Seconds running exchanges may take to end after SIGTERM; then they are aborted."""

    alert_url: Annotated[str, AfterValidator(check_webhook_url)] | None = None
    """Where the seller is told that a customer's quota is used to some share: https, or http on localhost. Unset:
    no webhook."""
    alert_secret: Annotated[tuple[SecretStr, ...], NoDecode] = Field(default=(), validate_default=True)
    """Secrets that sign those events, comma separated: put the new one beside the old while changing them."""
    smtp_host: str | None = None
    """Mail server that takes the same alerts as e-mail. Unset: no e-mail."""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    """Port of the mail server."""
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls`: begins plain, and must go on under TLS. `tls`: from the first byte (port 465). `none`: plain, and
    then without a password unless the server is on localhost."""
    smtp_user: str | None = None
    """Who logs in. Unset: nobody does."""
    smtp_password: SecretStr | None = Field(default=None, validate_default=True)
    """The password of that user."""
    alert_email_from: Annotated[str, AfterValidator(check_address)] | None = Field(default=None, validate_default=True)
    """Sender of the e-mails."""
    alert_email_to: Annotated[tuple[str, ...], NoDecode] = Field(default=(), validate_default=True)
    """Addresses of the seller, comma separated."""

    signup: Literal["open", "closed"] = "closed"
    """Whether anyone may start a checkout as a new customer. Closed: only the seller's server and existing keys."""
    log_format: Literal["json", "console"] = "json"
    """`json`: one object a line. `console`: for people."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written."""
    decision_log: Literal["none", "denied", "all"] = "denied"
    """Which decisions get a log line. `all` costs about 30 us a request."""

    @field_validator("stripe_webhook_secrets", "assertion_keys", "alert_secret", mode="before")
    @classmethod
    def _split_secrets(cls, value: object) -> object:
        return _split(value)

    @field_validator("upstream_url", "trusted_proxies", "alert_email_to", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        return _split(value)

    @field_validator("stripe_secret_key")
    @classmethod
    def _is_stripe_key(cls, value: SecretStr) -> SecretStr:
        check_stripe_key(value.get_secret_value())
        return value

    @field_validator("stripe_webhook_secrets")
    @classmethod
    def _are_signing_secrets(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not value:
            raise ValueError("empty: with an empty secret anyone could sign events")
        for secret in value:
            check_signing_secret(secret.get_secret_value())
        return value

    @field_validator("stripe_url")
    @classmethod
    def _is_sandbox(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not is_loopback(urlsplit(value).hostname or ""):
            raise ValueError("the sandbox lives on loopback only. Unset it to use Stripe")
        if value is not None and _is_live(info.data.get("stripe_secret_key")):
            raise ValueError("a live key must not be used with the sandbox. Unset it to use Stripe")
        return value

    @field_validator("simulated_clock")
    @classmethod
    def _is_of_sandbox(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("stripe_url", "malformed") is None:
            raise ValueError("only together with TIERGATE_STRIPE_URL (the sandbox)")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_public(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and _is_live(info.data.get("stripe_secret_key")):
            raise ValueError("needed with a live key, so that Stripe can send customers back")
        return value

    @field_validator("key_pepper", "admin_token", "server_token")
    @classmethod
    def _is_strong(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        least = MIN_PEPPER_LENGTH if info.field_name == "key_pepper" else MIN_TOKEN_LENGTH
        check_strong(value.get_secret_value(), least=least)
        for other in ("key_pepper", "admin_token"):
            if info.data.get(other) == value:
                raise ValueError(f"must differ from {_variable(other)}")
        return value

    @field_validator("assertion_keys")
    @classmethod
    def _are_assertion_keys(cls, value: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        check_assertion_keys(tuple(key.get_secret_value() for key in value))
        for other in ("key_pepper", "admin_token", "server_token"):
            if info.data.get(other) in value:
                raise ValueError(f"must differ from {_variable(other)}")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_networks(value)

    @field_validator("alert_secret")
    @classmethod
    def _are_event_secrets(cls, value: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        check_event_secrets(tuple(secret.get_secret_value() for secret in value))
        if info.data.get("alert_url", "malformed") is None and value:
            raise ValueError(f"only together with {_variable('alert_url')}")
        if info.data.get("alert_url") is not None and not value:
            raise ValueError(f"needed with {_variable('alert_url')}: without it a receiver could not tell who sends")
        return value

    @field_validator("smtp_password")
    @classmethod
    def _is_hidden(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (value is None) != (info.data.get("smtp_user") is None):
            raise ValueError(f"only together with {_variable('smtp_user')}, and that only with it")
        is_plain = info.data.get("smtp_security") == "none"
        if value is not None and is_plain and not is_loopback(info.data.get("smtp_host") or ""):
            raise ValueError("would be sent in clear: choose starttls or tls")
        return value

    @field_validator("alert_email_to")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_address(address) for address in value)

    @field_validator("alert_email_from", "alert_email_to")
    @classmethod
    def _goes_with_server(cls, value: object, info: ValidationInfo) -> object:
        if bool(value) != (info.data.get("smtp_host") is not None):
            raise ValueError(f"only together with {_variable('smtp_host')}, and that only with it")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_redis_url(value.get_secret_value())
        return value

    @field_validator("ledger_url")
    @classmethod
    def _is_ledger_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_ledger_url(value.get_secret_value())
        return value

    @field_validator("usage_kept_days")
    @classmethod
    def _outlasts_hours(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("usage_hours_kept_days", 0):
            raise ValueError(f"less than {_variable('usage_hours_kept_days')}: hours become days before they go")
        return value

    @property
    def livemode(self) -> bool:
        """Whether real money moves."""
        return _is_live(self.stripe_secret_key)

    @property
    def mode(self) -> str:
        """`live` or `test`: the mode of Stripe's key, and of the API keys issued here."""
        return "live" if self.livemode else "test"

    @property
    def base_url(self) -> str:
        """Where browsers reach this gateway, without a trailing slash."""
        if self.public_url is not None:
            return self.public_url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{'localhost' if host in {'0.0.0.0', '[::]'} else host}:{self.port}"  # noqa: S104 - compared, not bound

    @cached_property
    def ledger_dsn(self) -> str:
        """The ledger's URL, with the default filled in. May hold a password."""
        if self.ledger_url is not None:
            return self.ledger_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'ledger.sqlite3').absolute()}"

    @property
    def assertion_seeds(self) -> tuple[bytes, ...]:
        """The signing keys of assertions in clear, for the signer only."""
        return tuple(read_seed(key.get_secret_value()) for key in self.assertion_keys)

    @property
    def event_secrets(self) -> tuple[bytes, ...]:
        """The secrets of alerts in clear, for the signer only."""
        return tuple(read_secret(secret.get_secret_value()) for secret in self.alert_secret)

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The signing secrets in clear, for the verifier only."""
        return tuple(secret.get_secret_value() for secret in self.stripe_webhook_secrets)


def _is_live(key: SecretStr | None) -> bool:
    return key is not None and "_live_" in key.get_secret_value()[:8]


EXAMPLES = {
    "STRIPE_SECRET_KEY": "STRIPE_SECRET_KEY=sk_test_... (Stripe dashboard: Developers, API keys)",
    "STRIPE_WEBHOOK_SECRET": "STRIPE_WEBHOOK_SECRET=whsec_... (printed by `stripe listen`, or dashboard: Webhooks)",
    "TIERGATE_UPSTREAM_URL": "TIERGATE_UPSTREAM_URL=http://localhost:3000",
    "TIERGATE_STRIPE_URL": "TIERGATE_STRIPE_URL=http://127.0.0.1:12111",
    "TIERGATE_SIMULATED_CLOCK": "TIERGATE_SIMULATED_CLOCK=.tiergate/clock",
    "TIERGATE_PUBLIC_URL": "TIERGATE_PUBLIC_URL=https://api.example.com",
    "TIERGATE_KEY_PEPPER": "TIERGATE_KEY_PEPPER=<output of `tiergate secret`>",
    "TIERGATE_ADMIN_TOKEN": "TIERGATE_ADMIN_TOKEN=<output of `tiergate secret`>",
    "TIERGATE_SERVER_TOKEN": "TIERGATE_SERVER_TOKEN=<output of `tiergate secret`>",
    "TIERGATE_ASSERTION_KEYS": "TIERGATE_ASSERTION_KEYS=<output of `tiergate secret`>",
    "TIERGATE_ASSERTION_AUDIENCE": "TIERGATE_ASSERTION_AUDIENCE=my-api",
    "TIERGATE_REDIS_URL": "TIERGATE_REDIS_URL=redis://localhost:6379/0",
    "TIERGATE_LEDGER_URL": "TIERGATE_LEDGER_URL=postgresql://tiergate:password@localhost/tiergate",
    "TIERGATE_ALERT_URL": "TIERGATE_ALERT_URL=https://example.com/hooks/tiergate",
    "TIERGATE_ALERT_SECRET": "TIERGATE_ALERT_SECRET=whsec_<32 random bytes in base64>",
    "TIERGATE_SMTP_HOST": "TIERGATE_SMTP_HOST=smtp.example.com",
    "TIERGATE_SMTP_USER": "TIERGATE_SMTP_USER=alerts@example.com",
    "TIERGATE_SMTP_PASSWORD": "TIERGATE_SMTP_PASSWORD=<of your mail server>",
    "TIERGATE_ALERT_EMAIL_FROM": "TIERGATE_ALERT_EMAIL_FROM=alerts@example.com",
    "TIERGATE_ALERT_EMAIL_TO": "TIERGATE_ALERT_EMAIL_TO=you@example.com",
    "TIERGATE_TRUSTED_PROXIES": "TIERGATE_TRUSTED_PROXIES=10.0.0.0/8,127.0.0.1",
}
"""Of settings without a default. The others' example is their default."""

NO_UPSTREAM = (
    "TIERGATE_UPSTREAM_URL: is not set, and the policy does not say where every call goes. "
    f"Example: {EXAMPLES['TIERGATE_UPSTREAM_URL']}, or in a policy file: "
    "upstreams: {default: {servers: [http://localhost:3000]}}"
)
"""The fault of a gateway that has nowhere to forward calls to, in both ways to mend it."""


def load_settings(env_file: Path | None = None) -> Settings:
    """Read and check every setting at once.

    Args:
        env_file: Read instead of `.env` in the working directory. The environment wins over it.

    Raises:
        SettingsInvalid: With every fault found, none of which echoes a value.
    """
    file = env_file if env_file is not None else Path(".env")
    if env_file is not None and not env_file.is_file():
        raise SettingsInvalid((f"{env_file}: no such settings file",))
    unknown = _unknown_names(file)
    try:
        settings = Settings(_env_file=file)  # type: ignore[call-arg]  # a keyword of pydantic-settings, for every model
    except ValidationError as error:
        faults = tuple(_sentence(detail) for detail in error.errors(include_input=False))
        raise SettingsInvalid((*faults, *unknown)) from None
    if unknown:
        raise SettingsInvalid(unknown)
    return settings


def find_policy_dir() -> Path:
    """The policy directory in the settings, whatever else is in them or missing: for a look at the files alone."""
    name, env_file = "TIERGATE_POLICY_DIR", Path(".env")
    value = os.environ.get(name) or (dotenv_values(env_file).get(name) if env_file.is_file() else None)
    return Path(value) if value else Path(Settings.model_fields["policy_dir"].default)


def _variable(name: str) -> str:
    field = Settings.model_fields.get(name)
    alias = field.validation_alias if field is not None else None
    if isinstance(alias, str):
        return alias
    return name if name.isupper() else f"TIERGATE_{name.upper()}"


def _sentence(detail: Mapping[str, Any]) -> str:
    """One fault as pydantic reports it, which is always about one setting."""
    name = _variable(str(detail["loc"][0]))
    what = "is not set" if detail["type"] == "missing" else str(detail["msg"]).removeprefix("Value error, ")
    return f"{name}: {what}. Example: {_example(name)}"


def _example(name: str) -> str:
    if name in EXAMPLES:
        return EXAMPLES[name]
    field = next(field for key, field in Settings.model_fields.items() if _variable(key) == name)
    return f"{name}={field.default}"


def service_links() -> tuple[str, ...]:
    """Variables that Kubernetes set because a service's name begins with `tiergate`. They are no settings.

    For a service `tiergate` one of them is called TIERGATE_PORT and holds `tcp://...`: then the port counts as
    not set. Source: Kubernetes documentation, "Accessing the Service", environment variables.
    """
    return tuple(sorted(name for name, value in os.environ.items() if _is_service_link(name, value)))


def _is_service_link(name: str, value: str | None) -> bool:
    if value is None or not name.startswith("TIERGATE_"):
        return False
    is_address = name.endswith("_PORT") and _SERVICE_ADDRESS.match(value) is not None
    return is_address or _SERVICE_FACT.fullmatch(name) is not None


def _unknown_names(env_file: Path) -> tuple[str, ...]:
    known = {_variable(name) for name in Settings.model_fields}
    given = set(os.environ).difference(service_links())
    given |= set(dotenv_values(env_file)) if env_file.is_file() else set()
    faults = []
    for name in sorted(name for name in given if name.startswith("TIERGATE_") and name not in known):
        if name.startswith("TIERGATE_TEST_"):
            continue
        near = difflib.get_close_matches(name, known, 1)
        faults.append(f"{name}: there is no such setting." + (f" Did you mean {near[0]}?" if near else ""))
    return tuple(faults)
