"""A submitted message: envelope, content and the caller's options, independent of the caller's object."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.core.mail import EmailMessage
from django.utils import timezone

from reliable_email.delivery.words import OnUnknown, Priority
from reliable_email.records import dataclass, field
from reliable_email.smtp.dsn import DSN, dsn_from
from reliable_email.smtp.transaction import Content

__all__ = ["DeliveryOptions", "OnUnknown", "Priority", "Submission"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """Options of one message, set as `message.delivery_options`.

    Attributes:
        idempotency_key: if a message with this key exists, it is returned and nothing is queued (outbox only).
        send_at: the earliest time to send (outbox only); a naive time is in the current time zone.
        expires_in: the time after which the message expires.
        priority: a `Priority`; None uses the mailer's.
        on_unknown: an `OnUnknown`; None uses the mailer's.
        dsn: delivery notices to request from a server that announces DSN: a `DSN`, or a dict with notify, ret, envid
            and orcpt. Overrides the route's option `dsn`.
    """

    idempotency_key: str | None = None
    send_at: datetime | None = None
    expires_in: timedelta | None = None
    priority: Priority | None = None
    on_unknown: OnUnknown | None = None
    dsn: DSN | Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        # Callers write the words; a word that is none is the caller's mistake.
        for name, words in (("priority", Priority), ("on_unknown", OnUnknown)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, words(value))
        for name, kind in (("send_at", datetime), ("expires_in", timedelta)):
            if not isinstance(value := getattr(self, name), kind | None):
                raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")
        if self.dsn is not None:
            object.__setattr__(self, "dsn", dsn_from(self.dsn))
        if self.send_at is not None and timezone.is_naive(self.send_at):
            # Now, in the caller's time zone; whoever stores it may have another.
            object.__setattr__(self, "send_at", timezone.make_aware(self.send_at))


NO_WISHES = DeliveryOptions()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Submission:
    """One message, ready for any route.

    Attributes:
        message: the caller's message, for routes that are not SMTP; never written to.
        sender: reverse-path as addr-spec.
        recipients: forward-paths as addr-specs, without duplicates, in the order of `message.recipients()`.
        content: the bytes for SMTP routes, built once: every attempt sends the same Message-ID and Date.
        message_id: with its angle brackets.
        from_domain: the domain of the From header, lower case: what sender verification and DMARC look at.
        options: the caller's wishes.
    """

    message: EmailMessage | None
    sender: str
    recipients: tuple[str, ...]
    content: Content
    message_id: str
    from_domain: str
    options: DeliveryOptions = NO_WISHES
    headers: Mapping[str, str] = field(default_factory=dict)
