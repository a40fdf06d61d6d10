"""Notes what goes over the wire between the SDK and Stripe, or what stands in for it, and judges it by the SDK."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from gateway.sandbox import API_VERSION
from gateway.sandbox.wire.form import parse_form, parse_json
from tests.stripe_sdk.objects import faults_of
from tests.stripe_sdk.params import faults_of_request, template_of

Answer: TypeAlias = tuple[bytes, int, Mapping[str, str]]
Ask: TypeAlias = Callable[..., Awaitable[Answer]]

_BAD_REQUEST = 400


class Wire:
    """What was asked and answered.

    `checks_refused`: whether a request that was refused must be right too. Ours must; a test of the
    sandbox sends wrong ones on purpose, and then it is enough that they are refused.
    `judges_answers`: Stripe itself may say more than the SDK knows; the sandbox may not.
    """

    def __init__(self, *, checks_refused: bool, judges_answers: bool = True) -> None:
        self.checks_refused = checks_refused
        self.judges_answers = judges_answers
        self.asked: set[tuple[str, str]] = set()
        """Method and path, with names for ids."""
        self.faults: list[str] = []

    def noting(self, ask: Ask) -> Ask:
        """The same `request_async` of an SDK's HTTP client, noted."""

        async def ask_and_note(
            client: Any, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
        ) -> Answer:
            try:
                answer = await ask(client, method, url, headers, post_data)
            except Exception:
                self._note_request(method, url, post_data, was_taken=False)
                raise
            self._note_request(method, url, post_data, was_taken=answer[1] < _BAD_REQUEST)
            if method.lower() != "delete":  # what is left of a deleted object is its id
                self._note_answer(answer)
            return answer

        return ask_and_note

    def note_event(self, event: dict[str, Any]) -> None:
        """Judge a delivered event, unless it is of another version, or thin: then there is little to judge."""
        if event.get("api_version") == API_VERSION:
            self.faults += faults_of(event)

    def _note_request(self, method: str, url: str, post_data: Any, *, was_taken: bool) -> None:
        parts, verb = urlsplit(url), method.upper()
        text = post_data if verb == "POST" and post_data is not None else parts.query
        text = text.decode() if isinstance(text, bytes) else text
        self.asked.add((verb, template_of(verb, parts.path) or parts.path))
        if was_taken or self.checks_refused:
            is_json = verb == "POST" and parts.path.startswith("/v2/")
            self.faults += faults_of_request(verb, parts.path, parse_json(text) if is_json else parse_form(text))

    def _note_answer(self, answer: Answer) -> None:
        """A server that answers badly for a test names no version; the sandbox does, and so does Stripe."""
        if not self.judges_answers:
            return
        body, status, headers = answer
        if status < _BAD_REQUEST and headers.get("stripe-version") == API_VERSION:
            shown = json.loads(body)
            if not shown.get("deleted"):
                self.faults += faults_of(shown)
