"""What providers report later, by django-anymail's webhooks, comes onto the suppression list.

A single SMTP reply never does: it may be about the route, and a dead route taken for a dead mailbox costs mail.
"""

from datetime import timedelta
from typing import Any

from django.apps import apps

# A mailbox that bounced may come back to life; who complained does not want mail.
BOUNCE_LIFETIME = timedelta(days=180)


def connect() -> None:
    """Listen, where django-anymail is installed."""
    if apps.is_installed("anymail"):
        from anymail.signals import tracking

        tracking.connect(note, dispatch_uid="reliable_email.suppression")


def note(sender: object, event: Any, esp_name: str, **kwargs: object) -> None:
    """Take a bounce that lasts, or a complaint, down; see anymail's `AnymailTrackingEvent`."""
    from reliable_email.outbox.suppressed import suppress

    if not event.recipient:
        return
    if event.event_type == "complained":
        suppress([event.recipient], reason="complained", source=esp_name)
    elif event.event_type == "bounced" and event.reject_reason in ("bounced", "invalid") and not _will_pass(event):
        suppress([event.recipient], reason="bounced", source=esp_name, lifetime=BOUNCE_LIFETIME)


def _will_pass(event: Any) -> bool:
    """Amazon SES reports a full mailbox, too, as a bounce: "Transient"."""
    raw = event.esp_event if isinstance(event.esp_event, dict) else {}
    bounce = raw.get("bounce")
    return isinstance(bounce, dict) and bounce.get("bounceType") == "Transient"
