"""The stream holds its promises under rivals, crashes, lost answers and late writes (DESIGN.md section 10)."""

from hypothesis import HealthCheck, settings

from tests.history.stream_model import Rivals

TestRivalsInMemory = Rivals.TestCase
TestRivalsInMemory.settings = settings(
    max_examples=400, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
