"""Providers' later events, from django-anymail's webhooks: they resolve unknown outcomes and suppress addresses.

A single SMTP reply never suppresses an address: it may be about the route, and a dead route taken for a dead mailbox
costs mail.
"""

import logging
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

from django.db import transaction

from reliable_email.backends.building import provider_of, smtp_reading
from reliable_email.backends.routes import MailerKind, all_mailers, mailer
from reliable_email.exceptions import MailerDoesNotExist
from reliable_email.outbox.operations.provider_events import Noted, Report, note_report
from reliable_email.outbox.operations.suppressed import suppress
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.tables.events import EventKind

logger = logging.getLogger("reliable_email.events")

# A mailbox that bounced may come back to life; who complained does not want mail.
BOUNCE_LIFETIME = timedelta(days=180)


def connect() -> None:
    """Listen; django-anymail must be installed."""
    from anymail.signals import tracking

    tracking.connect(note, dispatch_uid="reliable_email.events")


def note(sender: object, event: Any, esp_name: str, **kwargs: object) -> None:
    """Take one event down; see anymail's `AnymailTrackingEvent`. Never raises: the provider's call is not to blame."""
    if not event.recipient:
        return
    what = "note it beside its message"
    try:
        noted = _report(event, esp_name)
        what = "suppress its address"
        # Once: an event that is posted again must not put back what somebody has taken off the list.
        if noted.is_new or not noted.is_known:
            _suppress(event, esp_name)
    except Exception:
        logger.exception("An event of %s (%s) arrived, but it was not possible to %s", esp_name, event.event_type, what)


def _suppress(event: Any, source: str) -> None:
    if _may_be_another(event):
        return
    if event.event_type == "complained":
        reason, lifetime = "complained", None
    elif event.event_type == "bounced" and _says_dead(event) and not _will_pass(event):
        reason, lifetime = "bounced", BOUNCE_LIFETIME
    else:
        return
    using = outbox_database()
    # The webhook's view may be in a transaction; an error of ours must not break it, here and below.
    with transaction.atomic(using):
        suppress([event.recipient], reason=reason, source=source, lifetime=lifetime, using=using, may_shorten=False)


def _says_dead(event: Any) -> bool:
    """A bounce may be about the sender too; SendGrid's kind of it is not translated by anymail."""
    return event.reject_reason in ("bounced", "invalid") or (
        event.reject_reason is None and _raw(event).get("event") == _raw(event).get("type") == "bounce"
    )


def _will_pass(event: Any) -> bool:
    """Amazon SES reports a full mailbox, too, as a bounce: "Transient"."""
    bounce = _raw(event).get("bounce")
    return isinstance(bounce, dict) and bounce.get("bounceType") == "Transient"


def _may_be_another(event: Any) -> bool:
    """Resend does not say which of several recipients is meant; anymail then names the first."""
    told = _raw(event).get("data")
    if not isinstance(told, dict):
        return False
    return sum(len(value) for name in ("to", "cc", "bcc") if isinstance(value := told.get(name), list)) > 1


def _event_id(event: Any) -> str:
    told = _raw(event).get("event-data")
    if isinstance(told, dict) and told.get("id"):  # Mailgun: the same at each delivery, unique within a day
        return f"{told['id']} {told.get('timestamp', '')}"
    return str(event.event_id or "")


def _report(event: Any, source: str) -> Noted:
    try:
        kind = EventKind(event.event_type)
    except ValueError:  # opened, clicked, and what anymail does not know
        return Noted()
    words = [str(part)[:2048] for part in (event.description, event.mta_response) if part]
    report = Report(
        names=list(islice(_names(event), 8)),
        recipient=str(event.recipient),
        is_certain=not _may_be_another(event),
        kind=kind,
        source=source,
        event_id=_event_id(event),
        at=event.timestamp,
        detail=": ".join(dict.fromkeys(words)),
        may_know=partial(_may_know, provider_of_source(source)),
    )
    for using in _databases():
        with transaction.atomic(using):
            noted = note_report(report, using)
        if noted.is_strange:
            logger.warning(
                "An event of %s (%s) is about a message that another provider sent; it is ignored.", source, kind
            )
        if noted.is_known:
            return noted
    return Noted()


def provider_of_source(source: str) -> str:
    """A provider's key by the name that anymail gives it: "Amazon SES" is "ses"."""
    name = source.lower().replace(" ", "")
    return {"amazonses": "ses", "sendinblue": "brevo"}.get(name, name)


def _may_know(provider: str, route: str) -> bool:
    """Return whether a route leads, or may lead, to this provider: a server of one's own may hand on to anybody."""
    try:
        found = mailer(route)
    except MailerDoesNotExist:  # it was renamed since, or is of the EMAIL_* settings
        return True
    if found.kind is not MailerKind.SMTP:
        return provider_of(found.backend) in (None, provider)
    options = smtp_reading(found).options
    known = options.provider.name if options is not None and options.provider is not None else "generic"
    return known in ("generic", provider)


def _databases() -> list[str]:
    """Return the databases in which messages may be queued; each outbox may have its own."""
    named = [str(one.options.get("database") or "") for one in all_mailers().values() if one.kind is MailerKind.OUTBOX]
    return list(dict.fromkeys([*filter(None, named), outbox_database()]))


def _names(event: Any) -> Iterator[str]:
    """Yield the names by which the event may mean a message: the provider's id, and our Message-ID."""
    raw = _raw(event)
    if event.message_id:
        yield str(event.message_id)
    if isinstance(raw.get("smtp-id"), str):  # SendGrid
        yield raw["smtp-id"]
    mail, told = raw.get("mail"), raw.get("data")
    if isinstance(mail, dict):  # Amazon SES: its own id is elsewhere, the original headers are here
        for header in mail.get("headers") or ():
            if isinstance(header, dict) and str(header.get("name")).lower() == "message-id":
                yield str(header.get("value"))
    if isinstance(told, dict) and isinstance(told.get("message_id"), str):  # Resend
        yield told["message_id"]


def _raw(event: Any) -> dict[str, Any]:
    return event.esp_event if isinstance(event.esp_event, dict) else {}
