"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# How long a draw or a test takes is the machine's, which may have other things to do.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
