"""What is logged: one WARNING for each trouble, ERROR for what a person must see, fields for programs, no addresses."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command

from reliable_email.classification import Cause
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route_memory import MemoryRouteStateStore, RouteEvent
from reliable_email.delivery.submission import OnUnknown
from reliable_email.delivery.telling.log_records import FIELDS
from reliable_email.exceptions import DeliveryError
from reliable_email.outbox.upkeep.reconnect import Outage, insist
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from reliable_email.testing.server import Script, ScriptedServer, accept_then, close
from tests.monitoring.conftest import SMTP, outbox_mailers
from tests.outbox.desk import let_time_pass, queue, worker
from tests.outbox.network import Network
from tests.store.test_route_state import SUCCESS, failed, route

MakeSite = Callable[..., None]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything of the package from INFO on."""
    caplog.set_level(logging.INFO, "reliable_email")
    return caplog


def told(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and text of each record of the package."""
    return [(one.levelname, one.getMessage()) for one in log.records if one.name.startswith("reliable_email")]


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The six, each of which has to be there."""
    return {name: getattr(record, name) for name in FIELDS}


def levels(log: pytest.LogCaptureFixture) -> list[str]:
    """Of each record."""
    return [level for level, _ in told(log)]


class TestTheWorker:
    """On every database, against a network that keeps the transport's contract."""

    def test_a_delivery_is_one_info(self, using: str, log: pytest.LogCaptureFixture) -> None:
        """With its fields."""
        message = queue(using, "ok@example.com")
        worker(using, Network().route()).run()
        [record] = log.records
        assert record.levelname == "INFO"
        assert record.getMessage().startswith(f"message {message.message_id}: 1 accepted by route at final_reply in ")
        assert fields_of(record) == {
            "message_id": message.message_id,
            "outbox_id": message.pk,
            "route": "route",
            "cause": None,
            "stage": "final_reply",
            "outcome": "accepted",
        }

    def test_an_attempt_that_is_retried_is_one_warning(self, using: str, log: pytest.LogCaptureFixture) -> None:
        """However many recipients it had; with the server's words and nobody's address."""
        message = queue(using, "ok@example.com", "grey@example.com", "nouser@example.com")
        worker(using, Network().route()).run()
        [record] = log.records
        assert record.levelname == "WARNING"
        text = record.getMessage()
        assert f"message {message.message_id}: 1 accepted, 1 rejected, 1 deferred by route" in text
        assert fields_of(record)["outbox_id"] == message.pk
        assert fields_of(record)["outcome"] == "rejected"
        assert "@example.com" not in text.replace(message.message_id, "")

    def test_a_route_that_is_down_is_a_warning_an_attempt_and_one_for_the_route(
        self, using: str, log: pytest.LogCaptureFixture
    ) -> None:
        """Waiting for it afterwards says nothing more."""
        network = Network(is_down=True)
        store = MemoryRouteStateStore()
        for _ in range(3):
            queue(using, "ok@example.com")
            let_time_pass(using)
            worker(using, network.route(), store=store, batch=1).run()
        out_of_use = [text for level, text in told(log) if "closed for" in text or "closed until" in text]
        assert len(out_of_use) == 1
        assert "connection refused" in out_of_use[0]
        assert set(levels(log)) == {"WARNING"}
        count = len(log.records)
        queue(using, "ok@example.com")
        let_time_pass(using)
        worker(using, network.route(), store=store).run()
        assert len(log.records) == count

    @pytest.mark.parametrize(
        ("wish", "level"),
        [pytest.param(OnUnknown.HOLD, "ERROR", id="held"), pytest.param(OnUnknown.RESEND, "WARNING", id="sent again")],
    )
    def test_an_unknown_outcome_needs_a_person_unless_it_is_sent_again(
        self, using: str, log: pytest.LogCaptureFixture, wish: OnUnknown, level: str
    ) -> None:
        """One record, and it says what to do."""
        message = queue(using, "taken-lost@example.com", on_unknown=wish)
        worker(using, Network().route()).run()
        [record] = log.records
        assert (record.levelname, "unknown whether a server has it" in record.getMessage()) == (level, True)
        assert fields_of(record)["message_id"] == message.message_id
        assert fields_of(record)["cause"] == "outcome_unknown"
        assert fields_of(record)["outcome"] == "unknown"

    def test_what_is_parked_or_given_up_is_an_error(self, using: str, log: pytest.LogCaptureFixture) -> None:
        """One for each commit, which names the messages."""
        first, second = queue(using, "a@example.com"), queue(using, "b@example.com")
        OutboxRecipient.objects.using(using).update(gives_up_at=DatabaseNow(-1), due_at=DatabaseNow(-2))
        worker(using, Network().route()).run()
        [(level, text)] = told(log)
        assert level == "ERROR"
        assert text == f"messages {first.message_id}, {second.message_id}: given up, its time is over"

    def test_a_crash_is_told_with_what_became_of_its_messages(self, using: str, log: pytest.LogCaptureFixture) -> None:
        """Nobody waits for the reply to what was in hand."""
        message = queue(using, "ok@example.com")
        OutboxRecipient.objects.using(using).update(
            state=State.AUTHORIZED,
            claim=7,
            claimed_by="dead",
            due_at=None,
            lease_until=DatabaseNow(-1),
            authorized_at=DatabaseNow(-60),
            authorized_route="route",
        )
        worker(using, Network().route()).run()
        [record] = log.records
        assert record.levelname == "ERROR"
        assert "the worker was lost" in record.getMessage()
        assert (fields_of(record)["outbox_id"], fields_of(record)["route"]) == (message.pk, "route")
        assert fields_of(record)["message_id"] == message.message_id  # by which other logs know it

    def test_addresses_are_told_at_debug_alone(self, using: str, log: pytest.LogCaptureFixture, settings: Any) -> None:
        """And are masked there, too, where the setting says so."""
        log.set_level(logging.DEBUG, "reliable_email")
        queue(using, "ok@example.com")
        worker(using, Network().route()).run()
        assert ("DEBUG", "ok@example.com: accepted") in told(log)
        log.clear()
        settings.RELIABLE_EMAIL = {"MASK_ADDRESSES": True}
        queue(using, "ok@example.com")
        worker(using, Network().route()).run()
        assert ("DEBUG", "o…@example.com: accepted") in told(log)
        assert "ok@example.com" not in log.text


def test_the_reply_to_a_sealed_message_is_not_told(
    site: str, make_site: MakeSite, log: pytest.LogCaptureFixture
) -> None:
    """What is encrypted in the table does not stand in the log."""
    from cryptography.fernet import Fernet

    with ScriptedServer(Script(final_reply="451 4.3.0 about the secret, try later")) as server:
        make_site(outbox_mailers(site, server.port), ENCRYPTION_KEYS=[Fernet.generate_key().decode()])
        mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
        call_command("email_worker", "--database", site, "--until-empty", verbosity=0)
    [text] = [text for level, text in told(log) if level == "WARNING"]
    assert text.endswith(": 451 4.3.0")
    assert "secret" not in log.text


class TestADirectSend:
    """What the caller may not get to see."""

    def test_a_failover_that_worked_is_a_warning_and_an_info(
        self, make_site: MakeSite, server: ScriptedServer, log: pytest.LogCaptureFixture
    ) -> None:
        """The first route needs a look, although the message is there."""
        with ScriptedServer(Script(mail="451 4.3.0 <site@example.org> try later")) as broken:
            mailers = outbox_mailers("default", broken.port, server.port)
            make_site({**mailers, "default": mailers.pop("routes")})
            message = mail.EmailMessage("Hello", "World", "site@example.org", ["ada@example.com"])
            message.send()
        warning, info = [one for one in log.records if one.name == "reliable_email.delivery"]
        assert (warning.levelname, info.levelname) == ("WARNING", "INFO")
        assert "not yet by first at mail" in warning.getMessage()
        assert "<s…@example.org>" in warning.getMessage()
        assert fields_of(warning)["route"] == "first"
        assert (fields_of(info)["route"], fields_of(info)["outcome"]) == ("second", "accepted")

    @pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "final_reply"])
    @pytest.mark.parametrize("code", ["421 4.7.0 busy, ask later", "451 4.7.0 busy, ask later"])
    def test_the_words_of_the_refusal_that_was_overcome_are_in_the_log(
        self, stage: str, code: str, make_site: MakeSite, server: ScriptedServer, log: pytest.LogCaptureFixture
    ) -> None:
        """Also where the server closes after them, and the transaction has no final reply."""
        said: Any = {"ada@example.com": code} if stage == "rcpt" else code
        with ScriptedServer(Script(**{stage: said})) as broken:
            mailers = outbox_mailers("default", broken.port, server.port)
            make_site({**mailers, "default": mailers.pop("routes")})
            mail.send_mail("Hello", "World", "site@example.org", ["ada@example.com"])
        overcome = [one.getMessage() for one in log.records if "not yet by first" in one.getMessage()]
        assert overcome
        assert all("busy, ask later" in text for text in overcome), overcome

    def test_a_rejection_is_one_warning(self, make_site: MakeSite, log: pytest.LogCaptureFixture) -> None:
        """It is the caller's error, too."""
        with ScriptedServer(Script(rcpt={"nobody@example.net": "550 5.1.1 no such user"})) as server:
            make_site({"default": {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": server.port}}})
            with pytest.raises(DeliveryError):
                mail.send_mail("Hello", "World", "site@example.org", ["nobody@example.net"])
        [record] = [one for one in log.records if one.name == "reliable_email.delivery"]
        assert record.levelname == "WARNING"
        assert record.getMessage().endswith(": 1 rejected (mailbox_unknown): 550 5.1.1 no such user")
        known = fields_of(record)
        assert (known["cause"], known["stage"], known["outcome"]) == ("mailbox_unknown", "rcpt", "rejected")

    def test_an_unknown_outcome_is_an_error(self, make_site: MakeSite, log: pytest.LogCaptureFixture) -> None:
        """Nobody but a person can find out."""
        with ScriptedServer(Script(final_reply=accept_then(close()))) as server:
            options = {"host": "127.0.0.1", "port": server.port}
            make_site({"default": {"BACKEND": SMTP, "OPTIONS": options}})
            with pytest.raises(DeliveryError):
                mail.send_mail("Hello", "World", "site@example.org", ["ada@example.net"])
        [record] = [one for one in log.records if one.name == "reliable_email.delivery"]
        assert (record.levelname, fields_of(record)["outcome"]) == ("ERROR", "unknown")

    def test_no_password_is_in_any_record(self, make_site: MakeSite, log: pytest.LogCaptureFixture) -> None:
        """At no level, in no field, also where the server repeats it."""
        log.set_level(logging.DEBUG, "reliable_email")
        with ScriptedServer(Script(auth="535 5.7.8 hunter2-hunter2 is wrong")) as server:
            login = {"username": "site", "password": "hunter2-hunter2"}
            options = {"host": "127.0.0.1", "port": server.port, **login}
            make_site({"default": {"BACKEND": SMTP, "OPTIONS": options}})
            with pytest.raises(DeliveryError):
                mail.send_mail("Hello", "World", "site@example.org", ["ada@example.net"])
        assert "auth_failed" in log.text
        assert not any("hunter2" in str(vars(record)) for record in log.records)


class TestRoutes:
    """Once for all processes, and not for each probe."""

    def test_whoever_closes_a_route_tells_it_and_the_others_do_not(
        self, using: str, log: pytest.LogCaptureFixture
    ) -> None:
        """Two stores, as two processes have them."""
        first, second = DatabaseRouteStateStore(using), DatabaseRouteStateStore(using)
        for _ in range(4):
            first.tell(route(), failed())
        assert second.read(route()).failures >= 3
        assert levels(log) == ["WARNING"]
        [(_, text)] = told(log)
        assert text.startswith("route route: closed for 15 s, connect_failed")
        second.tell(route(), SUCCESS)
        assert told(log)[1:] == [("INFO", "route route: in use again")]

    def test_what_only_a_person_can_mend_is_an_error(self, using: str, log: pytest.LogCaptureFixture) -> None:
        """A password that was changed."""
        store = DatabaseRouteStateStore(using)
        store.tell(route(), failed(Effect.OPEN, cause=Cause.AUTH_FAILED))
        [record] = log.records
        assert record.levelname == "ERROR"
        assert "until its configuration is corrected" in record.getMessage()
        assert (fields_of(record)["route"], fields_of(record)["cause"]) == ("route", "auth_failed")

    def test_a_process_without_a_database_tells_it_too(self, log: pytest.LogCaptureFixture) -> None:
        """And who paused."""
        store = MemoryRouteStateStore()
        store.pause(route(), by="grace")
        store.resume(route())
        store.tell(route(), RouteEvent(failure=failed().failure, effect=Effect.BLOCKED))
        assert levels(log) == ["INFO", "INFO", "WARNING"]
        assert told(log)[0][1] == "route route: paused by grace"


def test_an_outage_of_the_database_is_told_once_and_its_end(log: pytest.LogCaptureFixture) -> None:
    """Whichever thread finds out, and however often it is asked."""
    outage = Outage("default")
    for _ in range(3):
        outage.note(OSError("connection refused"))
    outage.end()
    outage.end()
    assert levels(log) == ["WARNING", "INFO"]


def test_trying_again_is_told_once(log: pytest.LogCaptureFixture, using: str) -> None:
    """The next tries are the same trouble."""
    from django.db.utils import OperationalError

    answers = iter([OperationalError("away"), OperationalError("away"), None])

    def work() -> str:
        error = next(answers)
        if error is not None:
            raise error
        return "done"

    assert insist(using, work, seconds=60, sleep=lambda seconds: None) == "done"
    assert levels(log) == ["WARNING"]
    assert OutboxMessage.objects.using(using).count() == 0
