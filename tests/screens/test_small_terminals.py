"""The live view of the outbox in a small terminal: findings do not push the queue out of it."""

import io
from datetime import UTC, datetime

import pytest

pytest.importorskip("rich")
from rich.console import Console

from reliable_email.diagnosis.verdict import Health
from reliable_email.management.screens.outbox_view import OutboxView, RouteView
from reliable_email.management.screens.rich_outbox import RichWatchScreen
from reliable_email.monitoring.findings import Finding
from reliable_email.monitoring.health import SiteHealth
from reliable_email.store.questions.status import Status
from reliable_email.store.tables.states import State

LONG = Finding(
    verdict=Health.UNHEALTHY,
    text="messages are due and no worker was seen within a day, so that nothing goes out at all",
    remedy="Start “manage.py email_worker”, and see to it that it is started again when it ends; look at its log.",
)


@pytest.mark.parametrize("count", [0, 1, 2, 6])
@pytest.mark.parametrize(("width", "height"), [(50, 20), (80, 24), (120, 40)])
def test_the_queue_stays_on_the_screen(width: int, height: int, count: int) -> None:
    """With the verdict, and as much of the findings as there is room for."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    status = Status(
        at=datetime.now(UTC),
        recipients={state.value: 7 for state in State},
        queued={"high": 1, "normal": 5, "bulk": 1},
        due=7,
        oldest_due_seconds=60.0,
        in_hand=14,
    )
    health = SiteHealth(
        at=datetime.now(UTC),
        verdict=Health.UNHEALTHY if count else Health.HEALTHY,
        findings=(LONG,) * count,
    )
    view = OutboxView(health=health, status=status, routes=[RouteView(alias="gmail", is_in_use=True, use="in use")])
    with RichWatchScreen(console) as screen:
        screen.show("the outbox", view)
        shown = [line for line in file.getvalue().splitlines() if line.strip()]
    assert any("HEALTHY" in line for line in shown)
    for state in State:
        assert any(line.strip().startswith(state.value) for line in shown), (state, shown)
    if count:
        assert any("messages are due" in line for line in shown)
