"""Why proxies differ: each group of raw cases in which nginx or Caddy does otherwise, and the reason in a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Differences with one reason."""

    title: str
    why: str
    cases: str
    """A regular expression for `theme: case`."""


GROUPS = (
    Group(
        "Paths that are read in more than one way",
        "nginx and Caddy clean a path (decode it, resolve dots, merge slashes) to decide on it and forward the bytes as"
        " they came; here a path with two readings is refused, so that what was matched is what is forwarded.",
        r"targets: .*(segment|dot|slash|backslash|semicolon|double escape|encoded|escapes? that|overlong|UTF-8|NUL"
        r"|escape|percent|line feed|carriage return|DEL|behind two slashes)(?!.*reserved).* is refused"
        r"|smuggling: a body behind a refused target.*|pipelining: a refused target.*",
    ),
    Group(
        "Bytes that a URI cannot hold",
        "RFC 3986 lets none of them stand unencoded, and every parser behind would decide for itself what they are;"
        " the others pass most of them on.",
        r"targets: .*(bytes? beyond|byte that|quotation|angle|brace|bracket|caret|backtick|a bar|control).* is refused",
    ),
    Group(
        "This gateway's own paths",
        "Its routes are kept from the API in every spelling; the others reserve nothing.",
        r"targets: .*(reserved path|billing path).*",
    ),
    Group(
        "Targets that are not a path",
        "A proxy may get absolute targets and servers must take them (RFC 9112 section 3.2.2); here nothing is chosen"
        " by what a caller says twice, so one is refused, and a fragment, which no request holds, too.",
        r"(targets: .*(fragment|whole server|asterisk|authority form|absolute target).*|host: a target in absolute"
        r" form.*)",
    ),
    Group(
        "Long targets",
        "The limits differ, here 8,192 bytes (RFC 9110 section 4.1 asks for 8,000); a request that was read whole and"
        " refused keeps its connection here.",
        r"targets: .*(too long|100,000 bytes).*|methods: a method of 100,000.*",
    ),
    Group(
        "Empty queries",
        "Caddy and nginx keep the question mark of an empty query, here it is dropped; RFC 3986 section 6.2.3 allows to"
        " take both for one.",
        r"targets: an empty query.*",
    ),
    Group(
        "Request lines",
        "RFC 9112 section 3 has single spaces between three words; nginx skips more of them and reads what follows the"
        " version, and answers what is no request line in its own words.",
        r"targets: (two spaces|a tab|a space|no target|an empty target|no method).*|framing: a space behind the"
        r" version.*"
        r"|upgrade: (a binary line|the preface).*",
    ),
    Group(
        "Versions",
        "Here what is HTTP in another version is a 505 and what is no version a 400; nginx takes two digits for a minor"
        " version.",
        r"framing: (HTTP/\S+ in a request line|a version).*",
    ),
    Group(
        "Line ends",
        "RFC 9112 section 2.2 lets a recipient take a bare line feed for a line's end, and what reads it otherwise sees"
        " another message; here it is refused.",
        r"framing: .*line feed.*|framing: two carriage returns.*|smuggling: .*(line feed beside|last chunk that"
        r" ends in).*"
        r"|fields: a bare line feed.*",
    ),
    Group(
        "Empty lines before a request",
        "RFC 9112 section 2.2 asks to ignore one at least; Caddy refuses it.",
        r"pipelining: an empty line.*",
    ),
    Group(
        "Folded lines",
        "RFC 9112 section 5.2 has a server refuse them or replace the fold; Caddy joins the lines, nginx and this"
        " gateway refuse.",
        r"(fields|framing|host|smuggling): .*folded.*|framing: a coding that goes on on.*",
    ),
    Group(
        "Fields that are malformed",
        "nginx drops a field line with an odd name and goes on without it, and passes control bytes and carriage"
        " returns on; here the request is refused, since somebody may count the line.",
        r"fields: .*(name|value|line without).* is refused",
    ),
    Group(
        "Names with odd letters",
        "nginx drops fields whose names hold other letters than A to Z, digits and hyphens (`ignore_invalid_headers`,"
        " `underscores_in_headers`), although RFC 9110 section 5.6.2 allows them.",
        r"fields: all that may stand in a name.*",
    ),
    Group(
        "Many and large fields",
        "Limits differ: here 256 fields and 64 KiB, answered with 431; nginx takes 4 times 8 KiB and says 400,"
        " Caddy takes 1 MiB.",
        r"fields: (too many|a field that is too long|a name that is too long|fields that are too long).*",
    ),
    Group(
        "Codings other than one chunked",
        "RFC 9112 section 6.1 suggests 501 for a coding that is not understood, which both others say for whatever is"
        " not one `chunked`; here it is 400, as for every framing that is refused. None of the three goes on.",
        r"framing: a coding (?!on a folded|that goes|behind|on HTTP/1.0|in a folded|before a length).*"
        r"|smuggling: TE\.TE: (?!a coding behind|a folded).*",
    ),
    Group(
        "A length beside a coding, and codings in HTTP/1.0",
        "RFC 9112 section 6.1 has a proxy forward only the coding or refuse; Caddy goes on with the coding, nginx and"
        " this gateway refuse, because the sender and some hop before may have counted otherwise.",
        r"framing: a (coding|length)( of 0)? (before|with) a.*|framing: a coding on HTTP/1.0.*"
        r"|smuggling: (CL\.TE|TE\.CL).*|smuggling: a request behind a length of HTTP/1.0.*",
    ),
    Group(
        "One length twice",
        "RFC 9112 section 6.3 lets a recipient take equal lengths for one; Caddy does.",
        r"framing: the same length twice.*",
    ),
    Group(
        "White space around lengths and codings",
        "RFC 9110 section 5.5 makes spaces and tabs around a value no part of it; nginx counts the tab.",
        r"framing: white space around.*",
    ),
    Group(
        "Chunks and trailers",
        "Here a chunk's size line, its end and trailer fields are read by the letter; nginx takes bare line feeds,"
        " extensions and trailers of any kind and length, Caddy some trailers.",
        r"bodies: .*breaks? the request off|smuggling: a request behind a (chunk|last chunk).*",
    ),
    Group(
        "Bodies that are announced too large",
        "Here and in nginx they are refused by the length that was announced; Caddy has no limit and waits for"
        " the body.",
        r"framing: a huge length.*",
    ),
    Group(
        "Hosts",
        "A Host that is not a name or an address with a port is refused here, as RFC 9112 section 3.2 asks; nginx takes"
        " many of them, Caddy some.",
        r"host: a Host.*",
    ),
    Group(
        "Methods",
        "Policy names methods, so only those it can name are forwarded, and TRACE and CONNECT never; the others forward"
        " what is a token, or refuse with another status.",
        r"methods: (?!Max|OPTIONS that|a method of 100,000).*|(smuggling|pipelining): .*refused method.*",
    ),
    Group(
        "Max-Forwards",
        "RFC 9110 section 7.6.2 has every hop count it down on OPTIONS and end the request at 0; the others pass"
        " it on.",
        r"methods: (Max-Forwards|OPTIONS that).*",
    ),
    Group(
        "Keys",
        "Only this gateway asks for one.",
        r"(forwarding|smuggling|pipelining): .*(without a key|refused key|two keys|a refusal of HTTP/1.0).*"
        r"|forwarding: a key in Authorization (goes no further|opens)",
    ),
    Group(
        "What callers say about themselves",
        "Identities, keys and addresses of a caller's own making end here; to the others they are fields like any"
        " other, unless the operator removes them.",
        r"forwarding: .*(identit|address|Forwarded|cookie|what a caller says).*",
    ),
    Group(
        "Fields of the connection",
        "RFC 9110 section 7.6.1 ends them at every hop, with all that Connection lists; nginx removes the best known"
        " only, and Caddy passes `TE: trailers`.",
        r"forwarding: (Keep-Alive|Proxy-|TE |Trailer|a field that Connection|fields (that|listed)|empty members"
        r"|Connection).*",
    ),
    Group(
        "Offers to switch protocols",
        "This gateway takes up WebSockets only and passes no other offer on; nginx passes HTTP2-Settings, Caddy the"
        " whole offer.",
        r"upgrade: .*offer.*|smuggling: a request behind an upgrade.*",
    ),
    Group(
        "Expectations",
        "RFC 9110 section 10.1.1 lets a server answer an unknown expectation with 417 or ignore it; Caddy passes Expect"
        " on to the upstream, here it ends, as the body has been asked for already.",
        r"(expect|smuggling): .*(expectation|wait).*",
    ),
    Group(
        "Several values in one order",
        "Caddy keeps the order of values under one name, but sorts the names.",
        r"fields: (order and repetitions|conditions, ranges|90 fields).*",
    ),
    Group(
        "Answers with two framings, or none that is clear",
        "A response that two readers could delimit otherwise is a 502 here; nginx and Caddy choose one reading, or wait"
        " for more of it.",
        r"responses: .*(length|coding|chunked (is|twice)).* is a 502|responses: chunked twice.*",
    ),
    Group(
        "Answers that are malformed",
        "Status lines, versions, field lines and interim answers are read by the letter here, and the caller gets"
        " a 502;"
        " the others repair them, pass them on, or wait.",
        r"responses: .* is a 502(, asked.*)?$",
    ),
    Group(
        "Answers whose chunks are malformed",
        "Here the caller gets a 502 while nothing was sent, or a response that breaks off; nginx and Caddy have sent"
        " the head by then, and nginx reads some of the chunks all the same.",
        r"responses: .* in an answer breaks it off",
    ),
    Group(
        "Interim answers",
        "RFC 9110 section 15.2 has a proxy forward or drop them; this nginx takes the first for the response.",
        r"responses: interim answers are swallowed.*",
    ),
)


def group_of(case: str) -> Group | None:
    """The first group that a case belongs to."""
    return next((group for group in GROUPS if re.fullmatch(group.cases, case)), None)
