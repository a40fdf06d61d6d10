"""What Granian hides."""

from __future__ import annotations

from dataclasses import replace

from tests.conformance.blind_spots.spot import (
    FTP,
    GRANIAN,
    LINE_FEEDS,
    NOT_PLAYED,
    OTHER_HOST,
    OWN_PROTOCOL,
    PASSES,
    POSTED,
    STRICT_PROXY,
    BlindSpot,
)
from tests.conformance.case import BROKEN_BODY, Answer, Forwarded, posted, relayed
from tests.conformance.cases import bodies, smuggling
from tests.conformance.cases.smuggling import INNER

BLIND_SPOTS = (
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
        cases={"the same length twice is refused": POSTED},
    ),
    BlindSpot(
        server=GRANIAN,
        hides="takes a line feed alone for the end of a line",
        effect="A parser in front that does not would disagree about where fields begin.",
        closed_by=STRICT_PROXY,
        cases={
            **LINE_FEEDS,
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
        cases={"an extension with a NUL in it breaks the request off": POSTED},
    ),
    BlindSpot(
        server=GRANIAN,
        hides="takes the scheme and host off an absolute target, and drops them unless Host is missing",
        effect="Host counts, not the target's host. Nothing is chosen by host but a route's group of upstreams.",
        closed_by=STRICT_PROXY,
        cases={
            OTHER_HOST: (relayed(Forwarded(added=((b"x-forwarded-host", b"api.test"),))),),
            "a target in absolute form without Host is refused": PASSES,
            FTP: PASSES,
        },
    ),
    BlindSpot(
        server=GRANIAN,
        hides="drops a fragment from the target",
        effect="None: what is matched is what is forwarded.",
        closed_by=OWN_PROTOCOL,
        cases={
            "a fragment is refused": PASSES,
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
        hides="now and then, after many broken requests, lets no answer out while a body is awaited",
        effect="A caller that stops sending gets no 408, and its connection stays open. Seen in long runs only, and "
        "not understood.",
        closed_by=OWN_PROTOCOL,
        cases=dict.fromkeys(
            (
                "a body of which nothing comes is given up",
                "a body that stalls is given up",
                "a chunked body that stalls is given up",
            ),
            NOT_PLAYED,
        ),
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
        hides="tells of a broken body as of a caller who has left, and then answers 500 itself",
        effect="None but the status. The upstream gets a request that breaks off, and the connection is closed.",
        closed_by=OWN_PROTOCOL,
        cases={
            case.says: (replace(BROKEN_BODY, answers=(Answer(status=(400, 413, 431, 500)),)),)
            for case in (*bodies.CASES, *smuggling.CASES)
            if case.expects == (BROKEN_BODY,)
        },
    ),
)
