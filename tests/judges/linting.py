"""Lints exchanges with httplint. Runs in the judges' environment, which has no Tiergate.

In: a JSON list of exchanges (`Exchange.told`). Out: a JSON list, for each exchange its notes as
[level, subject, name, summary], without those that praise or only explain.
"""

import base64
import json
import sys
import time

from httplint import HttpRequestLinter, HttpResponseLinter, levels


def lint(exchange):
    asked = HttpRequestLinter(start_time=time.time())
    asked.process_request_topline(*(part.encode("latin-1") for part in exchange["request_line"]))
    asked.base_uri = exchange["url"]
    asked.process_headers(_fields(exchange["request_fields"]))
    asked.feed_content(base64.b64decode(exchange["request_body"]))
    asked.finish_content(complete=True)
    answered = HttpResponseLinter(start_time=time.time(), _related=asked)
    answered.base_uri = exchange["url"]
    answered.is_head_response = exchange["request_line"][0] == "HEAD"
    answered.process_response_topline(*(part.encode("latin-1") for part in exchange["status_line"]))
    answered.process_headers(_fields(exchange["fields"]))
    answered.feed_content(base64.b64decode(exchange["body"]))
    answered.finish_content(complete=exchange["complete"])
    return [
        [note.level.value, note.subject, type(note).__name__, note.summary]
        for note in _flat(answered.notes)
        if note.level in {levels.WARN, levels.BAD} or "--all" in sys.argv
    ]


def _fields(pairs):
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def _flat(notes):
    for note in notes:
        yield note
        yield from _flat(note.subnotes)


if __name__ == "__main__":
    json.dump([lint(exchange) for exchange in json.load(sys.stdin)], sys.stdout)
