"""What uvicorn with h11 hides."""

from __future__ import annotations

from tests.conformance.blind_spots.spot import (
    H11,
    HTTP_0_9,
    LINE_FEEDS,
    NOT_PLAYED,
    OWN_PROTOCOL,
    PASSES,
    POSTED,
    SLOW_HEADS,
    STRICT_PROXY,
    BlindSpot,
)
from tests.conformance.case import BROKEN_BODY, Answer, Expected, Forwarded, posted, refusal, relayed
from tests.conformance.cases.smuggling import INNER

_A = b"/v1/a"
_GET_A = Forwarded(line=b"GET /v1/a HTTP/1.1")


def _folded(value: bytes) -> tuple[Expected, ...]:
    return (relayed(Forwarded(fields=((b"x-a", value),))),)


BLIND_SPOTS = (
    BlindSpot(
        server=H11,
        hides="makes one of equal lengths",
        effect="None: what is forwarded has one length.",
        closed_by=OWN_PROTOCOL,
        cases={
            "the same length twice is refused": POSTED,
            "a length twice in a list is refused": POSTED,
            "a length twice in a list without a space is refused": POSTED,
        },
    ),
    BlindSpot(
        server=H11,
        hides="joins folded lines",
        effect="A parser in front that reads a folded line as a field of its own would disagree.",
        closed_by=STRICT_PROXY,
        cases={
            "a coding on a folded line is refused": POSTED,
            "a coding in a folded line of another field is refused": (
                relayed(posted(b"hello", (b"x-a", b"b Transfer-Encoding: chunked"))),
            ),
            "a Host on a folded line is refused": PASSES,
            "a folded line is refused": _folded(b"b c"),
            "a line folded by a tab is refused": _folded(b"b c"),
            "a folded line of white space is refused": _folded(b"b"),
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
        cases={**LINE_FEEDS, "a trailer that ends in a line feed only breaks the request off": POSTED},
    ),
    BlindSpot(
        server=H11,
        hides="does not look into chunk extensions and trailer fields, and bounds them only as they happen to arrive",
        effect="They are dropped. A caller can make the server read bytes that no cap counts.",
        closed_by=STRICT_PROXY,
        cases=dict.fromkeys(
            (
                "an extension with a NUL in it breaks the request off",
                "an extension with a carriage return in it breaks the request off",
                "a folded trailer breaks the request off",
            ),
            POSTED,
        )
        | dict.fromkeys(
            (
                "an extension without end breaks the request off",
                "trailer fields without end break the request off",
            ),
            (*POSTED, BROKEN_BODY),
        ),
    ),
    BlindSpot(
        server=H11,
        hides="counts what it has read of a head, and answers 400 itself beyond 64 KiB",
        effect="None but the status: whether it or the gateway refuses depends on how the head arrives.",
        closed_by=OWN_PROTOCOL,
        cases=dict.fromkeys(
            (
                "a field that is too long is refused",
                "a name that is too long is refused",
                "fields that are too long together are refused",
                "a head of a million bytes is refused",
            ),
            (refusal(400, 431, code=None, after="either"),),
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
        hides="refuses bytes behind a request that ends its connection at once, before it is answered",
        effect="Its caller takes the 400 for its own answer; the request may have been served and charged.",
        closed_by=OWN_PROTOCOL,
        cases=dict.fromkeys(
            ("nothing behind HTTP/1.0 is read", "nothing behind Connection: close is read"), NOT_PLAYED
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
        cases=dict.fromkeys((*SLOW_HEADS, HTTP_0_9, "a greeting of SSH is refused, or given up"), NOT_PLAYED),
    ),
)
