"""Events as e-mail, through the seller's own mail server. The conversation runs in a thread."""

from __future__ import annotations

import asyncio
import json
import smtplib
import ssl
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Literal

from gateway.core.alerts import (
    CREDITS_REACHED,
    CUSTOMERS_MISSING,
    DRIFT_REPAIRED,
    EVENTS_DEAD,
    NEEDS_ATTENTION,
    THRESHOLD_REACHED,
)
from gateway.notify.channel import NotTaken


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MailServer:
    """Where mail is handed in, and how."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    user: str | None
    password: str | None
    timeout_s: float = 5.0
    """For each step of the conversation, of which there are about eight."""
    trust: ssl.SSLContext | None = None
    """Whose certificates are believed; None: the system's."""


class EmailChannel:
    """Mail to the seller. `to`: one or more addresses; one message goes to all of them."""

    name = "email"

    def __init__(self, server: MailServer, *, sender: str, to: tuple[str, ...]) -> None:
        self._server = server
        self._sender = sender
        self._to = to

    async def send(self, event_id: str, body: str) -> None:
        """As `Channel.send`. The message's id is made of the event's, so that a mail box can tell repeats."""
        message = write_message(event_id, json.loads(body), sender=self._sender, to=self._to)
        await asyncio.to_thread(self._hand_in, message)

    async def aclose(self) -> None:
        """Nothing stays open between two messages."""

    def _hand_in(self, message: EmailMessage) -> None:
        try:
            with closing(self._connect()) as smtp:
                if self._server.user is not None:
                    smtp.login(self._server.user, self._server.password or "")
                refused = smtp.send_message(message)
                with suppress(smtplib.SMTPException, OSError):
                    smtp.quit()
        except smtplib.SMTPResponseException as error:
            raise NotTaken(f"the mail server answered {error.smtp_code}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise NotTaken(f"no answer from the mail server: {type(error).__name__}") from None
        if refused:
            codes = ", ".join(str(code) for code, _ in refused.values())
            raise NotTaken(f"the mail server refused {len(refused)} of {len(self._to)} addresses: {codes}")

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        context = server.trust or ssl.create_default_context()
        if server.security == "tls":
            return smtplib.SMTP_SSL(server.host, server.port, timeout=server.timeout_s, context=context)
        smtp = smtplib.SMTP(server.host, server.port, timeout=server.timeout_s)
        if server.security == "starttls":
            try:
                smtp.starttls(context=context)
            except BaseException:
                smtp.close()
                raise
        return smtp


_DRIFT_WORDS = (
    "A reconciliation of {checked:,} customers found {drifted:,} that were not as Stripe has them, and repaired them."
    " Events of Stripe did not come, or were not worked on: see `tiergate doctor`, `tiergate events list`, and"
    " `tiergate audit list --actor reconciliation` for what was changed. Where somebody must act, that is told"
    " by itself (`billing.needs_attention`)."
)
_MISSING_WORDS = (
    "Of {checked:,} customers, Stripe does not have {held:,} that have access by a subscription. That is more than is"
    " ended without a word, so these keep their access ({ended:,} others lost it), and no reconciliation ends anybody"
    " until somebody says how many may be. `tiergate sync --all --dry-run` shows whom Stripe does not have. If they"
    " were deleted on purpose: `tiergate sync --all --allow-ending N` with their number. If not, look at"
    " STRIPE_SECRET_KEY and TIERGATE_LEDGER_URL, and once it is mended: `tiergate sync --all --allow-ending 0`."
)
_DEAD_WORDS = (
    "{dead:,} events of Stripe are dead, the newest is {newest_id} ({newest_type}). What they told has no effect"
    " until somebody acts: `tiergate events list --status dead` says why, `tiergate events replay` tries again."
)

_STALE_WORDS = (
    "Some customer was last read of Stripe at {oldest}; a reconciliation reads everybody every {expected_s:,} seconds."
    " What changed at Stripe since, and was not told by an event, has no effect: see `tiergate doctor`, and"
    " `tiergate sync --all`, which says what fails."
)

_ATTENTION_WORDS = (
    "{user_id} (customer {customer_id}): {finding}: {detail}. {what_to_do} Then"
    " `tiergate sync --user-id {user_id}`. This is told once a day until then."
)


def write_message(event_id: str, event: dict[str, Any], *, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """One event for people, with the event itself below."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{event_id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    subject, text = _words(event)
    message["Subject"] = " ".join(subject.split())  # no line end, whatever a name holds
    message.set_content(f"{text}\n\n{json.dumps(event, indent=2)}\n")
    return message


def _words(event: dict[str, Any]) -> tuple[str, str]:
    data = event["data"]
    if event["type"] == CREDITS_REACHED:
        return _credit_words(data)
    if event["type"].startswith("billing."):
        return _billing_words(event["type"], data)
    if event["type"] != THRESHOLD_REACHED:
        return "Tiergate: a test", "This is a test. Alerts of your gateway reach you on this way."
    whose = f"{data['user_id']} (customer {data['customer_id']})"
    of_key = f" of key {data['key_id']}" if data["key_id"] is not None else ""
    ends = _instant_words(data["window_ends_at"])
    text = (
        f"{whose} has used {data['used']:,} of {data['limit']:,} {data['meter']}, the limit {data['limit_name']!r}"
        f"{of_key} of tier {data['tier']!r}. The count starts again at {ends}."
    )
    return f"{data['user_id']}: {data['percent']} % of {data['limit_name']} used", text


def _billing_words(kind: str, data: dict[str, Any]) -> tuple[str, str]:
    if kind == DRIFT_REPAIRED:
        return f"Tiergate: {data['drifted']:,} customers were not as Stripe had them", _DRIFT_WORDS.format(**data)
    if kind == CUSTOMERS_MISSING:
        return f"Tiergate: Stripe does not have {data['held']:,} customers; they keep their access", (
            _MISSING_WORDS.format(**data)
        )
    if kind == EVENTS_DEAD:
        return f"Tiergate: {data['dead']:,} events of Stripe were given up", _DEAD_WORDS.format(**data)
    if kind == NEEDS_ATTENTION:
        return f"Tiergate: {data['user_id']} needs somebody to act: {data['finding']}", _ATTENTION_WORDS.format(**data)
    oldest = _instant_words(data["oldest_at"])
    return "Tiergate: customers were not read of Stripe for long", _STALE_WORDS.format(oldest=oldest, **data)


def _credit_words(data: dict[str, Any]) -> tuple[str, str]:
    whose = f"{data['user_id']} (customer {data['customer_id']})"
    ends = (
        "They do not expire" if data["expires_at"] is None else f"They expire at {_instant_words(data['expires_at'])}"
    )
    text = (
        f"{whose} has used {data['used']:,} of {data['units']:,} {data['meter']} in credits, of grant"
        f" {data['grant_id']}. {ends}."
    )
    return f"{data['user_id']}: {data['percent']} % of credits in {data['meter']} used", text


def _instant_words(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M UTC")
