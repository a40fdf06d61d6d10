"""Variables of the environment that look like settings and are none: Kubernetes makes them of the names of services."""

from __future__ import annotations

import os
import re

_SERVICE_FACT = re.compile(
    r"TIERGATE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def service_links() -> tuple[str, ...]:
    """Variables that Kubernetes set because a service's name begins with `tiergate`. They are no settings.

    For a service `tiergate` one of them is called TIERGATE_PORT and holds `tcp://...`: then the port counts as
    not set. Source: Kubernetes documentation, "Accessing the Service", environment variables.
    """
    return tuple(sorted(name for name, value in os.environ.items() if is_service_link(name, value)))


def is_service_link(name: str, value: str | None) -> bool:
    """Whether a variable holds what Kubernetes says of a service."""
    if value is None or not name.startswith("TIERGATE_"):
        return False
    is_address = name.endswith("_PORT") and _SERVICE_ADDRESS.match(value) is not None
    return is_address or _SERVICE_FACT.fullmatch(name) is not None
