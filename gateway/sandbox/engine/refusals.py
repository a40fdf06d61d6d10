"""Why an act is not carried out, in Stripe's words; the HTTP side gives it Stripe's shape."""

from __future__ import annotations


class Refused(Exception):
    """The request asks for something that cannot be. `param` is the parameter at fault, `code` Stripe's."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
