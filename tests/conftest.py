"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.process_fixtures", "tests.support.redis_fixtures"]

# A loaded machine is no reason to fail: no time limit per example (pytest-timeout bounds the whole test).
settings.register_profile("s6", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# The gate tries the same examples each time; new ones are found at the desk.
settings.register_profile("ci", settings.get_profile("s6"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "s6"))
