"""What the package wrote into a row in its own words is shown in the reader's language; rows and JSON stay English."""

import ast
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.management import call_command
from django.test import Client
from django.utils.translation import override

import reliable_email
from reliable_email.models import OutboxRecipient
from reliable_email.outbox.operations.suppressed import suppress
from reliable_email.store.questions.filters import Filter
from reliable_email.templatetags.details import evidence_in_words, in_own_words
from reliable_email.views.parts.route_lines import find_route
from reliable_email.views.route_acts import Verb, do
from tests.browser.site import MAILERS
from tests.outbox.acts import hold
from tests.views.letters import deliver, queue

ROOT = Path(reliable_email.__file__).parent
# Rooms whose words come into rows, and the calls that make a detail of an argument.
ROOMS = ("smtp", "delivery", "outbox", "backends")
CALLS = {
    "local": 2, "_trouble": 2, "lost": 1, "local_failure": 1, "trouble": 1, "ended": 3, "_not_begun": 2, "_failed": 1,
    "failed": 1, "_failure": 1, "withhold": 0, "WireLost": 1, "Missing": 2,
}  # fmt: skip
# The words of an exception, and of the configuration: English, as in a log.
_FOREIGN = ("X7: X7", "ssl_certfile X7", "ssl_keyfile X7")
# Put together of pieces, of which each is a text below.
_COMPOSED = {
    "X7 is left alone for now X7",
    "X7 is left alone for nowX7",
    "X7 to EHLO, and X7",
    "X7X7 to X7X7",
    "the certificate of X7 is refused: X7 (X.509 error X7)X7X7",
    "the send was interrupted (X7) X7",
}


def details() -> Iterator[str]:
    """Every text of ours that may come to stand in a detail, X7 for its values."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            is_told = path.name in ("errors.py", "failures.py")
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                yield from map(_sample, _places(node, is_told=is_told))


def _places(node: ast.AST, *, is_told: bool) -> Iterator[ast.expr]:
    found: list[ast.expr] = []
    if isinstance(node, ast.Call):
        found += [one.value for one in node.keywords if one.arg == "detail"]
        place = CALLS.get(getattr(node.func, "id", getattr(node.func, "attr", "")), len(node.args))
        found += node.args[place : place + 1]
    if isinstance(node, ast.Assign) and any(getattr(one, "id", "") == "detail" for one in node.targets):
        found.append(node.value)
    if is_told and isinstance(node, ast.Return) and node.value is not None:
        found.append(node.value)
    for one in found:
        yield from (one.body, one.orelse) if isinstance(one, ast.IfExp) else (one,)


def _sample(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else "X7" for one in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_each_detail_that_the_code_can_write_has_a_translation() -> None:
    """A new one that has none is told here: it goes into `templatetags/details.py`."""
    found = {one for one in details() if " " in one and not one.startswith(_FOREIGN)} - _COMPOSED
    assert len(found) > 60
    with override("de"):
        assert sorted(one for one in found if in_own_words(one) == one) == []


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("held by ada", "angehalten von ada"),
        ("held by ada, act 12", "angehalten von ada, Vorgang 12"),
        (
            "the server closed the connection; its resend was held by ada, act 12",
            "der Server schloss die Verbindung; das erneute Senden hielt ada an, Vorgang 12",
        ),
        (
            (
                "mx did not answer within 12.5 s (192.0.2.1:25: no answer; 192.0.2.2:25: no answer); a firewall that "
                "drops packets is silent like this (many networks block port 25, and some 465 and 587)"
            ),
            (
                "mx antwortete innerhalb von 12,5 s nicht (192.0.2.1:25: no answer; 192.0.2.2:25: no answer); so "
                "schweigt eine Firewall, die Pakete verwirft (viele Netze sperren Port 25, manche 465 und 587)"
            ),
        ),
        (
            "the message has 12,345 bytes, gmail takes at most 1,000",
            "die Nachricht hat 12.345 Bytes, gmail nimmt höchstens 1.000",
        ),
        (
            "gmail is left alone for now: quota_exceeded, at mail: 452 4.3.1 daily quota",
            "gmail wird vorerst nicht gefragt: Kontingent erschöpft, bei MAIL: 452 4.3.1 daily quota",
        ),
        (
            "gmail is left alone for now for the sender domain example.com, which it has refused",
            "gmail wird vorerst nicht gefragt für die Absenderdomain example.com, die dort abgelehnt wurde",
        ),
        (
            (
                "the certificate of mx is refused: certificate has expired (X.509 error 9); look at the clock of "
                "this machine"
            ),
            (
                "das Zertifikat von mx wird abgelehnt: certificate has expired (X.509-Fehler 9); sehen Sie nach "
                "der Uhr dieser Maschine"
            ),
        ),
        (
            "the server answered 535 5.7.8 no to PLAIN; no other route could be asked meanwhile (ses)",
            "der Server antwortete 535 5.7.8 no auf PLAIN; inzwischen konnte kein anderer Weg gefragt werden (ses)",
        ),
        ("states queued, parked; subject Sale", "Zustände eingereiht, geparkt; Betreff Sale"),
        ("550 5.1.1 no such user", "550 5.1.1 no such user"),
        ("a stranger's words; held by nobody knows what", "a stranger's words; angehalten von nobody knows what"),
        ("", ""),
    ],
)
def test_a_detail_is_told_in_the_readers_language(english: str, german: str) -> None:
    """With its values; in English it stays what the row has."""
    with override("de"):
        assert in_own_words(english) == german
    with override("en"):
        assert in_own_words(english) == english


def test_evidence_is_told_with_its_stage() -> None:
    """The server's own words come out as they went in."""
    with override("de"):
        assert evidence_in_words("at connect: the server closed the connection") == (
            "bei Verbindungsaufbau: der Server schloss die Verbindung"
        )
        assert evidence_in_words("at rcpt: 550 held by ada").endswith("550 held by ada")
    with override("en"):
        assert evidence_in_words("at auth: 535 no") == "at auth: 535 no"


