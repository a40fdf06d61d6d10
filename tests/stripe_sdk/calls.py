"""Which requests a program can make of Stripe: read from its source, and from the SDK's."""

from __future__ import annotations

import ast
import inspect
import re
from operator import attrgetter
from pathlib import Path

import stripe

from tests.stripe_sdk.params import template_of

_REQUEST = re.compile(r'_request_async\(\s*"(\w+)",\s*"([^"]+)"')


def requests_in(package: Path) -> set[tuple[str, str]]:
    """Method and path of every call of the SDK's services that stands in a package."""
    chains = {chain for file in package.glob("*.py") for chain in _chains(ast.parse(file.read_text("utf-8")))}
    client = stripe.StripeClient("sk_test_reads_only")
    return {_request_of(attrgetter(chain)(client)) for chain in chains}


def _chains(tree: ast.AST) -> set[str]:
    """`v1.checkout.sessions.create_async` of `self._client.v1.checkout.sessions.create_async`, called or passed on."""
    texts = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    found = [re.fullmatch(r"(?:.*\.)?(v[12]\.[\w.]+_async)", text) for text in texts]
    return {match[1] for match in found if match}


def _request_of(service_method: object) -> tuple[str, str]:
    matched = _REQUEST.search(inspect.getsource(service_method))  # type: ignore[arg-type]
    assert matched is not None, service_method
    verb, path = matched[1].upper(), re.sub(r"\{\w+\}", "x", matched[2])
    return verb, template_of(verb, path) or path
