"""What the OpenAPI document says of the routes is so."""

import pytest

BEARER, API_KEY, NOTHING = "bearer", "api-key", "nothing"


@pytest.fixture
def description(gateway):
    return gateway.browser().get("/_tiergate/docs/openapi.json").json()


def credentials(description, method, path):
    """What may be sent, in words."""
    wanted = description["paths"][path][method].get("security", description["security"])
    return {next(iter(each), NOTHING) for each in wanted}


def test_a_key_may_be_sent_in_either_field(description):
    assert credentials(description, "get", "/api/v1/usage") == {BEARER, API_KEY}
    assert description["components"]["securitySchemes"][API_KEY] == {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key.",
    }


def test_an_admin_route_takes_a_token_only(description):
    assert credentials(description, "get", "/_tiergate/admin/customers") == {BEARER}
    assert credentials(description, "get", "/_tiergate/metrics") == {BEARER}


@pytest.mark.parametrize(
    "path",
    ["/_tiergate/health", "/_tiergate/jwks.json", "/_tiergate/errors", "/_tiergate/errors/{code}", "/api/v1/plans"],
)
def test_what_anybody_may_ask_says_so(description, path):
    assert credentials(description, "get", path) == {NOTHING}


def test_what_tells_more_to_some_says_so(description):
    assert credentials(description, "get", "/_tiergate/ready") == {NOTHING, BEARER}
    assert credentials(description, "post", "/api/v1/create-checkout") == {NOTHING, BEARER, API_KEY}


def test_the_webhook_is_known_by_its_signature(description):
    assert credentials(description, "post", "/api/v1/webhook") == {"stripe-signature"}


def test_not_being_ready_is_told_as_readiness(description):
    answers = description["paths"]["/_tiergate/ready"]["get"]["responses"]
    assert answers["503"]["content"] == answers["200"]["content"]


def test_a_body_that_may_be_left_out_is_not_required(gateway, description):
    paths = description["paths"]
    assert paths["/api/v1/create-checkout"]["post"]["requestBody"]["required"] is True
    assert paths["/api/v1/api-keys/{key_id}/rotate"]["post"]["requestBody"]["required"] is False
    assert paths["/_tiergate/admin/customers/{customer_id}/keys"]["post"]["requestBody"]["required"] is False
    customer_id, _, _ = gateway.customer()
    assert gateway.admin.post(f"/_tiergate/admin/customers/{customer_id}/keys").status_code == 201


def test_a_body_with_a_field_that_is_not_there_is_not_valid(gateway, description):
    schemas = description["components"]["schemas"]
    assert schemas["KeyRequest"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["KeyView"]
    answer = gateway.admin.post("/_tiergate/admin/customers", json={"user_id": "x", "name": "y"})
    assert answer.status_code == 400


def test_every_route_documents_that_two_credentials_are_refused(description):
    for path, item in description["paths"].items():
        for method, operation in item.items():
            wanted = operation.get("security", description["security"])
            if {} not in wanted and "stripe-signature" not in wanted[0]:
                assert "400" in operation["responses"], (method, path)
