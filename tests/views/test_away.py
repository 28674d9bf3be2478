"""The page for a database that is away, on a site whose templates ask the database."""

import copy
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.db import OperationalError, connection
from django.http import HttpRequest
from django.test import Client, override_settings


def asks_the_database(request: HttpRequest) -> dict[str, Any]:
    """As context processors of sites do, for a menu or the name of the site."""
    raise OperationalError("the database is away")


def test_a_context_processor_that_asks_the_database_is_not_asked(operator: Client) -> None:
    """The page would be a traceback, which is what it is there to spare."""
    if connection.vendor == "mysql":
        pytest.skip("MySQL commits with each change of a table")
    templates = copy.deepcopy(site_settings.TEMPLATES)
    templates[0]["OPTIONS"]["context_processors"].append(f"{__name__}.asks_the_database")
    with connection.cursor() as cursor, override_settings(TEMPLATES=templates):
        cursor.execute("ALTER TABLE reliable_email_outboxrecipient RENAME TO gone_table")
        try:
            answer = operator.get("/mail/messages/")
        finally:
            cursor.execute("ALTER TABLE gone_table RENAME TO reliable_email_outboxrecipient")
    assert answer.status_code == 503
    assert "does not answer" in answer.content.decode()
