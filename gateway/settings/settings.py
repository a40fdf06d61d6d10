"""Every setting: its name, its unit, its bounds and what it does. Secrets have no default.

The order counts: of two settings that contradict each other, the later one is at fault (`settings.rules`).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.core.assertion import read_seed
from gateway.core.webhook_signature import read_secret
from gateway.settings.rules import (
    AssertionKeys,
    Audience,
    BillingPrefix,
    EventSecrets,
    HttpUrl,
    LedgerUrl,
    Networks,
    PublicUrl,
    Receivers,
    RedisUrl,
    SandboxClock,
    SandboxUrl,
    Sender,
    Several,
    SigningSecrets,
    SmtpPassword,
    StripeKey,
    StrongSecret,
    UsageDays,
    WebhookUrl,
    is_live,
    variable,
)
from gateway.settings.service_links import is_service_link


class _Environment(EnvSettingsSource):
    """The environment, without the variables that Kubernetes makes of the names of services."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """As every source; a service link is no value, so that the next source is asked."""
        value, key, is_complex = super().get_field_value(field, field_name)
        return (None if is_service_link(variable(field_name), value) else value), key, is_complex


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

    stripe_secret_key: StripeKey | None = Field(default=None, validation_alias="STRIPE_SECRET_KEY")
    """Stripe's secret or restricted key. Its mode (test, live) is this gateway's mode. Unset: nothing is sold, and
    tiers are granted by hand."""
    stripe_webhook_secrets: SigningSecrets = Field(
        default=None, validate_default=True, validation_alias="STRIPE_WEBHOOK_SECRET"
    )
    """Signing secrets of the webhook endpoint, comma separated: put the new one beside the old while rotating. Set
    with the key, and only with it."""
    stripe_url: SandboxUrl | None = None
    """Base URL of the Stripe simulator. Loopback only; refused with a live key. Unset: Stripe itself."""
    simulated_clock: SandboxClock | None = None
    """Clock file of the simulator. Only together with `TIERGATE_STRIPE_URL`."""

    upstream_url: Several[HttpUrl] = ()
    """The API behind the gateway; several, comma separated, are used in turn. Needed unless policy has a group
    `default`, or every route names its group, or the gateway runs inside an app."""
    public_url: PublicUrl = Field(default=None, validate_default=True)
    """Where browsers reach this gateway. Needed with a live key; otherwise derived from host and port."""

    key_pepper: StrongSecret
    """Secret under which API keys are hashed. Losing or changing it makes every issued key invalid."""
    admin_token: StrongSecret
    """Bearer token of the admin API and of `why`: all customers, all decisions."""
    server_token: StrongSecret
    """Bearer token of the seller's own server: checkouts, portal and usage for any `user_id`."""

    assertion_keys: AssertionKeys = Field(default=(), validate_default=False)
    """Ed25519 seeds that sign who calls, for the upstream, comma separated: the first signs, all are published. Unset:
    no assertions."""
    assertion_audience: Audience | None = None
    """Whom assertions are for (`aud`). Unset: the name of the upstream group in policy, or `upstream`."""

    redis_url: RedisUrl | None = None
    """redis://, rediss:// or unix:// URL of a Redis >= 6.2 or Valkey; redis+cluster:// or
    redis+sentinel:// with several hosts. Unset: an embedded Valkey."""
    ledger_url: LedgerUrl | None = None
    """sqlite:/// or postgresql:// URL. Unset: an SQLite file in the data directory."""
    data_dir: Path = Path(".tiergate")
    """Where the embedded cache and ledger keep their files."""
    policy_dir: Path = Path("policies")
    """Directory of `*.yaml` policy files."""

    billing_prefix: BillingPrefix = "/api/v1"
    """Path prefix of the billing routes. They are never proxied."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on. 0 takes a free one and prints it."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that serve. More than the machine's cores does not help."""
    trusted_proxies: Networks = ()
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
    meter_report_interval_s: int = Field(default=60, ge=1, le=1800)
    """Seconds that overage stands before Stripe is told of it: a call that lasts longer and is given back then may be
    billed. What a window ends with is held as long, but at most 15 minutes."""
    usage_hours_kept_days: int = Field(default=35, ge=1, le=3660)
    """Days for which usage can be looked back at by the hour; then only by the day."""
    usage_kept_days: UsageDays = Field(default=400, ge=1, le=3660)
    """Days for which usage can be looked back at at all; then it is deleted. Not less than the hours are kept."""
    portal_configuration: str | None = Field(default=None, pattern=r"^bpc_[A-Za-z0-9_]{1,200}$")
    """Id of the portal configuration in Stripe (`bpc_...`) that customers get; unset: the account's default."""
    price_ttl_s: float = Field(default=300.0, ge=0, le=86400)
    """Seconds a price read from Stripe is shown before it is read again. Never used to charge."""
    stripe_requests_per_s: float = Field(default=20.0, ge=1, le=1000)
    """Requests a second that work on events sends to Stripe, of all workers together; checkouts go before it. Stripe
    allows 25 per endpoint, test mode 25 in all. Several machines share it: divide."""
    event_sweep_interval_s: float = Field(default=300.0, ge=5, le=86400)
    """Seconds between sweeps for events that Stripe could not deliver."""
    reconcile_interval_s: int = Field(default=86400, ge=0, le=31 * 86400)
    """Seconds between reads of all customers from Stripe, by one worker of all, at 10 requests a second. 0: never by
    itself; then an event that was lost is found by `tiergate sync --all` only."""
    reconcile_hour: int | None = Field(default=None, ge=0, le=23)
    """Hour of the day, in UTC, at which that begins. Unset: whenever the interval is over."""
    shutdown_grace_s: int = Field(default=30, ge=1, le=3600)
    """Seconds running exchanges may take to end after SIGTERM; then they are aborted."""

    alert_url: WebhookUrl | None = None
    """Where the seller is told that a customer's quota is used to some share: https, or http on localhost. Unset:
    no webhook."""
    alert_secret: EventSecrets = Field(default=(), validate_default=True)
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
    smtp_password: SmtpPassword = Field(default=None, validate_default=True)
    """The password of that user."""
    alert_email_from: Sender = Field(default=None, validate_default=True)
    """Sender of the e-mails."""
    alert_email_to: Receivers = Field(default=(), validate_default=True)
    """Addresses of the seller, comma separated."""

    signup: Literal["open", "closed"] = "closed"
    """Whether anyone may start a checkout as a new customer. Closed: only the seller's server and existing keys."""
    signups_per_minute: int = Field(default=60, ge=1, le=6000)
    """Checkouts of strangers a minute, of all workers and networks together, half of them at once; then 429. Each asks
    Stripe half a dozen times, so 60 take 6 of the requests a second that customers need, too."""
    log_format: Literal["json", "console"] = "json"
    """`json`: one object a line. `console`: for people."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written."""
    decision_log: Literal["none", "denied", "all"] = "denied"
    """Which decisions get a log line. `all` costs about 30 us a request."""

    @property
    def stripe_key(self) -> str | None:
        """Stripe's key in clear, for its client only; None: there is no Stripe."""
        return None if self.stripe_secret_key is None else self.stripe_secret_key.get_secret_value()

    @property
    def livemode(self) -> bool:
        """Whether real money moves."""
        return is_live(self.stripe_secret_key)

    @property
    def mode(self) -> str:
        """`live` or `test`: the mode of Stripe's key, and of the API keys issued here. Without Stripe they are live."""
        return "live" if self.livemode or self.stripe_secret_key is None else "test"

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
    def webhook_url(self) -> str:
        """Where Stripe's events have to come."""
        return f"{self.base_url}{self.billing_prefix}/webhook"

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The signing secrets in clear, for the verifier only."""
        return tuple(secret.get_secret_value() for secret in self.stripe_webhook_secrets or ())
