"""What stock servers do not show to the gateway, and what comes of the cases there instead.

Our own server protocol has no entry here. Each entry is a row of the table in docs/conformance.md; a
test keeps the two alike. An entry without an expectation cannot be played: there is nothing to see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.conformance.case import (
    BROKEN_BODY,
    Answer,
    Case,
    Expected,
    Forwarded,
    posted,
    refusal,
    relayed,
)
from tests.conformance.cases.smuggling import INNER

HTTPTOOLS, H11, GRANIAN = "uvicorn-httptools", "uvicorn-h11", "granian"
OWN_PROTOCOL = "our server protocol (`tiergate serve`)"
STRICT_PROXY = "our server protocol, or a strict proxy in front (nginx, HAProxy, Envoy)"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindSpot:
    """Something that one server hides from the gateway, or does in a way of its own."""

    server: str
    hides: str
    """What it does, as the rest of a sentence that begins with its name."""
    effect: str
    """What that means to the operator."""
    closed_by: str
    """The setting or front that closes it."""
    cases: Mapping[str, tuple[Expected, ...]]
    """What comes of which cases instead; empty: not played."""


def expected_under(server: str, case: Case) -> tuple[Expected, ...]:
    """What may come of a case under a server; empty: it is not played there."""
    for spot in BLIND_SPOTS:
        if spot.server == server and case.says in spot.cases:
            return spot.cases[case.says]
    return case.expects


NOT_PLAYED: tuple[Expected, ...] = ()
_PASSES = (relayed(Forwarded()),)
_POSTED = (relayed(posted()),)
_OTHER_HOST = "a target in absolute form is refused, or its host wins over Host"
_FTP = "an absolute target of another scheme is refused"
_SLOW_HEADS = (
    "a head that does not come to its end is given up",
    "a request line that does not come to its end is given up",
)
_LINE_FEEDS = {
    "lines that end in a line feed only are refused": (relayed(Forwarded(fields=((b"x-a", b"b"),))),),
    "a head that ends in a line feed only is refused": (relayed(Forwarded(fields=((b"x-a", b"b"),))),),
    "a request line that ends in a line feed only is refused": _PASSES,
    "a coding behind a bare line feed is refused": (relayed(posted(b"hello", (b"x-a", b"b"))),),
}
_HTTP_0_9 = "a request of HTTP/0.9 is refused"
_A = b"/v1/a"
_GET_A = Forwarded(line=b"GET /v1/a HTTP/1.1")
_BREAKS_EARLY = tuple(
    f"{what} in an answer breaks it off"
    for what in (
        "a chunk size that is no number",
        "a negative chunk size",
        "a chunk without a line end",
        "a chunk that is longer than its size",
        "a chunk size that wraps around at 64 bits",
        "a chunk size line that ends in a line feed only",
        "a malformed trailer field",
    )
)
_FAILS = (Expected(answers=(Answer(status=(500,)),), after="open", forwarded=(Forwarded(),), charged=0),)


def _folded(value: bytes) -> tuple[Expected, ...]:
    return (relayed(Forwarded(fields=((b"x-a", value),))),)


_OF_HTTPTOOLS = (
    BlindSpot(
        server=HTTPTOOLS,
        hides="adds trailer fields to the header fields, and when the body came at once the gateway cannot tell",
        effect="A caller may send a field as a trailer instead of a header. It is judged as a header: it cannot forge "
        "an identity, a Host or a length.",
        closed_by=OWN_PROTOCOL,
        cases={
            "an unknown field in trailer fields goes nowhere": (
                relayed(posted()),
                relayed(posted(b"hello", (b"x-checksum", b"1"))),
            ),
            "a Host in trailer fields goes nowhere": (relayed(posted()), refusal(400, after="either")),
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="keeps white space behind a field's value",
        effect="Such a value is forwarded with it, and such a length or coding is refused.",
        closed_by=OWN_PROTOCOL,
        cases={
            "white space around a length is no part of it": (refusal(400),),
            "white space around the coding is no part of it": (refusal(400, code=None),),
            "white space around a value is not, and the value is kept": _folded(b"b c \t "),
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="takes the scheme and host off an absolute target, and drops them",
        effect="Host counts, not the target's host. Nothing is chosen by host but a route's group of upstreams.",
        closed_by=STRICT_PROXY,
        cases={
            _OTHER_HOST: (relayed(Forwarded(added=((b"x-forwarded-host", b"api.test"),))),),
            _FTP: _PASSES,
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="drops a fragment from the target",
        effect="None: what is matched is what is forwarded.",
        closed_by=OWN_PROTOCOL,
        cases={
            "a fragment is refused": _PASSES,
            "a fragment in the query is refused": (relayed(Forwarded(line=b"GET /v1/x?a HTTP/1.1"), body=b"/v1/x?a"),),
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="reads several spaces in the request line as one",
        effect="None: the line is written anew.",
        closed_by=OWN_PROTOCOL,
        cases={
            "two spaces before the target is refused": _PASSES,
            "two spaces before the version is refused": _PASSES,
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="has no limit on chunk extensions and trailer fields",
        effect="A caller can make the server read, and drop, bytes that no cap counts.",
        closed_by=STRICT_PROXY,
        cases={
            "an extension without end breaks the request off": _POSTED,
            "trailer fields without end break the request off": (
                BROKEN_BODY,
                refusal(400, 431, code=None, after="either"),
                *_POSTED,
            ),
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="waits for ever for the rest of a head",
        effect="Idle connections pile up until the system's limit on open files.",
        closed_by=f"{STRICT_PROXY}; `--limit-concurrency` bounds the damage",
        cases=dict.fromkeys((*_SLOW_HEADS, _HTTP_0_9), NOT_PLAYED),
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="sends chunks, and an interim answer, to a caller of HTTP/1.0",
        effect="Such a caller may take the chunk sizes for content. The request itself is served.",
        closed_by=STRICT_PROXY,
        cases={
            "an expectation on HTTP/1.0 is ignored": (
                Expected(
                    answers=(Answer(status=(100,)), Answer(status=(200,), body=b"/v1/x")),
                    after="closed",
                    forwarded=(posted(),),
                ),
                relayed(posted(), after="closed"),
            ),
            "HTTP/1.0 gets no chunks": (
                Expected(answers=(Answer(status=(200,), body=b"hello"),), after="closed", forwarded=(Forwarded(),)),
            ),
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="answers malformed bytes at once, before requests in front of them on the connection",
        effect="Their callers take the 400 for their own answer; those requests may have been served and charged.",
        closed_by=OWN_PROTOCOL,
        cases=dict.fromkeys(
            (
                "what is malformed ends the connection after the answer before it",
                "garbage between requests ends the connection",
                "bytes behind a body's length are the next request, and no good one",
                "a space before the second request ends the connection",
            ),
            NOT_PLAYED,
        ),
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="takes what follows an offer to upgrade, or CONNECT, for another protocol, and drops it",
        effect="A body behind `Upgrade: h2c` is lost; a request behind one is never answered.",
        closed_by=STRICT_PROXY,
        cases=dict.fromkeys(
            (
                "an offer of HTTP/2 loses no body",
                "an offer of HTTP/2 loses no chunked body",
                "a request behind an offer is served",
                "a request behind an upgrade's answer that never comes",
                "an offer of HTTP/2 changes nothing",
                "an offer of an unknown protocol changes nothing",
                "an offer of several protocols changes nothing",
                "CONNECT with a path is not forwarded",
            ),
            NOT_PLAYED,
        ),
    ),
)
_OF_H11 = (
    BlindSpot(
        server=H11,
        hides="makes one of equal lengths",
        effect="None: what is forwarded has one length.",
        closed_by=OWN_PROTOCOL,
        cases={
            "the same length twice is refused": _POSTED,
            "a length twice in a list is refused": _POSTED,
            "a length twice in a list without a space is refused": _POSTED,
        },
    ),
    BlindSpot(
        server=H11,
        hides="joins folded lines",
        effect="A parser in front that reads a folded line as a field of its own would disagree.",
        closed_by=STRICT_PROXY,
        cases={
            "a coding on a folded line is refused": _POSTED,
            "a coding in a folded line of another field is refused": (
                relayed(posted(b"hello", (b"x-a", b"b Transfer-Encoding: chunked"))),
            ),
            "a Host on a folded line is refused": _PASSES,
            "a folded line is refused": _folded(b"b c"),
            "a line folded by a tab is refused": _folded(b"b c"),
            "a folded line of white space is refused": _folded(b"b "),
            "a request in a folded line": (
                relayed(Forwarded(fields=((b"x-a", b"b " + INNER[:-4].replace(b"\r\n", b" ")),))),
            ),
        },
    ),
    BlindSpot(
        server=H11,
        hides="takes a line feed alone for the end of a line",
        effect="A parser in front that does not would disagree about where fields begin.",
        closed_by=STRICT_PROXY,
        cases={**_LINE_FEEDS, "a trailer that ends in a line feed only breaks the request off": _POSTED},
    ),
    BlindSpot(
        server=H11,
        hides="does not look into chunk extensions and trailer fields, and has no limit on them",
        effect="They are dropped. A caller can make the server read bytes that no cap counts.",
        closed_by=STRICT_PROXY,
        cases=dict.fromkeys(
            (
                "an extension with a NUL in it breaks the request off",
                "an extension with a carriage return in it breaks the request off",
                "a folded trailer breaks the request off",
                "an extension without end breaks the request off",
                "trailer fields without end break the request off",
            ),
            _POSTED,
        ),
    ),
    BlindSpot(
        server=H11,
        hides="takes chunk sizes of up to 20 digits",
        effect="None: it waits for as many bytes, and the cap on bodies ends that.",
        closed_by=OWN_PROTOCOL,
        cases=dict.fromkeys(
            (
                "a size that wraps around at 64 bits breaks the request off",
                "a request behind a chunk size that wraps around",
            ),
            NOT_PLAYED,
        ),
    ),
    BlindSpot(
        server=H11,
        hides="refuses an empty line before a request",
        effect="Some old clients send one behind a body.",
        closed_by=OWN_PROTOCOL,
        cases={
            "an empty line before a request is skipped": (refusal(400),),
            "an empty line between requests is skipped": (
                Expected(
                    answers=(Answer(status=(200,), body=_A), Answer(status=(400,))),
                    after="closed",
                    forwarded=(_GET_A,),
                ),
            ),
        },
    ),
    BlindSpot(
        server=H11,
        hides="waits for ever for the rest of a head",
        effect="Idle connections pile up until the system's limit on open files.",
        closed_by=f"{STRICT_PROXY}; `--limit-concurrency` bounds the damage",
        cases=dict.fromkeys((*_SLOW_HEADS, _HTTP_0_9, "a greeting of SSH is refused"), NOT_PLAYED),
    ),
)
_OF_GRANIAN = (
    BlindSpot(
        server=GRANIAN,
        hides="drops a length beside a coding, and reads the chunks",
        effect="A parser in front that goes by the length would disagree. The connection is closed afterwards.",
        closed_by=STRICT_PROXY,
        cases={
            "a length before a coding is refused": (relayed(posted(), after="closed"),),
            "a coding before a length is refused": (relayed(posted(), after="closed"),),
            "a length of 0 with a coding is refused": (relayed(posted(), after="closed"),),
            "CL.TE: a length over a last chunk and a request": (relayed(posted(b""), after="closed"),),
            "TE.CL: a chunk that holds a request, and a length before it": (relayed(posted(INNER), after="closed"),),
        },
    ),
    BlindSpot(
        server=GRANIAN,
        hides="makes one of equal lengths",
        effect="None: what is forwarded has one length.",
        closed_by=OWN_PROTOCOL,
        cases={"the same length twice is refused": _POSTED},
    ),
    BlindSpot(
        server=GRANIAN,
        hides="takes a line feed alone for the end of a line",
        effect="A parser in front that does not would disagree about where fields begin.",
        closed_by=STRICT_PROXY,
        cases={
            **_LINE_FEEDS,
            "TE.TE: a coding behind a line feed beside a length": (
                relayed(posted(b"", (b"x-a", b"b")), after="closed"),
            ),
            "a trailer that ends in a line feed only breaks the request off": NOT_PLAYED,
        },
    ),
    BlindSpot(
        server=GRANIAN,
        hides="does not look into chunk extensions",
        effect="None: they are dropped.",
        closed_by=OWN_PROTOCOL,
        cases={"an extension with a NUL in it breaks the request off": _POSTED},
    ),
    BlindSpot(
        server=GRANIAN,
        hides="takes the scheme and host off an absolute target, and drops them unless Host is missing",
        effect="Host counts, not the target's host. Nothing is chosen by host but a route's group of upstreams.",
        closed_by=STRICT_PROXY,
        cases={
            _OTHER_HOST: (relayed(Forwarded(added=((b"x-forwarded-host", b"api.test"),))),),
            "a target in absolute form without Host is refused": _PASSES,
            _FTP: _PASSES,
        },
    ),
    BlindSpot(
        server=GRANIAN,
        hides="drops a fragment from the target",
        effect="None: what is matched is what is forwarded.",
        closed_by=OWN_PROTOCOL,
        cases={
            "a fragment is refused": _PASSES,
            "a fragment in the query is refused": (relayed(Forwarded(line=b"GET /v1/x?a HTTP/1.1"), body=b"/v1/x?a"),),
        },
    ),
    BlindSpot(
        server=GRANIAN,
        hides="groups fields of one name",
        effect="The order within a name is kept, the order of names is not. HTTP gives that no meaning.",
        closed_by=OWN_PROTOCOL,
        cases={
            "order and repetitions are kept": (
                relayed(
                    Forwarded(
                        fields=(
                            (b"x-b", b"1"),
                            (b"x-b", b"3"),
                            (b"x-a", b"2"),
                            (b"accept", b"a"),
                            (b"accept", b"b"),
                        )
                    )
                ),
            ),
        },
    ),
    BlindSpot(
        server=GRANIAN,
        hides="speaks HTTP/2 to who begins with its preface",
        effect="None: requests of HTTP/2 pass the same gate.",
        closed_by="`--http 1`",
        cases={"the preface of HTTP/2 is refused": NOT_PLAYED},
    ),
    BlindSpot(
        server=GRANIAN,
        hides="keeps an answer's head back until its first byte, and answers 500 itself if none comes",
        effect="An answer that breaks off at once is a 500 without our explanation, not a cut one.",
        closed_by=OWN_PROTOCOL,
        cases=dict.fromkeys(_BREAKS_EARLY, _FAILS),
    ),
)
BLIND_SPOTS = (*_OF_HTTPTOOLS, *_OF_H11, *_OF_GRANIAN)
