"""Our HTTP/1.1 server protocol, plugged into uvicorn: strict, bounded, and below ASGI where that is faster.

`protocol` owns a connection, `cycle` one request on it, `request` reads heads, `sweeper` looks at
deadlines. The app is served through ASGI; an exchange may take the cycle itself as its caller
(`scope["extensions"]["tiergate.caller"]`) and move its bytes without ASGI messages.
"""

from gateway.web.front.cycle import CALLER, Cycle
from gateway.web.front.options import FrontOptions
from gateway.web.front.protocol import FrontProtocol

__all__ = ["CALLER", "Cycle", "FrontOptions", "FrontProtocol"]
