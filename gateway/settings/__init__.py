"""Process settings: the only reader of the environment and of `.env`.

Every setting has a unit, bounds and a consequence. Secrets have no default and never
appear in an error: a fault names the variable, says what is wrong and shows an example.

- `settings` declares them all, and `rules` says what one may hold, also beside others;
- `loading` reads them, and tells all faults at once;
- `examples` shows those that have no default;
- `service_links` are variables that are called like settings and are none.
"""

from gateway.settings.examples import EXAMPLES, NO_UPSTREAM
from gateway.settings.loading import SettingsInvalid, find_policy_dir, load_settings
from gateway.settings.service_links import service_links
from gateway.settings.settings import Settings

__all__ = [
    "EXAMPLES",
    "NO_UPSTREAM",
    "Settings",
    "SettingsInvalid",
    "find_policy_dir",
    "load_settings",
    "service_links",
]
