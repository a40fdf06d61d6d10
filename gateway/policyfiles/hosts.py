"""Where servers are and what hosts are called: URLs of upstreams, host names, origins of browsers.

No message repeats a URL's credentials, and a fault about them does not show its line.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.core.errors import TargetRejected
from gateway.core.nearest import nearest_name
from gateway.core.target import canonical_path
from gateway.policyfiles.shapes import shown
from gateway.setting_values import check_http_url

if TYPE_CHECKING:
    from gateway.policyfiles.document import Text
    from gateway.policyfiles.faults import FaultLog

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)")
_ORIGIN_SCHEMES = frozenset(
    {"http", "https", "app", "capacitor", "chrome-extension", "ionic", "moz-extension", "safari-web-extension", "tauri"}
)
_IMPLIED_PORTS = {"http": "80", "https": "443"}
_MOST_PORT = 65_535


def check_server_url(text: Text, url: str, faults: FaultLog) -> str | None:
    """A URL of the settings' kind (`TIERGATE_UPSTREAM_URL`), without a slash at its end."""
    if "@" in url:
        faults.add(text.place.without_line(), "a server's URL holds no user and no password, and no '@'")
        return None
    try:
        if "?" in url or "#" in url:
            raise ValueError("a base URL has no user, query or fragment")  # noqa: TRY301 - one sentence for all
        base = check_http_url(url)
        parts = urlsplit(base)
        if not is_host(parts.netloc.removesuffix(":")):
            raise ValueError("its host is malformed")  # noqa: TRY301 - as above
        canonical_path((parts.path or "/").encode())
    except (ValueError, TargetRejected) as error:
        reason = str(error).rstrip(".")
        message = f"{shown(url)} is not a server: {reason}; write it like 'http://10.0.0.1:3000'"
        right = f"http://{url}" if "://" not in url and is_host(url) else None
        faults.add(text.place, message, suggestion=right)
        return None
    return base


def is_host(text: str) -> bool:
    """Whether `text` is a host name or address, with a port or without."""
    match = _HOST_PORT.fullmatch(text)
    if match is None or (match["port"] is not None and not 0 < int(match["port"]) <= _MOST_PORT):
        return False
    if match["host"].startswith("["):
        return _is_ipv6(match["host"][1:-1])
    return _NAME.fullmatch(match["host"]) is not None


def read_host_name(text: Text, what: str, faults: FaultLog) -> str | None:
    """A host in lower case, as `core.forward_rules.host_name` gives it: no port, no dot at its end."""
    name = text.value.strip().lower()
    match = _HOST_PORT.fullmatch(name)
    if is_host(name) and match is not None and match["port"] is None:
        return name
    reason, right = "write it like 'api.example.com'", None
    if "*" in name:
        reason = "name every host, '*' stands for none"
    elif not name.isascii():
        reason, right = "write it as browsers send it", _in_ascii(name)
    elif "://" in name or "/" in name:
        reason, right = "a host has no scheme and no path", urlsplit(name if "://" in name else f"//{name}").hostname
    elif name.endswith(".") and is_host(name[:-1]):
        reason, right = "leave out the dot at its end: it means the same", name[:-1]
    elif match is not None and match["port"] is not None and is_host(match["host"]):
        reason, right = "leave out the port: it is the name that counts", match["host"]
    faults.add(text.place, f"{what} is a host, not {shown(text.value)}: {reason}", suggestion=right)
    return None


def read_origin(text: Text, faults: FaultLog) -> str | None:
    """An origin exactly as browsers send it: it is compared byte for byte."""
    written = text.value.strip()
    match = _ORIGIN.fullmatch(written)
    if match is None:
        reason = "write it with its scheme, like 'https://app.example.com'"
        if written.casefold() == "null":
            reason = "every sandboxed page and local file has the origin 'null', so allowing it allows anybody"
        faults.add(text.place, f"{shown(written)} is not an origin: {reason}")
        return None
    scheme, rest = match["scheme"].lower(), match["rest"].lower()
    host, slash, _ = rest.partition("/")
    reason, right = "write it like 'https://app.example.com'", None
    if scheme not in _ORIGIN_SCHEMES:
        near = nearest_name(scheme, _ORIGIN_SCHEMES)
        reason, right = f"browsers have no pages at {scheme}://", None if near is None else f"{near}://{rest}"
    elif "*" in host:
        reason = "name each origin, or '*' alone for any"
    elif slash or "?" in host or "#" in host:
        clean = re.split("[?#]", host)[0]
        reason, right = "an origin has no path, no query and no slash at its end", f"{scheme}://{clean}"
    elif not host.isascii():
        right = None if _in_ascii(host) is None else f"{scheme}://{_in_ascii(host)}"
        reason = "write it as browsers send it"
    elif scheme in _IMPLIED_PORTS and host.endswith(f":{_IMPLIED_PORTS[scheme]}"):
        right = f"{scheme}://{host.rpartition(':')[0]}"
        reason = "browsers leave out the port that the scheme implies"
    elif is_host(host) and not host.endswith("."):
        return f"{scheme}://{host}"
    faults.add(text.place, f"{shown(written)} is not an origin: {reason}", suggestion=right)
    return None


def _in_ascii(host: str) -> str | None:
    try:
        name = host.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    return name if is_host(name) else None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
