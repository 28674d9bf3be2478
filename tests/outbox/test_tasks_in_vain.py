"""Tasks that can do nothing: they end, so that no slot of a fleet is theirs for ever."""

from typing import Any

import pytest

from reliable_email.integrations import delivering
from reliable_email.outbox import faultpoints
from reliable_email.store.tables.states import State
from tests.outbox.desk import states
from tests.outbox.test_commands import server, site
from tests.outbox.test_tasks_of_a_fleet import forgotten, queued

__all__ = ["forgotten", "server", "site"]  # fixtures


@pytest.mark.parametrize("given", ["x", None, True, 1.5, [1], 0, -1, 10**30], ids=str)
def test_a_task_for_what_is_no_message_is_refused(site: str, given: Any) -> None:
    """A database would refuse it again and again, and the task would never end."""
    queued(site, 1)
    with pytest.raises(ValueError, match="number"):
        delivering.deliver_messages([given], using=site)
    assert states(site) == [State.QUEUED]


def test_a_task_that_can_claim_nothing_ends(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the trouble lasts, it takes no slot of the fleet for ever."""
    monkeypatch.setattr(delivering, "_TASK_SECONDS", 0.5)
    ids = queued(site, 1)

    def fail(name: str) -> None:
        if name in ("claim", "claim:select"):
            raise RuntimeError("odd")

    faultpoints.listen(fail)
    try:
        assert delivering.deliver_messages(ids, using=site) == 0
    finally:
        faultpoints.reset()
    assert states(site) == [State.QUEUED]
    assert delivering.deliver_messages([*ids, *map(str, ids)], using=site) == 1