def test_words_that_a_stranger_chose_cost_little() -> None:
    """Neither a text within a text nor many parts make the page deep or slow; the time limit of tests is the bound."""
    with override("de"):
        for words in ("TLS failed: ", "held by a; ", "a: b could not be reached: ", "; "):
            for _again in range(20):
                in_own_words(words * 5_000)


@pytest.mark.django_db(transaction=True)
def test_no_own_words_are_left_in_english_on_the_pages(operator: Client, settings: Any, capsys: Any) -> None:
    """Hold, cancel, pause, suppress and the record; the same rows are English in commands and in the database."""
    settings.LANGUAGE_CODE = "de"
    settings.MAILERS = MAILERS
    if django.VERSION < (6, 1):
        settings.EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
    suppress(["never@example.com"], reason="asked", source="by hand: ada")
    queue("never@example.com", subject="Dritte")
    deliver()
    first, second = queue("waits@example.com", subject="Erste"), queue("other@example.com", subject="Zweite")
    route = find_route("gmail")
    assert route is not None
    do(Verb.PAUSE, route, actor="ada", reason="Wartung")
    hold(Filter(states=("queued",)), actor="ada", reason="falscher Text")
    paths = ("", "messages/", f"messages/{first}/", f"messages/{second}/", "routes/", "failures/", "record/")
    told = html.unescape(" ".join(operator.get(f"/mail/{one}").content.decode() for one in (*paths, "suppressions/")))
    for words in ("angehalten von ada", "von Hand: ada", "Zustände eingereiht", "die Adresse steht auf der"):
        assert words in told
    for words in ("held by", "by hand", "states queued", "is on the suppression list", "was paused by"):
        assert words not in told
    assert OutboxRecipient.objects.filter(detail__startswith="held by ada, act ").count() == 2
    call_command("email_outbox", "list", "--json")
    assert "held by ada" in capsys.readouterr().out
