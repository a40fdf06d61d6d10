"""`cors:`, of the policy and of a route: what pages of other origins may do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.core.pattern import METHODS
from gateway.core.upstream_policy import NO_CORS, Cors
from gateway.policyfiles.document import Mapping, Text
from gateway.policyfiles.hosts import read_origin
from gateway.policyfiles.quantities import read_duration_s, read_flag
from gateway.policyfiles.shapes import as_fields, as_texts, shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

ANY = "*"
MOST_ORIGINS = 200
_KEYS = ("origins", "methods", "headers", "expose", "max_age", "credentials")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_DEFAULT = Cors(origins=())


def read_cors(node: Node, faults: FaultLog) -> Cors | None:
    """A mapping, or `off` for none; None with a fault in words."""
    if isinstance(node, Text) and node.value.casefold() in {"off", "no"}:
        return NO_CORS
    if not isinstance(node, Mapping):
        faults.add(node.place, "'cors' is a mapping like '{origins: [https://app.example.com]}', or 'off'")
        return None
    fields = as_fields(node, "'cors'", faults, known=_KEYS)
    if "origins" not in fields:
        faults.add(node.place, "'cors' has no origins: write 'origins: [https://app.example.com]', or 'cors: off'")
        return None
    origins = _read_origins(fields["origins"], faults)
    credentials = read_flag(fields["credentials"], "'credentials'", faults) if "credentials" in fields else None
    expose = _read_names(fields["expose"], "expose", faults) if "expose" in fields else _DEFAULT.expose
    if credentials and ANY in origins:
        message = "'credentials' and origin '*' together would let any page act for whoever opens it: name the origins"
        faults.add(fields["credentials"].place, message)
    if credentials and ANY in expose:
        faults.add(fields["expose"].place, "with 'credentials', browsers read '*' as a name: list the fields to expose")
    max_age = (
        read_duration_s(fields["max_age"], "'max_age'", faults, least="0s", most="1d") if "max_age" in fields else None
    )
    return Cors(
        origins=origins,
        methods=_read_methods(fields["methods"], faults) if "methods" in fields else _DEFAULT.methods,
        headers=_read_names(fields["headers"], "headers", faults) if "headers" in fields else _DEFAULT.headers,
        expose=expose,
        max_age_s=_DEFAULT.max_age_s if max_age is None else int(max_age),
        credentials=bool(credentials),
    )


def _read_origins(node: Node, faults: FaultLog) -> tuple[str, ...]:
    texts = as_texts(node, "'origins'", faults)
    if not texts:
        faults.add(node.place, "'origins' lists none: write 'origins: [https://app.example.com]', or 'cors: off'")
    if len(texts) > MOST_ORIGINS:
        faults.add(texts[MOST_ORIGINS].place, f"more than {MOST_ORIGINS} origins")
    origins: dict[str, Text] = {}
    for text in texts:
        origin = ANY if text.value.strip() == ANY else read_origin(text, faults)
        if origin is None:
            continue
        if origin in origins:
            faults.add(text.place, f"origin {origin!r} is listed twice")
        origins[origin] = text
    if ANY in origins and len(origins) > 1:
        faults.add(origins[ANY].place, "'*' is every origin, so it stands alone")
    return tuple(origins)


def _read_methods(node: Node, faults: FaultLog) -> tuple[str, ...]:
    methods: dict[str, None] = {}
    for text in as_texts(node, "'methods'", faults):
        if text.value in METHODS:
            methods[text.value] = None
        else:
            message = f"{shown(text.value)} is not a method that is proxied; list them in capitals"
            faults.add_unknown(text.place, message, text.value, METHODS)
    return tuple(methods)


def _read_names(node: Node, key: str, faults: FaultLog) -> tuple[str, ...]:
    names: dict[str, Text] = {}
    for text in as_texts(node, f"{key!r}", faults):
        if _TOKEN.fullmatch(text.value) is None:
            faults.add(text.place, f"{shown(text.value)} is not the name of a header field")
        names[text.value.lower()] = text
    if ANY in names and len(names) > 1:
        faults.add(names[ANY].place, f"'*' in {key!r} is every field, so it stands alone")
    return tuple(names)
