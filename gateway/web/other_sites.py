"""Where a browser's request comes from. What another site makes a browser send is not what its user asked for."""

from __future__ import annotations

from urllib.parse import urlsplit

from litestar.handlers import BaseRouteHandler

from gateway.web.callers import Connection
from gateway.web.refusals import NotAllowed

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "none"})


def refuse_other_sites(connection: Connection, _: BaseRouteHandler | None = None) -> None:
    """Guard of whatever a browser may be made to send without credentials of ours in a header: forms, and sign-ups.

    Browsers say by `Sec-Fetch-Site` or `Origin` where a request comes from; what has neither is
    no browser's, and carries no cookie by accident.

    Raises:
        NotAllowed: It comes from another site.
    """
    if connection.scope.get("method") in _SAFE_METHODS:
        return
    site = connection.headers.get("sec-fetch-site")
    if (site in _OWN_SITE) if site is not None else _is_own_origin(connection):
        return
    raise NotAllowed("This was sent by a page of another site, so it was not followed.")


def _is_own_origin(connection: Connection) -> bool:
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    base_url = connection.app.state.runtime.settings.base_url
    ours = {urlsplit(base_url).netloc.lower(), connection.headers.get("host", "").lower()}
    asking = urlsplit(origin).netloc.lower()
    return bool(asking) and asking in ours  # an opaque origin is "null", which names nobody
