"""What uvicorn with httptools hides."""

from __future__ import annotations

from tests.conformance.blind_spots.spot import (
    FTP,
    HTTP_0_9,
    HTTPTOOLS,
    NOT_PLAYED,
    OTHER_HOST,
    OWN_PROTOCOL,
    PASSES,
    POSTED,
    SLOW_HEADS,
    STRICT_PROXY,
    BlindSpot,
)
from tests.conformance.case import BROKEN_BODY, Answer, Expected, Forwarded, posted, refusal, relayed

BLIND_SPOTS = (
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
        effect="Such a value may be forwarded with it, and such a length or coding is refused.",
        closed_by=OWN_PROTOCOL,
        cases={
            "white space around a length is no part of it": (refusal(400),),
            "white space around the coding is no part of it": (refusal(400, code=None),),
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="takes the scheme and host off an absolute target, and drops them",
        effect="Host counts, not the target's host. Nothing is chosen by host but a route's group of upstreams.",
        closed_by=STRICT_PROXY,
        cases={
            OTHER_HOST: (relayed(Forwarded(added=((b"x-forwarded-host", b"api.test"),))),),
            FTP: PASSES,
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="drops a fragment from the target",
        effect="None: what is matched is what is forwarded.",
        closed_by=OWN_PROTOCOL,
        cases={
            "a fragment is refused": PASSES,
            "a fragment in the query is refused": (relayed(Forwarded(line=b"GET /v1/x?a HTTP/1.1"), body=b"/v1/x?a"),),
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="reads several spaces in the request line as one",
        effect="None: the line is written anew.",
        closed_by=OWN_PROTOCOL,
        cases={
            "two spaces before the target is refused": PASSES,
            "two spaces before the version is refused": PASSES,
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="has no limit on chunk extensions and trailer fields",
        effect="A caller can make the server read, and drop, bytes that no cap counts.",
        closed_by=STRICT_PROXY,
        cases={
            "an extension without end breaks the request off": POSTED,
            "trailer fields without end break the request off": (
                BROKEN_BODY,
                refusal(400, 431, code=None, after="either"),
                *POSTED,
            ),
        },
    ),
    BlindSpot(
        server=HTTPTOOLS,
        hides="waits for ever for the rest of a head",
        effect="Idle connections pile up until the system's limit on open files.",
        closed_by=f"{STRICT_PROXY}; `--limit-concurrency` bounds the damage",
        cases=dict.fromkeys((*SLOW_HEADS, HTTP_0_9), NOT_PLAYED),
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
