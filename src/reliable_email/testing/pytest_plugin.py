"""Fixtures for tests of a site's e-mail; pytest finds them by itself once the package is installed.

Loading this costs nothing: neither Django nor `cryptography` is imported before a fixture is used.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reliable_email.testing.server import ScriptedServer
    from reliable_email.testing.simulated import SimulatedServer


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, also under --strict-markers."""
    config.addinivalue_line(
        "markers",
        "smtp_server(*scripts, **options): how the fixture reliable_email_server behaves; see ScriptedServer",
    )


@pytest.fixture
def reliable_email_server(request: pytest.FixtureRequest) -> "Iterator[ScriptedServer]":
    """A `ScriptedServer`, configured by `@pytest.mark.smtp_server(Script(...), tls="starttls")`."""
    from reliable_email.testing.server import ScriptedServer

    marker = request.node.get_closest_marker("smtp_server")
    scripts, options = (marker.args, marker.kwargs) if marker else ((), {})
    with ScriptedServer(*scripts, **options) as server:
        yield server


@pytest.fixture
def simulated_provider() -> "Iterator[Callable[..., SimulatedServer]]":
    """A factory: `simulated_provider("gmail", quota_left=2)` is a server that runs until the test ends."""
    from reliable_email.testing.simulated import simulated

    with ExitStack() as servers:

        def start(provider: str, *scripts: Any, **options: Any) -> "SimulatedServer":
            return servers.enter_context(simulated(provider, *scripts, **options))

        yield start


@pytest.fixture
def reliable_email_outbox(db: None, reliable_email_server: "ScriptedServer") -> "Iterator[MailOutbox]":
    """The default mailer is an outbox over `reliable_email_server`; deliver it and look at it by this."""
    from reliable_email.testing.outbox import outbox_over

    with outbox_over(reliable_email_server):
        yield MailOutbox(reliable_email_server)


class MailOutbox:
    """The functions of `reliable_email.testing.outbox`, and the server behind it.

    Attributes:
        server: what the provider has got is in `server.messages`.
    """

    def __init__(self, server: "ScriptedServer") -> None:
        self.server = server

    def deliver(self, *, let_time_pass: bool = False) -> int:
        """Deliver the due messages; return the number of transactions."""
        from reliable_email.testing.outbox import deliver_outbox

        return deliver_outbox(let_time_pass=let_time_pass)

    def assert_queued(self, **wanted: Any) -> Any:
        """Assert that one message is queued, and return its row; the arguments are those of the function."""
        from reliable_email.testing.outbox import assert_queued

        return assert_queued(**wanted)

    def assert_delivered(self, *addresses: str) -> None:
        """Assert that these addresses were delivered to."""
        from reliable_email.testing.outbox import assert_delivered

        assert_delivered(*addresses)

    def assert_outcome(self, address: str, outcome: str, **wanted: Any) -> Any:
        """Assert the outcome of a recipient, and return its row; the arguments are those of the function."""
        from reliable_email.testing.outbox import assert_outcome

        return assert_outcome(address, outcome, **wanted)


@pytest.fixture
def reliable_email_reset() -> Iterator[None]:
    """Forgets all process-wide state of the package before and after the test."""
    from reliable_email.testing.reset import reset

    reset()
    yield
    reset()
