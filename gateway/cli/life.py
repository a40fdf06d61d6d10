"""The life of one paying customer, step by step, against real processes.

`tiergate demo --check` plays it and stops at the first difference; the crash tests play it
with a kill or a lost cache between any two steps. A step says what it does and what is
expected; `do` returns what was seen, or raises `Different`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx

from gateway.cli.house import NO_TLS, House

DAY_S = 86_400
PATIENCE_S = 60.0
"""How long the check waits for something that happens in the background."""
POLL_S = 0.1
_PLAIN: dict[str, Any] = {"timeout": 30, "verify": NO_TLS}
_KEY = re.compile(r"tg_(?:test|live)_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}")

GOOD_CARD = "4242 4242 4242 4242"
FAILS_AT_RENEWAL = "4000 0000 0000 0341"
DECLINES = "4000 0000 0000 9995"


class Different(Exception):
    """What was seen is not what was expected."""


def expect(condition: object, seen: object) -> None:
    """Raise `Different` with what was seen unless `condition` holds."""
    if not condition:
        raise Different(str(seen))


@dataclass(slots=True)
class World:
    """What the steps share: the house, the customer's browser, and what was learnt."""

    house: House
    browser: httpx.Client = field(default_factory=lambda: httpx.Client(follow_redirects=True, **_PLAIN))
    key: str = ""
    session_id: str = ""
    checkout_url: str = ""
    spent: int = 0
    """Units charged in the running window so far."""

    def call(self, method: str = "GET", path: str = "/v1/echo", **options: Any) -> httpx.Response:
        """One call of the sold API with the customer's key, on a fresh connection.

        A gateway that was just killed and restarted may still be adopting its cache, so refused
        connections and 503 are asked again for a moment; any other answer stands.
        """
        return self.patient(
            lambda: httpx.request(method, self.house.url + path, headers={"x-api-key": self.key}, **_PLAIN, **options)
        )

    def api(self, method: str, route: str, **options: Any) -> httpx.Response:
        """One call of the billing routes as the customer."""
        return self.call(method, f"/api/v1/{route}", **options)

    def patient(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """Ask until the answer is neither a broken connection nor 503."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = ask()
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            else:
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                    return answer
            time.sleep(POLL_S)

    def advance(self, seconds: float) -> None:
        """Move the simulated clock, with everything that falls due on the way, and wait for the events."""
        self.house.stripe("POST", "/_sandbox/clock/advance", {"seconds": seconds})
        drain = {"timeout_s": 25}
        self.until(
            "all events are delivered",
            lambda: self.house.stripe("POST", "/_sandbox/deliveries/drain", drain)["drained"],
        )

    def subscription(self) -> dict[str, Any]:
        """What the customer is told about its subscription."""
        answer: dict[str, Any] = self.api("GET", "subscription").json()
        return answer

    def until(self, what: str, holds: Callable[[], object]) -> None:
        """Wait for something that a background worker brings about."""
        deadline = time.monotonic() + PATIENCE_S
        seen: object = None
        while time.monotonic() < deadline:
            try:
                seen = holds()
            except (httpx.TransportError, KeyError, ValueError) as error:
                seen = error
            else:
                if seen is True:
                    return
            time.sleep(POLL_S)
        raise Different(f"{what}: not within {PATIENCE_S:.0f} s; last seen: {seen!r}")

    def quota(self) -> tuple[int, int]:
        """Units used and allowed in the billing period."""
        row = self.period()
        return int(row["used"]), int(row["limit"])

    def period(self) -> dict[str, Any]:
        """What the customer is told about the quota of the billing period."""
        usage = self.api("GET", "usage").json()
        row: dict[str, Any] = next(row for row in usage["limits"] if row["name"] == "period")
        return row

    def fill_in(self, url: str, form_containing: str = "", **values: str) -> httpx.Response:
        """Open a page and submit one of its forms as a browser would."""
        page = self.patient(lambda: self.browser.get(url))
        forms = [
            form for form in read_forms(page.text) if form_containing in form.text or form_containing in form.action
        ]
        expect(forms, f"no form with {form_containing!r} on {url} ({page.status_code})")
        form = forms[0]
        return self.patient(
            lambda: self.browser.post(urljoin(str(page.url), form.action), data={**form.fields, **values})
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a life."""

    name: str
    expected: str
    do: Callable[[World], str]


@dataclass(slots=True)
class Form:
    """A form of a page: where it goes, what it sends by itself, and the text in it."""

    action: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    text: str = ""


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = True
            self.forms.append(Form(action=given.get("action", "")))
        elif self._open and tag in {"input", "button"} and given.get("name"):
            self.forms[-1].fields.setdefault(given["name"], given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.forms[-1].text += data


def read_forms(html: str) -> list[Form]:
    """The forms of a page, in order."""
    parser = _Forms()
    parser.feed(html)
    return parser.forms


def find_key(html: str) -> str | None:
    """The API key that a page shows, if any."""
    found = _KEY.search(html)
    return found.group() if found is not None else None
