"""Error mail outlives the transaction of the request that it is about, by each recipe of the documentation."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.db import transaction
from django.utils.log import AdminEmailHandler

from reliable_email.backends import error_mail
from reliable_email.store.tables.messages import OutboxMessage
from tests.django.conftest import use_mailers

ADMINS = ["admin@example.org"] if django.VERSION >= (6, 0) else [("Admin", "admin@example.org")]
RECIPES = ["alias"] if django.VERSION >= (6, 1) else ["alias", "path"]


@pytest.fixture(params=["joins transactions", "does not"])
def site(request: pytest.FixtureRequest, using: str, settings: Any) -> Iterator[str]:
    """A site whose default mailer is an outbox in this database."""
    error_mail.reset()
    settings.ADMINS = ADMINS
    options = {"using": "routes", "database": using}
    if request.param == "does not":
        options["transactional"] = False
    entries = {
        "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": options},
        "errors": {"BACKEND": "reliable_email.backends.ErrorMailBackend", "OPTIONS": {"using": "default"}},
        "routes": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "127.0.0.1"}},
    }
    with use_mailers(entries):
        yield using
    error_mail.reset()


def handler(recipe: str) -> logging.Handler:
    """As the page on error mail has it for this version of Django."""
    if recipe == "path":
        return AdminEmailHandler(email_backend="reliable_email.backends.ErrorMailBackend")
    if django.VERSION >= (6, 1):
        return AdminEmailHandler(using="errors")
    from reliable_email.mailers import mailers

    class ByAlias(AdminEmailHandler):
        def connection(self) -> Any:
            return mailers["errors"]

    return ByAlias()


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_mail_about_a_failed_request_is_queued(site: str, recipe: str) -> None:
    """Whatever the request has written is gone, and the mail that says so is there, once."""
    record = logging.LogRecord("site", logging.ERROR, __file__, 1, "it broke", None, None)
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=site):
        OutboxMessage.objects.using(site).exists()
        handler(recipe).emit(record)
        raise ZeroDivisionError
    for thread in threading.enumerate():
        if thread.name == "reliable-email-side-door":  # SQLite has one writer: it waited for the rollback
            thread.join(timeout=60)
    assert OutboxMessage.objects.using(site).count() == 1
