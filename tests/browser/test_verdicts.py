"""Each verdict as an operator meets it, in German, on a desk and on a phone, light and dark."""

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest
from django.test import override_settings

from reliable_email.monitoring import outbox_health, route_health, waiting_health
from reliable_email.monitoring.health import examine_site
from reliable_email.monitoring.sentences import Sentence
from tests.browser.chromium import Browser
from tests.browser.conditions import CONDITIONS, ELSEWHERE
from tests.browser.test_pages import troubles

pytestmark = pytest.mark.timeout(400)

_PAGES = ("routes/", "messages/", "failures/", "")


def templates(module: ModuleType) -> set[str]:
    """The sentences that a module tells as findings: the first argument of `Sentence`, or what a name stands for."""
    tree = ast.parse(inspect.getsource(module))
    marked = {
        node: node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "_"
        and isinstance(node.args[0], ast.Constant)
    }
    remedies = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "remedy"
        for child in ast.walk(node.value)
    }
    return {str(text) for node, text in marked.items() if node not in remedies and not str(text)[0].isupper()}


def test_no_finding_is_without_its_picture() -> None:
    """Whoever adds one adds a condition, and looks at it."""
    told = {text for module in (route_health, outbox_health, waiting_health) for text in templates(module)}
    words = {one.tells for one in CONDITIONS.values() if one.tells}
    fragments = {
        "all mail",
        "%(one)s, %(other)s",
        *(f"{one} %(name)s" for one in ("mailer", "account", "stream", "priority")),
    }
    assert len(told) > 20
    assert {
        text for text in told - ELSEWHERE - fragments if not any(text.endswith(one) or one in text for one in words)
    } == set()
    assert told >= ELSEWHERE


@pytest.mark.parametrize("case", CONDITIONS)
def test_a_verdict_is_read_in_german(browser: Browser, pictures: Path | None, case: str) -> None:
    """Its sentence, its remedy and the link that follows; nothing of it is English, nothing overflows."""
    condition = CONDITIONS[case]
    by_cause = case.startswith("closed-for-")
    with condition.there(), override_settings(LANGUAGE_CODE="de"):
        for page in _PAGES if pictures is not None and not by_cause else ("",):
            for width in (1280, 390):
                for is_dark in (False, True) if not by_cause else (width < 600,):
                    browser.look(width=width, is_dark=is_dark)
                    browser.visit(f"/mail/{page}")
                    if pictures is not None:
                        shade = "dark" if is_dark else "light"
                        browser.keep_picture(pictures / f"{case}-{page.strip('/') or 'overview'}-{width}-{shade}.png")
                    assert troubles(browser) == []
        assert browser.find_all("#verdict [lang=en]") == []
        assert condition.german in browser.find("#verdict").text
        told = [one.text.template for one in examine_site().findings if isinstance(one.text, Sentence)]
        assert any(condition.tells in one for one in told) or not condition.tells
