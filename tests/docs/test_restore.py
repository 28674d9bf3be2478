"""The page about a restored database, done step by step on a real outbox."""

import shlex
from collections import Counter
from datetime import timedelta

import django
import pytest
from django.core.mail import send_mail
from django.core.management import call_command
from django.db.models import F
from django.test.utils import override_settings

from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from tests.docs.pages import DOCS, blocks

_MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "route"}},
    "route": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "localhost"}},
}
_OLDER = {} if django.VERSION >= (6, 1) else {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer"}


def states() -> dict[str, str]:
    """The state of each recipient."""
    return dict(OutboxRecipient.objects.values_list("address", "state"))


@pytest.mark.django_db
def test_each_step_does_what_the_page_says() -> None:
    """Everything is held, the recent is cancelled, the old is requeued, and what another system queued is cancelled."""
    page = DOCS / "how-to" / "after-a-restore.md"
    steps = [shlex.split(one.text)[2:] for one in blocks(page) if one.language == "sh"]
    assert [step[1] for step in steps] == ["hold", "cancel", "requeue", "cancel"]
    with override_settings(MAILERS=_MAILERS, RELIABLE_EMAIL={"ENVIRONMENT": "production"}, **_OLDER):
        for name in ("recent", "old"):
            send_mail("Hello", "Text", "shop@example.com", [f"{name}@example.com"])
        old = OutboxMessage.objects.filter(recipients__address="old@example.com")
        old.update(created_at=F("created_at") - timedelta(hours=3))

        call_command(*steps[0])
        assert Counter(states().values()) == {"parked": 2}
        call_command(*steps[1])
        assert states() == {"recent@example.com": "cancelled", "old@example.com": "parked"}
        call_command(*steps[2])
        assert states() == {"recent@example.com": "cancelled", "old@example.com": "queued"}
    with override_settings(MAILERS=_MAILERS, RELIABLE_EMAIL={"ENVIRONMENT": "staging"}, **_OLDER):
        send_mail("Hello", "Text", "shop@example.com", ["tester@example.com"])
        call_command(*steps[3])
    assert states() == {
        "recent@example.com": "cancelled",
        "old@example.com": "cancelled",
        "tester@example.com": "queued",
    }
