"""Pages in the reader's language: no text is missed, German is whole, machines read English all the same."""

import ast
import gettext
import html
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.management import call_command
from django.template.base import Lexer, TokenType
from django.test import Client, override_settings
from django.utils.formats import reset_format_cache
from django.utils.translation import _trans, override
from django.utils.translation.template import templatize

import reliable_email
from reliable_email.models import OutboxRecipient
from reliable_email.store.questions.filters import Filter
from reliable_email.templatetags.mail_words import ago, at, milliseconds
from reliable_email.templatetags.numbers import span, thousands
from reliable_email.templatetags.words import WORDS
from reliable_email.views.parts.route_lines import find_route
from reliable_email.views.route_acts import Verb, do
from tests.browser.site import MAILERS
from tests.outbox.acts import hold
from tests.views.letters import deliver, queue
from tests.views.test_acting import ids
from tools.page_texts import texts

ROOT = Path(reliable_email.__file__).parent
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
_SPEAKING = ("mail_words", "details")
MODULES = sorted(
    [*(ROOT / "views").rglob("*.py"), ROOT / "admin.py", *(ROOT / f"templatetags/{one}.py" for one in _SPEAKING)]
)
FINDINGS = sorted((ROOT / "monitoring").rglob("*.py"))
CATALOGUE = ROOT / "locale/de/LC_MESSAGES/django.mo"
_CALLS = {"_": 1, "gettext": 1, "gettext_lazy": 1, "ngettext": 2, "pgettext": 2, "pgettext_lazy": 2}
_CALL = re.compile(r"""\b(?:n?gettext|_)\(\s*u?('(?:[^'\\\\]|\\\\.)*'|"(?:[^"\\\\]|\\\\.)*")""")
# Words that are the same in every language.
_SAME = re.compile(r"\b(?:HTML|JSON|ms|s|min|h|d)\b|&\w+;")
_SPOKEN_ATTRIBUTES = re.compile(r"""\b(?:aria-label|title|placeholder|alt|data-label)=(?:"([^"]*)"|'([^']*)')""")


def untranslated(template: Path) -> Iterator[str]:
    """Words between tags, and in attributes that are read out, outside of {% translate %} and its kin."""
    is_translated = False
    text = ""
    for token in Lexer(template.read_text("utf-8")).tokenize():
        if token.token_type is TokenType.BLOCK:
            name = token.contents.split()[0]
            is_translated = name == "blocktranslate" or (is_translated and name != "endblocktranslate")
        elif token.token_type is TokenType.TEXT and not is_translated:
            text += token.contents
    for attribute in _SPOKEN_ATTRIBUTES.finditer(text):
        yield from _words(attribute[1] or attribute[2] or "")
    text = re.sub(r"<(?:style|script)\b.*?</(?:style|script)>", "", text, flags=re.DOTALL)
    yield from _words(re.sub(r"<[^<>]*>?", " ", text))


def _words(text: str) -> Iterator[str]:
    found = _SAME.sub("", text)
    if any(letter in string.ascii_letters for letter in found):
        yield " ".join(found.split())


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_text_of_a_template_is_missed(template: Path) -> None:
    """Each is marked for translation; a new one that is not is told here."""
    assert list(untranslated(template)) == []


