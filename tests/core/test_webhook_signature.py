"""Signatures that every Standard Webhooks library verifies."""

import pytest

from gateway.core.webhook_signature import read_secret, sign_event

VECTOR_KEY = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_vector_of_the_specifications_own_libraries_comes_out():
    secret = read_secret(f"whsec_{VECTOR_KEY}")
    signature = sign_event(
        [secret], event_id="msg_p5jXN8AQM9LWM0D4loKWxJek", at=1614265330, body=b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_secrets_are_changed_each_signs():
    secrets = [read_secret(f"whsec_{VECTOR_KEY}"), bytes(32)]
    both = sign_event(secrets, event_id="a", at=1, body=b"{}").split(" ")
    assert both == [sign_event([secret], event_id="a", at=1, body=b"{}") for secret in secrets]


@pytest.mark.parametrize(
    "text",
    ["", VECTOR_KEY, "whsec_", "whsec_c2hvcnQ=", "whsec_not base64 at all, not base64", "whsec_" + "A" * 88 + "AAAA"],
    ids=["empty", "no prefix", "nothing", "short", "not base64", "long"],
)
def test_what_is_no_secret_is_refused_without_repeating_it(text):
    with pytest.raises(ValueError, match=r"whsec_|bytes") as caught:
        read_secret(text)
    assert VECTOR_KEY not in str(caught.value)
