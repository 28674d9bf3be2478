"""The live demo's troubles: what each does to a mail, and when they come and go by themselves."""

import contextlib
from collections.abc import Iterator

import django
import pytest
from django.core.mail import EmailMessage
from django.test import override_settings

from demo.live import stage, weather
from demo.live.troubles import NEWS, POSSIBLE, SHOP, WORDS, Trouble
from demo.live.weather import CIRCLE_SECONDS, Change, changes
from reliable_email.exceptions import DeliveryError
from reliable_email.smtp.driver import pool
from reliable_email.testing.reports import delivery_of


@pytest.fixture
def running(transactional_db: None) -> Iterator[stage.Stage]:
    """The providers, with the failover over them as the default mailer."""
    with stage.running() as found:
        mailers = found.mailers()
        mailers["default"] = mailers["routes"]
        older = {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer"} if django.VERSION < (6, 1) else {}
        with override_settings(MAILERS=mailers, **older):
            yield found
        pool.reset()


def sent(sender: str) -> tuple[str, str, list[str]]:
    """Send a mail: its outcome, the route that had the last word, and the causes on the way."""
    message = EmailMessage("Hello", "World", sender, ["ada@customer.example"])
    with contextlib.suppress(DeliveryError):
        message.send()
    report = delivery_of(message)
    one = report.recipients["ada@customer.example"]
    causes = [str(attempt.failure.cause) for attempt in report.attempts if attempt.failure is not None]
    return str(one.outcome), one.route or "", causes


SHOP_SENDER, NEWS_SENDER = f"orders@{SHOP}", f"news@{NEWS}"


@pytest.mark.parametrize(
    ("trouble", "met"),
    [
        (Trouble.DOWN, ("accepted", "sendgrid", ["system_temporary"])),
        (Trouble.QUOTA, ("accepted", "sendgrid", ["quota_exceeded"])),
        (Trouble.HANGS_UP, ("unknown", "gmail", ["outcome_unknown"])),
    ],
)
def test_each_trouble_of_the_first_provider_is_met_and_mended(
    running: stage.Stage, trouble: Trouble, met: tuple[str, str, list[str]]
) -> None:
    """With its cause; when it is over, the first provider takes the next mail."""
    assert sent(SHOP_SENDER) == ("accepted", "gmail", [])
    running.begin("gmail", trouble)
    assert sent(SHOP_SENDER) == met
    running.end("gmail", trouble)
    assert running.troubles["gmail"].now == []
    assert sent(SHOP_SENDER) == ("accepted", "gmail", [])


def test_a_sender_that_is_refused_waits_where_no_other_provider_is_left(running: stage.Stage) -> None:
    """Others go by; when the sender is verified it goes by as well."""
    running.begin("gmail", Trouble.QUOTA)
    running.begin("sendgrid", Trouble.SENDER)
    assert sent(NEWS_SENDER)[0] == "deferred"
    assert sent(SHOP_SENDER)[:2] == ("accepted", "sendgrid")
    running.end("sendgrid", Trouble.SENDER)
    assert sent(NEWS_SENDER)[:2] == ("accepted", "sendgrid")


def test_every_trouble_has_its_words() -> None:
    """For the page and for the terminal."""
    assert set(WORDS) == set(Trouble) == {one for possible in POSSIBLE.values() for one in possible}


def test_troubles_come_and_go_in_a_circle() -> None:
    """Whatever the steps of the clock are, each change is told once, in order; whatever begins is over in time."""
    fine = [change for second in range(480) for change in changes(float(second), float(second + 1))]
    assert fine == changes(0.0, 480.0) == changes(0.0, 240.0) * 2
    assert fine[:2] == [
        Change(route="gmail", trouble=Trouble.HANGS_UP, begins=True),
        Change(route="gmail", trouble=Trouble.QUOTA, begins=True),
    ]
    for spell in weather.SPELLS:
        assert spell.trouble in POSSIBLE[spell.route]
        assert 0 < spell.begins < (spell.ends or CIRCLE_SECONDS) <= CIRCLE_SECONDS
    assert {spell.trouble for spell in weather.SPELLS} == set(Trouble)
