"""Tiergate: put it in front of an HTTP API and the API is for sale.

`protect(app)` puts it in front of an ASGI app in the same process; the `tiergate` command
runs it as a reverse proxy.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "protect"]


def __getattr__(name: str) -> Any:
    """Load the gateway only when it is used: the command line's small commands stay quick."""
    if name == "protect":
        from gateway.app import protect  # noqa: PLC0415 - on demand, see above

        return protect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
