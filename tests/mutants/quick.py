"""A pytest plugin: property tests look for a failure and do not go on to the smallest one."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile("mutants", deadline=None, phases=[Phase.explicit, Phase.generate])
settings.load_profile("mutants")
