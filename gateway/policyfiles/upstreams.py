"""`upstreams:`: the servers behind the gateway, in groups that answer alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

from gateway.core.errors import TargetRejected
from gateway.core.nearest import nearest_name
from gateway.core.target import canonical_path
from gateway.core.upstream_policy import ActiveCheck, Balance, Ejection, Server, UpstreamGroup
from gateway.policyfiles.document import Text
from gateway.policyfiles.hosts import check_server_url, is_host, read_host_name
from gateway.policyfiles.quantities import parse_count, read_count, read_duration_s
from gateway.policyfiles.shapes import as_fields, as_text, as_texts, check_name, shown
from gateway.policyfiles.tls import read_tls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog, Place

MOST_SERVERS = 64
MOST_WEIGHT = 1_000
_MOST_FAILURES = 1_000
_MOST_ANSWERS = 100
_SHORTEST_DEFAULT_CHECK_S = 2.0

_GROUP_KEYS = ("servers", "balance", "eject", "check", "host", "hosts", "tls", "max_age")
_NEVER = {
    "url": "write a list: 'servers: [http://10.0.0.1:3000]'",
    "timeout": "time-outs are said by a route, by 'upstream' of a tier, or by the settings",
}
_BALANCES: tuple[Balance, ...] = get_args(Balance)
_SERVER = re.compile(r"(?P<url>\S+)(?: weight (?P<weight>\S+))?")
_EJECTION = re.compile(r"(?P<failures>\S+) failures? for (?P<time>.+)")
_CHECK = re.compile(r"GET (?P<path>\S+)(?: every (?P<every>.+))?")
_CHECK_KEYS = ("path", "every", "timeout", "healthy_after", "unhealthy_after")
_HOST_WORDS = ("own", "preserve")
_QUERY = re.compile(r"[!$-;=?-Z_a-z~%]*")


def read_upstreams(entries: Sequence[tuple[Text, Node]], faults: FaultLog) -> dict[str, UpstreamGroup]:
    """The groups by name. A group that has no usable server is left out, with its fault."""
    groups: dict[str, UpstreamGroup] = {}
    hosts: dict[str, tuple[str, Place]] = {}
    for key, node in entries:
        if not check_name(key, "group of upstreams", faults):
            faults.is_partial = True
            continue
        groups[key.value] = _read_group(key, node, hosts, faults)
    return groups


def _read_group(key: Text, node: Node, hosts: dict[str, tuple[str, Place]], faults: FaultLog) -> UpstreamGroup:
    what = f"group {key.value!r}"
    fields = as_fields(node, what, faults, known=_GROUP_KEYS, never=_NEVER)
    if "servers" not in fields:
        faults.add(key.place, f"{what} has no servers: write 'servers: [http://10.0.0.1:3000]'")
    servers = _read_servers(fields["servers"], what, faults) if "servers" in fields else ()
    tls = read_tls(fields["tls"], what, faults) if "tls" in fields else None
    if "tls" in fields and servers and not any(server.url.startswith("https://") for server in servers):
        faults.add(fields["tls"].place, f"'tls' of {what} says nothing: none of its servers is https://")
    max_age = fields.get("max_age")
    return UpstreamGroup(
        name=key.value,
        servers=servers,
        balance=_read_balance(fields["balance"], faults) if "balance" in fields else "round-robin",
        ejection=_read_ejection(fields["eject"], faults) if "eject" in fields else Ejection(),
        check=_read_check(fields["check"], what, faults) if "check" in fields else None,
        host=_read_host(fields["host"], faults) if "host" in fields else None,
        hosts=_read_hosts(key.value, fields["hosts"], hosts, faults) if "hosts" in fields else (),
        tls=tls,
        max_age_s=None if max_age is None else read_duration_s(max_age, "'max_age'", faults, least="1s", most="1d"),
    )


def _read_servers(node: Node, what: str, faults: FaultLog) -> tuple[Server, ...]:
    texts = as_texts(node, f"'servers' of {what}", faults)
    if not texts:
        faults.add(node.place, f"{what} has no servers: write 'servers: [http://10.0.0.1:3000]'")
    if len(texts) > MOST_SERVERS:
        faults.add(texts[MOST_SERVERS].place, f"{what} has more than {MOST_SERVERS} servers")
        return ()
    servers: dict[str, Server] = {}
    for text in texts:
        server = _read_server(text, faults)
        if server is None:
            continue
        if server.url in servers:
            faults.add(text.place, f"{server.url} is listed twice in {what}: give it a weight instead")
        servers[server.url] = server
    return tuple(servers.values())


def _read_server(text: Text, faults: FaultLog) -> Server | None:
    match = _SERVER.fullmatch(" ".join(text.value.split()))
    if match is None:
        place = text.place.without_line() if "@" in text.value else text.place
        faults.add(place, "a server is written 'http://10.0.0.1:3000' or 'http://10.0.0.1:3000 weight 3'")
        return None
    weight = 1 if match["weight"] is None else parse_count(match["weight"], most=MOST_WEIGHT)
    if weight is None:
        place = text.place.without_line() if "@" in text.value else text.place
        faults.add(place, f"a weight is a whole number from 1 to {MOST_WEIGHT:_}")
    url = check_server_url(text, match["url"], faults)
    return None if url is None else Server(url=url, weight=weight or 1)


def _read_balance(node: Node, faults: FaultLog) -> Balance:
    text = as_text(node, "'balance'", faults)
    for name in _BALANCES:
        if text is None or text.value == name:
            return name
    if text is not None:
        message = f"'balance' is {' or '.join(map(repr, _BALANCES))}, not {shown(text.value)}"
        faults.add_unknown(text.place, message, text.value, _BALANCES)
    return "round-robin"


def _read_ejection(node: Node, faults: FaultLog) -> Ejection | None:
    text = as_text(node, "'eject'", faults)
    if text is None or text.value == "never":
        return None
    match = _EJECTION.fullmatch(" ".join(text.value.split()))
    if match is None:
        faults.add(text.place, f"'eject' is '3 failures for 10s' or 'never', not {shown(text.value)}")
        return None
    failures = read_count(_part(text, match["failures"]), "the number of failures", faults, most=_MOST_FAILURES)
    for_s = read_duration_s(_part(text, match["time"]), "the time in 'eject'", faults, least="100ms", most="1h")
    return None if failures is None or for_s is None else Ejection(failures=failures, for_s=for_s)


def _read_check(node: Node, what: str, faults: FaultLog) -> ActiveCheck | None:
    if isinstance(node, Text):
        text = as_text(node, f"'check' of {what}", faults)
        match = None if text is None else _CHECK.fullmatch(" ".join(text.value.split()))
        if text is None or match is None:
            if text is not None:
                faults.add(text.place, f"'check' is a sentence like 'GET /healthz every 10s', not {shown(text.value)}")
            return None
        fields: dict[str, Node] = {"path": _part(text, match["path"])}
        if match["every"] is not None:
            fields["every"] = _part(text, match["every"])
    else:
        fields = as_fields(node, f"'check' of {what}", faults, known=_CHECK_KEYS)
    if "path" not in fields:
        faults.add(node.place, f"'check' of {what} has no path: write 'GET /healthz every 10s'")
        return None
    path = _read_check_path(fields["path"], faults)
    every = _time(fields, "every", faults, default_s=10.0, least="100ms", most="1h")
    timeout = _time(fields, "timeout", faults, default_s=min(_SHORTEST_DEFAULT_CHECK_S, every), least="10ms", most="1m")
    if timeout > every:
        faults.add(fields["timeout"].place, "a check must have ended when the next begins: 'timeout' is above 'every'")
    answers = {
        name: read_count(fields[name], f"{name!r}", faults, most=_MOST_ANSWERS) if name in fields else 2
        for name in ("healthy_after", "unhealthy_after")
    }
    return (
        None
        if path is None
        else ActiveCheck(
            path=path,
            every_s=every,
            timeout_s=timeout,
            healthy_after=answers["healthy_after"] or 2,
            unhealthy_after=answers["unhealthy_after"] or 2,
        )
    )


def _read_check_path(node: Node, faults: FaultLog) -> str | None:
    text = as_text(node, "the path of a check", faults)
    if text is None:
        return None
    path, _, query = text.value.partition("?")
    try:
        canonical_path(path.encode())
    except TargetRejected as rejected:
        faults.add(text.place, f"{shown(text.value)} cannot be checked: {rejected}")
        return None
    if _QUERY.fullmatch(query) is None:
        faults.add(text.place, f"{shown(text.value)} cannot be checked: its query holds a character to be encoded")
        return None
    return text.value


def _read_host(node: Node, faults: FaultLog) -> str | None:
    text = as_text(node, "'host'", faults)
    if text is None or text.value == "own":
        return None
    is_likely_a_word = "." not in text.value and nearest_name(text.value, _HOST_WORDS) is not None
    if text.value == "preserve" or (is_host(text.value) and not is_likely_a_word):
        return text.value
    faults.add_unknown(
        text.place,
        f"'host' is 'own' (the server's), 'preserve' (the caller's) or a host, not {shown(text.value)}",
        text.value,
        _HOST_WORDS,
    )
    return None


def _read_hosts(group: str, node: Node, hosts: dict[str, tuple[str, Place]], faults: FaultLog) -> tuple[str, ...]:
    found: list[str] = []
    for text in as_texts(node, f"'hosts' of group {group!r}", faults):
        name = read_host_name(text, "an entry of 'hosts'", faults)
        if name is None:
            continue
        if name in hosts:
            other, place = hosts[name]
            faults.add(text.place, f"requests for {name!r} already go to group {other!r} ({place})")
            continue
        hosts[name] = (group, text.place)
        found.append(name)
    return tuple(found)


def _time(fields: dict[str, Node], name: str, faults: FaultLog, *, default_s: float, least: str, most: str) -> float:
    if name not in fields:
        return default_s
    found = read_duration_s(fields[name], f"{name!r} of a check", faults, least=least, most=most)
    return default_s if found is None else found


def _part(text: Text, value: str) -> Text:
    """A part of a sentence, standing where the sentence does."""
    return Text(value=value, place=text.place)
