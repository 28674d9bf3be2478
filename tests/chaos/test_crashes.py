"""A process ends at every step of its way; nothing is lost, nothing is sent twice, and doubts are declared.

RELIABLE_EMAIL_CHAOS_STEP=1 takes every point, a thorough run each sixth one, and any other run each twelfth.
"""

import pytest

from tests.chaos.harness import (
    Toll,
    kill_enqueue_everywhere,
    kill_flying_worker_everywhere,
    kill_two_lines_everywhere,
    kill_worker_everywhere,
    suspend_worker_everywhere,
)
from tests.thoroughness import step

STEP = step(6, otherwise=12)
FLIGHT_STEP = 1 if STEP == 1 else 3 * STEP

pytestmark = pytest.mark.timeout(900)


def told(toll: Toll, using: str, what: str) -> None:
    """For `make chaos`, which shows output."""
    print(f"\n{what}, {using.split('_')[1]}: {toll}")  # noqa: T201


def test_a_worker_killed_at_any_point_loses_and_doubles_nothing(using: str) -> None:
    """SIGKILL at each I/O and database call; a fresh worker finishes."""
    toll = kill_worker_everywhere(using, step=STEP)
    told(toll, using, "killed")
    assert (toll.findings, toll.lost, toll.duplicates) == ([], 0, 0)
    assert toll.points * STEP > 50, "the way of a worker has many points"
    assert toll.unknown <= 2 * toll.points, "one message in doubt for each crash, which has two recipients at most"


def test_a_worker_asleep_over_its_lease_loses_and_doubles_nothing(using: str) -> None:
    """SIGSTOP, the lease ends, another worker goes on, SIGCONT; the sleeper may only resolve its own doubt."""
    toll = suspend_worker_everywhere(using, step=STEP)
    told(toll, using, "suspended")
    assert (toll.findings, toll.lost, toll.duplicates) == ([], 0, 0)
    assert toll.points * STEP > 50


def test_a_worker_of_two_connections_killed_at_any_point_loses_and_doubles_nothing(using: str) -> None:
    """What one line wrote for both is whole, and each connection leaves one message in doubt at most."""
    toll = kill_two_lines_everywhere(using, step=FLIGHT_STEP)
    told(toll, using, "killed with two connections")
    assert (toll.findings, toll.lost, toll.duplicates) == ([], 0, 0)
    assert toll.points * FLIGHT_STEP > 60
    assert toll.unknown <= 3 * toll.points, "two messages in doubt for each crash, one of which has two recipients"


def test_a_worker_killed_with_messages_in_flight_loses_nothing(using: str) -> None:
    """Whatever flew is sent again, as these messages allow: all arrive, and what flew at most twice."""
    toll = kill_flying_worker_everywhere(using, step=FLIGHT_STEP)
    told(toll, using, "killed with messages in flight")
    assert (toll.findings, toll.lost) == ([], 0)
    assert toll.points * FLIGHT_STEP > 40
    assert toll.unknown <= toll.points, "the one who is refused: a later 550 does not say what became of the first copy"
    assert toll.duplicates <= 4 * toll.points, "three messages fly at once, one of which has two good recipients"


def test_a_caller_killed_at_any_point_queues_all_or_nothing(using: str) -> None:
    """What was committed is sent once, what was not is not there."""
    toll = kill_enqueue_everywhere(using)
    told(toll, using, "killed while queueing")
    assert (toll.findings, toll.lost, toll.duplicates, toll.unknown) == ([], 0, 0, 0)
    assert toll.points >= 4
