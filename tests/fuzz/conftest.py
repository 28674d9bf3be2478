"""How long to search: a moment in every test run, longer by `make fuzz`."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.thoroughness import examples

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or examples(300))

fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A long search may take as long as it was asked to."""
    if EXAMPLES > 1000:
        for item in items:
            item.add_marker(pytest.mark.timeout(1800))
