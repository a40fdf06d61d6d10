"""The published keys of a running gateway, as an upstream reads them."""

from __future__ import annotations

import pytest

from gateway.assertions import Assertions
from gateway.core.assertion import base64url
from tests.test_assertions import ACCOUNT, NEW, NOW, OLD, POLICY, plan, verify

pytestmark = pytest.mark.slow

KEYS = "/_tiergate/jwks.json"


def test_the_keys_are_published_to_everybody_and_verify_what_the_gateway_signs(start_gateway):
    texts = [base64url(seed) for seed in (NEW, OLD)]
    gateway = start_gateway(TIERGATE_ASSERTION_KEYS=" , ".join(texts), TIERGATE_ASSERTION_AUDIENCE="my-api")
    answer = gateway.browser().get(KEYS)
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "max-age=300"
    assert [len(key["kid"]) for key in answer.json()["keys"]] == [43, 43]
    assert not any("d" in key for key in answer.json()["keys"])
    for seed in (NEW, OLD):
        signer = Assertions([seed], issuer=gateway.url, audience="my-api", entries=100)
        assert verify(signer.field_for(ACCOUNT, plan(), POLICY, NOW), answer.content)["aud"] == "my-api"
    assert not any(text in gateway.log.read_text() for text in texts)


def test_without_a_signing_key_the_set_is_empty(gateway):
    answer = gateway.browser().get(KEYS)
    assert (answer.status_code, answer.json()) == (200, {"keys": []})
    assert gateway.browser().head(KEYS).status_code == 200


def test_the_key_set_is_documented_with_its_own_type(gateway):
    schema = gateway.browser().get("/_tiergate/docs/openapi.json").json()
    assert "application/jwk-set+json" in schema["paths"][KEYS]["get"]["responses"]["200"]["content"]
