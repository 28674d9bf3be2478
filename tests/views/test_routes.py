"""The page of the routes: the evidence for each state, and what a person can do."""

import html
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from django.db import connection
from django.test import Client

from reliable_email.backends.failover import make_route
from reliable_email.classification import classify
from reliable_email.classification.meanings import MEANINGS
from reliable_email.delivery.breaker import Phase
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route_memory import RouteEvent
from reliable_email.delivery.submission import Priority
from reliable_email.monitoring.health import examine_site
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.store.memory import route_state
from reliable_email.store.memory.route_state import DatabaseRouteStateStore, database_store
from reliable_email.store.tables.shared import Action, LatencyTotal, RouteState
from reliable_email.templatetags.mail_words import milliseconds
from reliable_email.testing.reset import reset
from reliable_email.testing.server import ScriptedServer

pytestmark = pytest.mark.django_db(transaction=True)

PAGE, ACT = "/mail/routes/", "/mail/routes/act/"
SMTP = "reliable_email.backends.ReliableSMTPBackend"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A real server on the loopback."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture(autouse=True)
def site(settings: Any, server: ScriptedServer) -> None:
    """A failover of two routes: one to the server, one to a port at which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = unused.getsockname()[1]
    settings.MAILERS = {
        "default": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["first", "second"]}},
        "first": {
            "BACKEND": SMTP,
            "OPTIONS": {"host": "127.0.0.1", "port": server.port, "quota": "500/day"},
        },
        "second": {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": dead}},
    }
    if django.VERSION < (6, 1):
        settings.EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"


def _line(client: Client, alias: str) -> Any:
    return next(line for line in client.get(PAGE).context["routes"] if line.alias == alias)


def _text(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def _phase(alias: str) -> Phase:
    return database_store().read(make_route(alias)).phase


def test_each_route_is_listed_with_its_state_and_server(operator: Client, server: ScriptedServer) -> None:
    """In the order of the failover."""
    lines = operator.get(PAGE).context["routes"]
    assert [(line.alias, line.state) for line in lines] == [("first", "in use"), ("second", "in use")]
    assert f"127.0.0.1:{server.port}" in lines[0].summary
    assert lines[0].mailers == ("default",)


def test_who_is_asked_first_is_told(operator: Client) -> None:
    """And that the other one stands by, in place of "messages go by it"."""
    answer = operator.get(PAGE)
    first, second = answer.context["routes"]
    assert (first.places, second.places) == ((("default", 1, 2),), (("default", 2, 2),))
    assert first.told == "Messages go by it."
    assert second.told.startswith("It stands by")
    for words in ("asked first of 2 by default", "asked as number 2 of 2 by default"):
        assert words in _text(answer)


def test_what_the_package_does_is_no_advice(operator: Client) -> None:
    """Where a person has nothing to do, "What to do" does not say what happens by itself."""
    failure = classify(parse_reply("421 4.3.0 try again later"), stage=Stage.GREETING)
    assert not MEANINGS[failure.cause].person
    database_store().tell(make_route("first"), RouteEvent(failure=failure, effect=Effect.OPEN))
    line = _line(operator, "first")
    assert line.is_closed
    assert not line.remedy
    assert line.happens
    told = _text(operator.get(PAGE))
    assert "By itself" in told
    assert "What to do" not in told


def test_a_closed_route_shows_evidence_meaning_and_remedy(operator: Client) -> None:
    """What was said, at which stage, what it means and what to do."""
    failure = classify(parse_reply("535 5.7.8 Bad password"), stage=Stage.AUTH)
    database_store().tell(make_route("second"), RouteEvent(failure=failure, effect=Effect.OPEN))
    line = _line(operator, "second")
    assert (line.state, line.is_closed) == ("closed", True)
    assert line.evidence == "at auth: 535 5.7.8 Bad password"
    assert "login was refused" in line.meaning
    assert line.remedy
    assert line.since is not None
    assert line.until > line.since


def test_a_quota_says_what_is_left_and_when_it_runs_out(operator: Client) -> None:
    """At the pace of the last hours."""
    store, route = database_store(), make_route("first")
    for _ in range(4):
        assert store.reserve(route, 100, priority=Priority.NORMAL)
    [quota] = _line(operator, "first").quotas
    assert (quota.window, quota.limit, quota.used, quota.left, quota.left_for_bulk) == ("24 hours", 500, 400, 100, 0)
    assert quota.is_soon
    assert "at this pace" in _text(operator.get(PAGE))


def test_a_pause_needs_a_reason(operator: Client) -> None:
    """Whoever resumes it has to know why."""
    answer = operator.post(ACT, {"route": "first", "verb": "pause_route", "reason": "  "})
    assert answer.status_code == 400
    assert "Give a reason why first is paused" in _text(answer)
    assert _phase("first") is Phase.CLOSED
    assert not Action._base_manager.exists()


def test_pause_and_resume_are_done_and_recorded_with_who_and_why(operator: Client) -> None:
    """Nothing goes by a paused route until it is resumed."""
    answer = operator.post(ACT, {"route": "first", "verb": "pause_route", "reason": "moving the relay"}, follow=True)
    assert _phase("first") is Phase.PAUSED
    assert "first is paused" in _text(answer)
    assert "Paused by olga: moving the relay." in _text(answer)
    operator.post(ACT, {"route": "first", "verb": "resume_route", "reason": "it has moved"})
    assert _phase("first") is Phase.CLOSED
    found = list(Action._base_manager.order_by("id").values_list("actor", "verb", "target", "reason"))
    assert found == [
        ("olga", "pause_route", "first", "moving the relay"),
        ("olga", "resume_route", "first", "it has moved"),
    ]


def test_a_probe_tells_how_far_it_came_and_sends_nothing(operator: Client, server: ScriptedServer) -> None:
    """Stage by stage, up to the login."""
    answer = operator.post(ACT, {"route": "first", "verb": "probe_route"}, follow=True)
    probe = answer.context["probe"]
    assert (probe["route"], probe["verdict"]) == ("first", "healthy")
    assert "greeting ok" in probe["stages"]
    assert not server.messages
    assert Action._base_manager.get().detail["verdict"] == "healthy"


def test_a_probe_that_fails_is_explained_and_changes_nothing(operator: Client) -> None:
    """The route's state is what messages have made it; the probe only looks."""
    answer = operator.post(ACT, {"route": "second", "verb": "probe_route"}, follow=True)
    probe = answer.context["probe"]
    assert probe["verdict"] == "unhealthy"
    assert "refused" in probe["said"]
    assert probe["remedy"]
    assert _phase("second") is Phase.CLOSED


