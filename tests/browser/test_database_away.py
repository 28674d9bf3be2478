"""The pages while the database is away, in a browser: one sentence, what to do, and no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection
from django.test import override_settings

from tests.browser.chromium import Browser
from tests.browser.test_pages import troubles

pytestmark = pytest.mark.timeout(180)


@contextmanager
def away(table: str) -> Iterator[None]:
    """Every question about a table fails, as all do when the database is away."""
    if connection.vendor == "mysql":
        pytest.skip("MySQL commits with each change of a table")
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO gone_table")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE gone_table RENAME TO {table}")


@pytest.mark.parametrize("table", ["reliable_email_outboxrecipient", "django_session"])
@pytest.mark.parametrize(
    ("language", "words"), [("en", "the database does not answer"), ("de", "Datenbank antwortet nicht")]
)
def test_it_is_said_in_one_sentence(
    browser: Browser, pictures: Path | None, table: str, language: str, words: str
) -> None:
    """Also where the table is gone that says who asks; clean on a desk and on a phone, light and dark."""
    browser.visit("/mail/messages/")
    with override_settings(LANGUAGE_CODE=language), away(table):
        for width in (1280, 390):
            for is_dark in (False, True):
                browser.look(width=width, is_dark=is_dark)
                browser.visit("/mail/messages/")
                if pictures is not None:
                    shade = "dark" if is_dark else "light"
                    browser.keep_picture(pictures / f"away-{table}-{language}-{width}-{shade}.png")
                assert troubles(browser, allowed=("503 (Service Unavailable)",)) == []
        assert words in browser.find("#verdict .says").text
        assert browser.find_all("#verdict [lang=en]") == []
        assert "Traceback" not in browser.text
        assert "SELECT" not in browser.text
        assert not browser.find("#refresh-switch").is_displayed()  # there is nothing that refreshes
    browser.press("Try again" if language == "en" else "Noch einmal")
    assert browser.path == "/mail/"
    assert words not in browser.text
