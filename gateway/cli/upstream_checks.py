"""Is the API behind the gateway there? The servers that the settings name, and those of every group in policy."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.cli.findings import Finding, fail, ok, warn
from gateway.upstream.tls import tls_context

if TYPE_CHECKING:
    from gateway.core.policy import Policy
    from gateway.core.upstream_policy import UpstreamTls
    from gateway.settings import Settings

_PORTS = {"http": 80, "https": 443}


async def check_upstreams(settings: Settings, policy: Policy | None) -> list[Finding]:
    """Does something take connections wherever calls go, over TLS that can be trusted?

    Args:
        settings: Of the process.
        policy: Whose groups are looked at too; None: it is not valid.
    """
    found = []
    needs_settings = policy is None or policy.needs_settings_upstream
    if needs_settings and not settings.upstream_url:
        found.append(
            warn(
                "upstream",
                "TIERGATE_UPSTREAM_URL is not set, and policy does not say where every call goes: "
                "`tiergate serve` does not start",
                "Set it to the API that is sold, or define the group 'default' in 'upstreams' of the policy. "
                "Right as it is if the gateway runs inside your own app.",
            )
        )
    elif settings.upstream_url and not needs_settings:
        found.append(
            warn(
                "upstream",
                "TIERGATE_UPSTREAM_URL is set, and no call goes there: policy names a group for every route",
                "Unset it, or take the group 'default' out of the policy.",
            )
        )
    elif needs_settings:
        found += [await _check_upstream(url, settings, None) for url in settings.upstream_url]
    groups = policy.upstreams.values() if policy is not None else ()
    for group in groups:
        found += [await _check_upstream(server.url, settings, group.tls) for server in group.servers]
    return found


async def _check_upstream(url: str, settings: Settings, said: UpstreamTls | None) -> Finding:
    parts = urlsplit(url)
    where = "TIERGATE_UPSTREAM_URL" if url in settings.upstream_url else "'upstreams' in the policy"
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    if url == settings.base_url or _is_own_address(host, port, settings):
        return fail(
            "upstream",
            f"{url} is this gateway itself: calls would go round in circles",
            f"Correct {where}, or let the gateway listen elsewhere (TIERGATE_PORT).",
        )
    tls = tls_context(said) if parts.scheme == "https" else None
    name = said.server_name if tls is not None and said is not None else None
    try:
        async with asyncio.timeout(settings.upstream_connect_timeout_s):
            _, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        return fail(
            "upstream", f"{url}: its certificate is not trusted: {error.verify_message}", "Renew it, or add its CA."
        )
    except TimeoutError:
        wait = settings.upstream_connect_timeout_s
        return fail("upstream", f"{url}: no connection within {wait:g} s", "Check address, firewall and network.")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "no connection could be made"
        return fail("upstream", f"{url}: {reason}", f"Start your API, or correct {where}.")
    writer.transport.abort()
    return ok("upstream", f"{url} takes {'TLS ' if tls else ''}connections")


def _is_own_address(host: str, port: int, settings: Settings) -> bool:
    """Whether this gateway listens there. Names other than localhost are not looked up."""
    if port != settings.port:
        return False
    return host == settings.host or (_is_loopback(host) and _is_loopback(settings.host))


def _is_loopback(host: str) -> bool:
    """Whether a connection to `host` stays on this machine, or a listener on it takes those that do."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
