"""Mail to the seller, through a real conversation with a small mail server."""

import json

import pytest

from gateway.core.alerts import (
    CreditAlert,
    QuotaAlert,
    alert_body,
    customers_missing,
    drift_repaired,
    events_dead,
    needs_attention,
    stale,
    trial_body,
)
from gateway.notify import EmailChannel, NotTaken
from gateway.notify import MailServer as Place
from gateway.notify.email import write_message
from tests.fakes.certificate import certificate
from tests.fakes.mail_server import MailServer

ALERT = QuotaAlert(
    customer_id="c1",
    user_id="zoë",
    tier="pro",
    limit_name="period",
    counter="q:requests:period",
    meter="requests",
    key_id=None,
    used=80_100,
    limit=100_000,
    percent=80,
    window_starts_at=1_799_000_000,
    window_ends_at=1_800_000_000,
    at=1_799_500_000,
)


def channel(server, *, security="none", user=None, password=None, trust=None, timeout_s=5.0):
    place = Place(
        host="localhost",
        port=server.port,
        security=security,
        user=user,
        password=password,
        timeout_s=timeout_s,
        trust=trust,
    )
    return EmailChannel(place, sender="alerts@example.com", to=("a@example.org", "b@example.org"))


async def test_an_alert_is_a_sentence_for_people_and_the_event_below():
    async with MailServer() as server:
        await channel(server).send("alert_1", alert_body(ALERT))
    (mail,) = server.mails
    assert mail.to == ["a@example.org", "b@example.org"]
    assert mail.message["Subject"] == "zoë: 80 % of period used"
    assert mail.message["Message-ID"] == "<alert_1@example.com>"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    text = mail.message.get_content()
    assert "has used 80,100 of 100,000 requests" in text
    assert "2027-01-15 08:00 UTC" in text
    assert json.loads(text[text.index("{") :])["data"]["percent"] == 80


@pytest.mark.parametrize(
    ("expires_at", "words"), [(1_800_000_000, "They expire at 2027-01-15 08:00 UTC."), (None, "They do not expire.")]
)
async def test_an_alert_about_credits_says_whose_how_many_and_until_when(expires_at, words):
    alert = CreditAlert(
        customer_id="c1",
        user_id="zoë",
        tier="pro",
        grant_id="cr_1",
        meter="tokens",
        used=4_000,
        units=5_000,
        percent=80,
        granted_at=1_799_000_000,
        expires_at=expires_at,
        at=1_799_500_000,
    )
    async with MailServer() as server:
        await channel(server).send(alert.alert_id, alert_body(alert))
    (mail,) = server.mails
    assert mail.message["Subject"] == "zoë: 80 % of credits in tokens used"
    text = mail.message.get_content()
    assert f"has used 4,000 of 5,000 tokens in credits, of grant cr_1. {words}" in text


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_mail_and_password_go_under_tls(tmp_path, security):
    context, trust = certificate("localhost", tmp_path)
    async with MailServer(context=context, is_tls_first=security == "tls") as server:
        way = channel(server, security=security, user="u", password="hunter2", trust=trust)
        await way.send("alert_1", trial_body(0))
    (mail,) = server.mails
    assert mail.is_secret
    assert mail.login == ("u", "hunter2")


async def test_without_tls_where_tls_is_wanted_nothing_is_sent():
    async with MailServer() as server:
        with pytest.raises(NotTaken, match="SMTPNotSupportedError"):
            await channel(server, security="starttls", user="u", password="hunter2").send("alert_1", trial_body(0))
    assert "AUTH" not in server.commands
    assert server.mails == []


async def test_a_certificate_of_nobody_we_trust_is_refused(tmp_path):
    context, _ = certificate("localhost", tmp_path)
    async with MailServer(context=context) as server:
        with pytest.raises(NotTaken, match="SSLCertVerificationError"):
            await channel(server, security="starttls", user="u", password="hunter2").send("alert_1", trial_body(0))
    assert "AUTH" not in server.commands


@pytest.mark.parametrize(
    ("command", "answer", "error"),
    [
        ("MAIL", b"451 later\r\n", "answered 451"),
        ("RCPT", b"550 nobody\r\n", "SMTPRecipientsRefused"),
        ("DATA", b"554 no\r\n", "answered 554"),
    ],
)
async def test_a_refusal_is_not_taken(command, answer, error):
    async with MailServer(answers={command: answer}) as server:
        with pytest.raises(NotTaken, match=error):
            await channel(server).send("alert_1", trial_body(0))


async def test_a_server_that_says_nothing_is_waited_for_only_so_long():
    async with MailServer(hangs=True) as server:
        with pytest.raises(NotTaken, match="no answer from the mail server"):
            await channel(server, timeout_s=0.3).send("alert_1", trial_body(0))


async def test_a_name_with_a_line_end_makes_no_header(tmp_path):
    del tmp_path
    event = json.loads(alert_body(ALERT))
    event["data"]["user_id"] = "ada\r\nBcc: eve@example.com"
    async with MailServer() as server:
        await channel(server).send("alert_1", json.dumps(event))
    (mail,) = server.mails
    assert mail.message["Bcc"] is None
    assert mail.to == ["a@example.org", "b@example.org"]


@pytest.mark.parametrize(
    ("alert", "subject", "words"),
    [
        (
            drift_repaired(started_at=1, checked=1200, drifted=3, at=2),
            "Tiergate: 3 customers were not as Stripe had them",
            "A reconciliation of 1,200 customers found 3",
        ),
        (
            customers_missing(started_at=1, held=30, ended=10, checked=1200, at=2),
            "Tiergate: Stripe does not have 30 customers; they keep their access",
            "no reconciliation ends anybody until somebody says how many may be",
        ),
        (
            events_dead(dead=2, newest_type="invoice.paid", newest_id="evt_1", died_at=5000, at=6000),
            "Tiergate: 2 events of Stripe were given up",
            "the newest is evt_1 (invoice.paid)",
        ),
        (
            stale(oldest_at=0, expected_s=86_400, at=400_000),
            "Tiergate: customers were not read of Stripe for long",
            "everybody every 86,400 seconds",
        ),
        (
            needs_attention(
                customer_id="c1", user_id="ada", code="unmapped-price", detail="no", what_to_do="Map it.", at=2
            ),
            "Tiergate: ada needs somebody to act: unmapped-price",
            "Map it. Then `tiergate sync --user-id ada`",
        ),
    ],
    ids=["drift", "held", "dead events", "stale", "attention"],
)
def test_an_alert_about_billing_says_what_to_look_at(alert, subject, words):
    event = json.loads(alert_body(alert))
    message = write_message(alert.alert_id, event, sender="a@example.com", to=("b@example.com",))
    assert message["Subject"] == subject
    assert words in message.get_content()
