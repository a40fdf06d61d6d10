"""Stripe's errors: `{"error": {"type", "code", "message", "param"}}` with their statuses."""

from __future__ import annotations

from urllib.parse import urlsplit

from gateway.sandbox.cards import CardRefused
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.records import Json
from gateway.sandbox.world import NoSuchRecord


class StripeProblem(Exception):
    """An answer that is an error. `kind` is Stripe's `type`."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        decline_code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.code = code
        self.param = param
        self.decline_code = decline_code

    def body(self, request_id: str) -> Json:
        """The JSON body; absent members are left out, as Stripe does."""
        error: Json = {"type": self.kind, "message": self.message}
        for name in ("code", "param", "decline_code"):
            value = getattr(self, name)
            if value is not None:
                error[name] = value
        if self.code is not None:
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return {"error": error}


def check_url(url: str, param: str) -> None:
    """Raises StripeProblem: no address that a browser can be sent to."""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise invalid(f"Not a valid URL: {url}", param, "url_invalid")


def missing(param: str) -> StripeProblem:
    """A required parameter was not sent."""
    return StripeProblem(f"Missing required param: {param}.", code="parameter_missing", param=param)


def unknown_param(param: str) -> StripeProblem:
    """A parameter that the endpoint does not take."""
    return StripeProblem(f"Received unknown parameter: {param}", code="parameter_unknown", param=param)


def invalid(message: str, param: str, code: str | None = None) -> StripeProblem:
    """A parameter whose value cannot be."""
    return StripeProblem(message, code=code, param=param)


def unknown_url(method: str, path: str) -> StripeProblem:
    """A path that the sandbox (or Stripe) does not serve."""
    return StripeProblem(
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
        "https://support.stripe.com/.",
        status=404,
    )


def rate_limited() -> StripeProblem:
    """More requests than Stripe takes."""
    return StripeProblem("Request rate limit exceeded.", status=429, code="rate_limit")


def problem_of(error: Exception, *, in_path: bool = False) -> StripeProblem:
    """The Stripe error for what an act raised. `in_path`: the missing record is the URL's own."""
    if isinstance(error, StripeProblem):
        return error
    if isinstance(error, CardRefused):
        return StripeProblem(
            error.message, status=402, kind="card_error", code=error.code, decline_code=error.decline_code
        )
    if isinstance(error, NoSuchRecord):
        return StripeProblem(
            str(error),
            status=404 if in_path else 400,
            code="resource_missing",
            param="id" if in_path else error.kind,
        )
    if isinstance(error, Refused):
        return StripeProblem(error.message, code=error.code, param=error.param)
    raise error
