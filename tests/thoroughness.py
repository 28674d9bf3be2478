"""How much of what could be tried a run tries: a sample, or all that CI tries with RELIABLE_EMAIL_THOROUGH=1.

A sample takes minutes, and finds most of what a change breaks. Hypothesis searches elsewhere in each run, so that many
runs together try as much as a thorough one.
"""

import os
from collections.abc import Iterable
from typing import Any

import pytest

IS_THOROUGH = os.environ.get("RELIABLE_EMAIL_THOROUGH", "") not in ("", "0")
only_thoroughly = pytest.mark.skipif(not IS_THOROUGH, reason="takes long: RELIABLE_EMAIL_THOROUGH=1 runs it")


def examples(thoroughly: int) -> int:
    """Return how many examples a search tries; a thorough run tries the number given."""
    return thoroughly if IS_THOROUGH else max(10, thoroughly // 5)


def step(thoroughly: int, *, otherwise: int) -> int:
    """Return the distance between two points at which something breaks; RELIABLE_EMAIL_CHAOS_STEP sets it for all."""
    return int(os.environ.get("RELIABLE_EMAIL_CHAOS_STEP") or (thoroughly if IS_THOROUGH else otherwise))


def each(names: Iterable[str], nth: int) -> list[Any]:
    """Return the parameters of a test that starts processes: each nth of the names, and all thoroughly."""
    return [pytest.param(name, marks=[only_thoroughly] if number % nth else []) for number, name in enumerate(names)]