def test_looking_is_not_acting(person: Callable[..., Client]) -> None:
    """Without the permission there is no button, and no way around it."""
    viewer = person("view_outboxmessage")
    assert ACT not in viewer.get(PAGE).content.decode()
    answer = viewer.post(ACT, {"route": "first", "verb": "pause_route", "reason": "because"})
    assert answer.status_code == 403
    assert "reliable_email.act_on_outbox" in answer.content.decode()
    assert _phase("first") is Phase.CLOSED


def test_another_site_cannot_act_by_the_operators_browser(operator: Client, settings: Any) -> None:
    """Forms are protected even where the project left the middleware out."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "csrf" not in name]
    operator.handler.enforce_csrf_checks = True
    answer = operator.post(ACT, {"route": "first", "verb": "pause_route", "reason": "because"})
    assert answer.status_code == 403
    assert _phase("first") is Phase.CLOSED


@pytest.mark.parametrize("wrong", [{"route": "third"}, {"verb": "destroy"}])
def test_what_is_not_there_is_refused(operator: Client, wrong: dict[str, str]) -> None:
    """Neither another route nor another verb."""
    given = {"route": "first", "verb": "resume_route"} | wrong
    assert operator.post(ACT, given).status_code == 400


def test_a_mailer_that_cannot_be_built_is_told_in_words(operator: Client, settings: Any) -> None:
    """The page stands, and says what is wrong."""
    settings.MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": {"hosst": "mail.example.com"}}}
    answer = operator.get(PAGE)
    assert answer.status_code == 200
    assert "hosst" in _text(answer)


@pytest.mark.parametrize(
    ("entry", "german"),
    [
        ({"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": 99999}},
         "OPTIONS 'port' muss eine ganze Zahl von 1 bis 65535 sein, nicht 99999."),
        ({"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "prot": 25}},
         "Unbekannte Option 'prot'. Meinten Sie 'port'?"),
        ({"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "provider": "gmial"}},
         "OPTIONS 'provider': Es gibt keinen Provider 'gmial'. Meinten Sie 'gmail'?"),
        ({"BACKEND": SMTP, "OPTIONS": {"use_tls": True, "use_ssl": True}},
         "OPTIONS 'host' fehlt. Setzen Sie es, oder einen 'provider'."),
        ({"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "use_tls": "perhaps", "timeout": "soon"}},
         "OPTIONS 'use_tls' muss wahr oder falsch sein, nicht 'perhaps'. OPTIONS 'timeout' muss eine Anzahl von"),
        ({"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "ssl_cafile": "/nosuch"}},
         "OPTIONS 'ssl_cafile' nennt eine Datei, die nicht gelesen werden kann: /nosuch"),
        ({"BACKEND": "anymal.EmailBackend"}, "BACKEND 'anymal.EmailBackend' wurde nicht gefunden: No module named"),
    ],
    ids=lambda one: one[:28] if isinstance(one, str) else "",
)  # fmt: skip
def test_why_a_route_cannot_be_built_is_told_once_and_in_the_readers_language(
    operator: Client, settings: Any, entry: dict[str, Any], german: str
) -> None:
    """The error by itself, and below it what to do; the verdict of each page says the same."""
    settings.MAILERS = settings.MAILERS | {"second": entry}
    english = _line(operator, "second")
    assert english.remedy
    assert english.remedy not in english.told
    assert english.told.startswith("MAILERS['second']: ")
    settings.LANGUAGE_CODE = "de"
    text = html.unescape(_text(operator.get(PAGE)))
    assert f"MAILERS['second']: {german}" in text
    [finding] = [one for one in examine_site().findings if one.name == "second"]
    assert finding.remedy == english.remedy
    assert finding.remedy not in finding.text
    assert text.count(german) == 2
    for words in (english.remedy, "must be", "Did you mean", "cannot be", "Could not find", "?."):
        assert words not in text


def test_the_verdict_tells_in_the_readers_language_what_was_said_and_what_is_missing(
    operator: Client, settings: Any
) -> None:
    """The stage of the evidence, also of a route on trial, and an entry that is not there."""
    failure = classify(parse_reply("535 5.7.8 Bad password"), stage=Stage.AUTH)
    store = database_store()
    store.tell(make_route("second"), RouteEvent(failure=failure, effect=Effect.OPEN))
    settings.LANGUAGE_CODE = "de"
    assert "Anmeldung gescheitert (bei AUTH: 535 5.7.8 Bad password)" in html.unescape(_text(operator.get(PAGE)))
    row = RouteState.objects.get(alias="second")
    row.breaker |= {"until": 1.0, "asked_until": 0.0, "needs_person": False}
    RouteState.objects.filter(alias="second").update(breaker=row.breaker, version=row.version + 1)
    reset()
    text = html.unescape(_text(operator.get(PAGE)))
    assert "(bei AUTH: 535 5.7.8 Bad password); seine Zeit ist um" in text
    settings.MAILERS = settings.MAILERS | {
        "third": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["second", "nosuch"]}}
    }
    text = html.unescape(_text(operator.get(PAGE)))
    assert "MAILERS['nosuch']: „using“ von 'third' nennt ihn, und einen solchen Eintrag gibt es nicht." in text
    assert "names it" not in text


def test_a_site_with_a_transaction_for_each_request_sees_and_does_the_same(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Route state is not read inside transactions, so the pages run outside of them."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert _line(operator, "first").state == "in use"
    # As another process does it.
    DatabaseRouteStateStore().pause(make_route("first"), by="ann: maintenance")
    route_state.reset()
    assert _line(operator, "first").state == "paused"
    operator.post(ACT, {"route": "first", "verb": "resume_route"})
    assert DatabaseRouteStateStore().read(make_route("first")).phase is Phase.CLOSED


def test_each_stage_says_how_long_it_takes(operator: Client) -> None:
    """In the order of SMTP, half and nineteen of twenty, by the bounds that workers have counted in."""
    for stage, bound, count in (("final_reply", 25, 18), ("final_reply", 1000, 2), ("connect", 5, 1)):
        LatencyTotal._base_manager.create(route="first", stage=stage, milliseconds=bound, count=count, seconds=0.1)
    stages = _line(operator, "first").stages
    assert [(one.stage, one.count, one.p50_seconds, one.p95_seconds) for one in stages] == [
        ("connect", 1, 0.005, 0.005),
        ("final_reply", 20, 0.025, 1.0),
    ]
    assert "Each stage, at most" in operator.get(PAGE).text


def test_what_took_longer_than_every_bound_is_called_longer() -> None:
    """Not a number that nobody has measured."""
    assert milliseconds(float("inf")) == "longer"