def sentences(module: Path) -> Iterator[str]:
    """Strings of a module that look like something to be read, outside of calls that translate."""
    tree = ast.parse(module.read_text("utf-8"))
    quiet: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            quiet.add(node.body[0].value)  # type: ignore[attr-defined]
        is_call = isinstance(node, ast.Call)
        name = node.func.id if is_call and isinstance(node.func, ast.Name) else ""  # type: ignore[attr-defined]
        attribute = node.func.attr if is_call and isinstance(node.func, ast.Attribute) else ""  # type: ignore[attr-defined]
        if isinstance(node, ast.Constant) and node.value in WORDS:
            quiet.add(node)
        if name in _CALLS or name in ("AssertionError", "cast") or attribute in ("exception", "compile", "debug"):
            quiet.update(ast.walk(node))
        if isinstance(node, ast.Assert | ast.AnnAssign) and not isinstance(node, ast.AnnAssign):
            quiet.update(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in quiet:
            text = node.value
            if re.search(r"[A-Za-z]{2,}[ ,:;.][ ]?[a-z]{2,}", text) and " " in text and not _IS_CODE.search(text):
                yield text


# Policies of the browser, lists of HTML names, classes of badges, the record's and the monitors' words.
_IS_CODE = re.compile(
    r"default-src|script-src|img-src|form-action|^a abbr|^abbr align|^iframe noembed|charset=|held by|<time|lang="
    r"|X-|\(\?:|<a href|html with images|by the admin|by hand|no-store|filename"
    r"|^, login as $"  # what the summary of a route says, to find the user's name
)
_MACHINES = {"health.py", "monitors.py", "metrics.py", "route_acts.py"}  # read by programs, and by commands


@pytest.mark.parametrize("module", [one for one in MODULES if one.name not in _MACHINES], ids=lambda path: path.name)
def test_no_sentence_of_a_view_is_missed(module: Path) -> None:
    """What a page says from Python goes through gettext, too."""
    assert list(sentences(module)) == []


def asked() -> Iterator[str]:
    """The first argument of every call that translates, context before it."""
    yield from filter(None, texts())
    for path in [*MODULES, *FINDINGS, *TEMPLATES]:
        source = path.read_text("utf-8")
        if path.suffix == ".html":
            for call in _CALL.finditer(templatize(source)):
                yield str(ast.literal_eval(call[1]))
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
                arguments = [one.value for one in node.args[: _CALLS[node.func.id]] if isinstance(one, ast.Constant)]
                if not arguments:
                    continue
                is_context = node.func.id.startswith("pgettext")
                yield f"{arguments[0]}\x04{arguments[1]}" if is_context else str(arguments[0])


@pytest.mark.parametrize("module", FINDINGS, ids=lambda path: path.name)
def test_what_a_finding_says_can_be_translated(module: Path) -> None:
    """Its text and its remedy come from a catalogue; only what the checks of the configuration say is English."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Finding", "Sentence", "Sentences")):
            continue
        said = [one.value for one in node.keywords if one.arg in ("text", "remedy")]
        if node.func.id != "Finding":  # type: ignore[attr-defined]
            said += node.args[:1]
        found = [one for one in said if isinstance(one, ast.JoinedStr) or getattr(one, "value", "")]
        plain = [one for one in found if isinstance(one, ast.JoinedStr | ast.Constant)]
        assert plain == [], f"line {node.lineno}"


def test_german_has_every_text() -> None:
    """As it was compiled, with the places for values that the English one has; `make messages` writes both."""
    with CATALOGUE.open("rb") as file:
        known = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    found = {key if isinstance(key, str) else key[0]: value for key, value in known.items()}
    wanted = set(asked())
    assert len(wanted) > 650
    assert {one for one in wanted if not found.get(one)} == set()
    for english, german in found.items():
        assert sorted(re.findall(r"%\(\w+\)s", english)) == sorted(re.findall(r"%\(\w+\)s", german)), english


def test_the_compiled_catalogue_is_the_written_one() -> None:
    """Both are in the package, since no build compiles them."""
    written = (CATALOGUE.parent / "django.po").read_text("utf-8")
    texts = re.findall(r'^msgstr(?:\[\d\])? "((?:[^"\\]|\\.)+)"$', written, flags=re.MULTILINE)
    compiled = CATALOGUE.read_bytes().decode("utf-8", "replace")
    assert len(texts) > 400
    assert [one for one in texts if one.replace('\\"', '"').replace("\\n", "\n") not in compiled] == []
    assert "fuzzy" not in written


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", ["19,410", "3.5 h", "1.2 s", "in 2 min"]), ("de", ["19.410", "3,5 h", "1,2 s", "in 2 min"])],
)
def test_numbers_and_times_are_the_languages(language: str, told: list[str]) -> None:
    """Thousands, decimals and dates."""
    from datetime import UTC, datetime, timedelta

    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    with override(language):
        later = str(ago(now + timedelta(minutes=2), now))
        assert [thousands(19410), span(12600), milliseconds(1.2)] == told[:3]
        assert told[3] in later
        assert ("28.11.2026 12:00" if language == "de" else "2026-11-28 12:00") in at(now - timedelta(days=2), now)


@pytest.fixture
def without_translations() -> Iterator[None]:
    """A site that has switched them off: Django keeps each function that it has chosen, and each format, for good."""
    chosen, _trans.__dict__ = _trans.__dict__, {}
    reset_format_cache()
    try:
        with override_settings(USE_I18N=False):
            yield
    finally:
        _trans.__dict__ = chosen
        reset_format_cache()


def test_without_translations_numbers_stay_readable(without_translations: None) -> None:
    """Thousands are told apart by commas, whatever language the reader asks for."""
    assert thousands(19410) == "19,410"
    with override("de"):
        assert thousands(19410) == "19,410"


@pytest.mark.django_db(transaction=True)
@override_settings(LANGUAGE_CODE="de")
def test_a_german_site_gets_german_pages_and_english_commands(
    operator: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """What programs compare stays as it is: values of forms, commands, the verdict for monitors."""
    queue("ok@example.com", "nouser@example.com", subject="Grüße")
    deliver()
    page = operator.get("/mail/messages/", {"state": "accepted"}).content.decode()
    assert '<html lang="de">' in page
    assert "angenommen" in page
    assert 'value="accepted" selected' in page
    asked_first = operator.post("/mail/messages/act/", {"act": "cancel", "recipient": ids("ok")})
    assert "Niemand" in asked_first.content.decode() or "niemandem" in asked_first.content.decode()
    assert operator.get("/mail/health/?format=json").json()["status"] in ("healthy", "degraded", "unhealthy")
    call_command("email_routes", "list")
    assert "geschlossen" not in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_the_verdict_and_what_causes_mean_are_german_too(operator: Client, settings: Any) -> None:
    """No sentence of the pages is left in English; the same finding is English for a monitor."""
    settings.LANGUAGE_CODE = "de"
    settings.MAILERS = MAILERS
    if django.VERSION < (6, 1):
        settings.EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"
    queue("nouser@example.com")
    deliver()
    OutboxRecipient.objects.filter(state="queued").delete()
    for number in range(3):
        queue(f"waits{number}@example.com")
    hold(Filter(states=("queued",)), actor="ada")
    route = find_route("gmail")
    assert route is not None
    do(Verb.PAUSE, route, actor="ada", reason="the provider is down")
    pages = [operator.get(f"/mail/{one}").content.decode() for one in ("", "routes/", "failures/", "messages/")]
    told = html.unescape(" ".join(pages))
    for words in (
        "der Weg 'gmail' ist pausiert, von ada",
        "Die Adresse des Empfängers gibt es nicht.",
        "Postfach unbekannt",
    ):
        assert words in told
    assert re.findall(r'<(?!html)[^>]*lang="en"[^>]*>[^<]*', " ".join(pages)) == []
    assert "the route 'gmail' is paused by ada" in operator.get("/mail/health/?format=json").content.decode()


@pytest.mark.django_db(transaction=True)
@override_settings(LANGUAGE_CODE="fr")
def test_a_language_without_a_catalogue_is_told_as_english(operator: Client) -> None:
    """A screen reader must not read English with French sounds."""
    page = operator.get("/mail/").content.decode()
    assert '<html lang="en">' in page
    assert "Overview" in page


def test_each_word_of_a_closed_set_has_a_translation() -> None:
    """States, outcomes, priorities, verdicts."""
    with override("de"):
        same = {one for one, words in WORDS.items() if str(words) == one}
    assert same == {"normal"}
