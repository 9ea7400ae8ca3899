"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.process_fixtures", "tests.support.redis_fixtures"]

# A loaded machine is no reason to fail: no time limit per example (pytest-timeout bounds the whole test).
settings.register_profile("s6", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("s6")
