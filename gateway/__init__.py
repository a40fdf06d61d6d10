"""Tiergate: put it in front of an HTTP API and the API is for sale.

The `tiergate` command runs it as a reverse proxy; `gateway.app.protect` puts it in front of
an ASGI app in the same process.
"""

__version__ = "0.1.0"
