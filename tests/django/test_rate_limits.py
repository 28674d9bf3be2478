"""A server that wants less mail from us gets no more connections for it."""

import pytest

from reliable_email.exceptions import DeliveryError
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import backend_for, message

COUNT = 8


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Script(mail=["450 4.7.1 Error: too much mail from 192.0.2.1"] * 99), id="at MAIL"),
        pytest.param(Script(rcpt=["450 4.7.1 Error: too many recipients from 192.0.2.1"] * 99), id="at RCPT"),
    ],
)
def test_a_batch_against_a_rate_limit_goes_on_over_one_connection(script: Script) -> None:
    """The refusals are orderly, and asking again needs no new connection: those are often limited, too."""
    with ScriptedServer(script) as server:
        backend = backend_for(server, max_attempts=3)
        with pytest.raises(DeliveryError):
            backend.send_messages([message(f"b{number}@example.net") for number in range(COUNT)])

        assert len(server.connections) == 1
