"""Composition root: settings in, a Litestar app out. Everything is opened and closed here.

- `app` puts the metered edge in front of the app, and `worker` is what lasts as long as the app does;
- `opening` opens and closes every part;
- `tasks` go on beside requests.
"""

from gateway.app.app import create_app, protect
from gateway.app.opening import make_clock, open_runtime
from gateway.app.worker import serving

__all__ = ["create_app", "make_clock", "open_runtime", "protect", "serving"]
