"""`tiergate serve`: the gateway, with everything it needs started first."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click
import structlog

from gateway import __version__
from gateway.cache import CacheKeeper, CacheServerError
from gateway.cli.listening import listen
from gateway.cli.migrate import bring_up_to_date
from gateway.cli.opening import policy_refused
from gateway.cli.options import examples
from gateway.cli.run_directory import fresh_run_directory
from gateway.cli.workers import serve_here, serve_with_workers, server_config
from gateway.ledger import describe
from gateway.policyfiles import PolicyInvalid, load_policy
from gateway.settings import NO_UPSTREAM, Settings, SettingsInvalid, load_settings, service_links
from gateway.telemetry import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.core.policy import Policy

log = structlog.get_logger(__name__)


@click.command("serve", epilog=examples("tiergate serve --port 8080 --workers 4"))
@click.option("--host", metavar="ADDRESS", help="Listen here. Default: TIERGATE_HOST, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen here; 0 takes a free port. Default: TIERGATE_PORT.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that serve. Default: TIERGATE_WORKERS, else 1.")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Run the gateway until it is told to stop.

    Settings come from the environment and from .env. Without TIERGATE_REDIS_URL a cache is
    started in the data directory and stopped at the end. The ledger's tables are brought up to date.

    Signals: TERM or INT drains and ends; a second INT ends at once; HUP reloads the policy.
    Exit codes: 0 ended as told; 1 could not start, has no worker left, or was forced;
    2 settings are wrong.
    """
    for name, value in (("TIERGATE_HOST", host), ("TIERGATE_PORT", port), ("TIERGATE_WORKERS", workers)):
        if value is not None:
            os.environ[name] = str(value)
    raise SystemExit(_serve(load_settings()))


def _serve(settings: Settings) -> int:
    configure_logging(settings.log_format, settings.log_level)
    _say_what_is_ignored(settings)
    policy = _compile_policy(settings)
    _make_data_directory(settings.data_dir)
    listener = listen(settings.host, settings.port)
    with listener, _running_cache(settings) as cache_words:
        # Workers read settings afresh from the environment: it tells them what was found out here.
        os.environ["TIERGATE_PORT"] = str(listener.getsockname()[1])
        settings = load_settings()
        bring_up_to_date(settings)
        config = server_config(settings)
        if settings.workers == 1:
            return serve_here(config, listener, lambda: _announce(settings, policy, cache_words))
        with ExitStack() as stack:
            with _said_what_to_do(settings.data_dir):
                stack.enter_context(fresh_run_directory(settings.data_dir))
            return serve_with_workers(config, listener, lambda: _announce(settings, policy, cache_words))


def _say_what_is_ignored(settings: Settings) -> None:
    links = service_links()
    if links:
        log.warning(
            "service links of Kubernetes are ignored; set enableServiceLinks: false, or rename the service",
            variables=links,
            listens_on=settings.port,
        )


def _compile_policy(settings: Settings) -> Policy:
    """The policy, with somewhere to go for every call.

    Raises:
        click.ClickException: It is not valid.
        SettingsInvalid: Nothing says where calls go.
    """
    try:
        policy = load_policy(settings.policy_dir)
    except PolicyInvalid as invalid:
        raise policy_refused(invalid) from None
    if policy.needs_settings_upstream and not settings.upstream_url:
        raise SettingsInvalid((NO_UPSTREAM,))
    return policy


def _make_data_directory(directory: Path) -> None:
    """Create it if it is missing, and see that files can be written there."""
    with _said_what_to_do(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass


@contextmanager
def _said_what_to_do(directory: Path) -> Iterator[None]:
    """Nothing can be kept in the data directory: say where it failed, why, and what to do.

    Raises:
        click.ClickException: Instead of any OSError.
    """
    try:
        yield
    except OSError as error:
        raise click.ClickException(
            f"The data directory {directory} cannot be used: {error.strerror} ({error.filename or directory}). "
            "Give it to this user, make room in it, or set TIERGATE_DATA_DIR to another."
        ) from None


@contextmanager
def _running_cache(settings: Settings) -> Iterator[str]:
    """The cache that the settings name, or one of our own for all workers, which is stopped last.

    Yields what it is, in words.
    """
    if settings.redis_url is not None:
        yield _cache_words(settings.redis_url.get_secret_value())
        return
    try:
        with _said_what_to_do(settings.data_dir):
            keeper = CacheKeeper.start(settings.data_dir)
    except CacheServerError as error:
        raise click.ClickException(str(error)) from None
    os.environ["TIERGATE_REDIS_URL"] = keeper.url
    whose = "" if keeper.is_owned else " of another tiergate"
    try:
        yield f"embedded Valkey{whose}, data in {settings.data_dir}"
    finally:
        del os.environ["TIERGATE_REDIS_URL"]
        keeper.stop()


def _announce(settings: Settings, policy: Policy, cache_words: str) -> None:
    facts = {
        "url": _url(settings),
        "upstream": ", ".join(_upstreams(settings, policy)),
        "workers": settings.workers,
        "policy": f"{policy.policy_hash} in {settings.policy_dir}, tiers {', '.join(policy.tiers)}",
        "cache": cache_words,
        "ledger": describe(settings.ledger_dsn),
        **_stripe_facts(settings),
    }
    if settings.log_format == "json":
        log.info("gateway serves", version=__version__, pid=os.getpid(), **facts)
        return
    lines = [f"Tiergate {__version__} serves {facts.pop('url')}"]
    lines += [f"  {name:<9} {value}" for name, value in facts.items()]
    click.echo("\n".join([*lines, "Ctrl-C drains and stops."]), err=True)


def _stripe_facts(settings: Settings) -> dict[str, str]:
    if settings.stripe_key is None:
        return {"stripe": "not configured: nothing is sold"}
    return {
        "stripe": f"{settings.mode} mode" + (f", sandbox at {settings.stripe_url}" if settings.stripe_url else ""),
        "webhook": f"{settings.base_url}{settings.billing_prefix}/webhook",
    }


def _upstreams(settings: Settings, policy: Policy) -> list[str]:
    """Where calls go: the servers that the settings name, if any go there, then policy's groups."""
    return [
        *(settings.upstream_url if policy.needs_settings_upstream else ()),
        *(f"group {name}" for name in policy.upstreams),
    ]


def _url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _cache_words(url: str) -> str:
    """A cache URL without user and password."""
    scheme, _, rest = url.partition("://")
    place = rest.partition("?")[0].rpartition("@")[2]
    return f"{scheme}://{place}"
