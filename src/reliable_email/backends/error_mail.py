"""`ErrorMailBackend`: for ADMINS and `AdminEmailHandler`; it sends error mail and can do no harm.

    MAILERS = {..., "errors": {"BACKEND": "reliable_email.backends.ErrorMailBackend", "OPTIONS": {"using": "default"}}}
    LOGGING = {... "mail_admins": {"class": "django.utils.log.AdminEmailHandler", "using": "errors"}}

It raises nothing, whatever happens. It takes little time: a message that fails is followed by a pause in which nothing
is tried. It does not answer to itself: an error that is logged while it sends is not sent. And it does not flood:
messages that are alike are collapsed, one in `window` seconds, with the number of those that were held back, and of all
together twenty are sent in that time.
"""

import copy
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from reliable_email.backends.base import Door
from reliable_email.backends.failover import FailoverBackend
from reliable_email.backends.outbox import OutboxBackend
from reliable_email.backends.reading.doors import ErrorMailOptions, error_mail_options
from reliable_email.backends.smtp import ReliableSMTPBackend
from reliable_email.delivery.telling.floods import (
    MAX_FINGERPRINTS,
    Bucket,
    Flood,
    Pause,
    after_failure,
    fingerprint,
    has_room,
    held_back,
    passes,
    with_one_more,
)
from reliable_email.mailers import DEFAULT_MAILER_ALIAS, mailers
from reliable_email.process_state import remember
from reliable_email.values import keeps_no_locals

logger = logging.getLogger("reliable_email.error_mail")


class _State(threading.local):
    is_sending = False


_state = _State()
_lock = threading.Lock()
_floods: dict[tuple[str | None, str], Flood] = {}
_pauses: dict[str | None, Pause] = {}
_buckets: dict[str | None, Bucket] = {}


class ErrorMailBackend(Door):
    """A backend for error mail that never raises. OPTIONS: `using`, `window` (300 s), `timeout` (5 s)."""

    @keeps_no_locals
    def __init__(
        self,
        *,
        fail_silently: bool = True,
        alias: str | None = None,
        _ignore_unknown_kwargs: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(alias=alias)
        self.options: ErrorMailOptions = error_mail_options(options, alias=alias, ignore_unknown=_ignore_unknown_kwargs)
        self.fail_silently = True

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send those that are news; how many went out. Never raises."""
        if _state.is_sending:
            return 0  # an error of this very sending
        _state.is_sending = True
        try:
            return sum(self._send(message) for message in email_messages or ())
        except Exception:
            logger.warning("An error mail was not sent.", exc_info=True)
            return 0
        finally:
            _state.is_sending = False

    def _send(self, message: EmailMessage) -> bool:
        key = self.alias, fingerprint(str(message.subject))
        now = time.monotonic()
        with _lock:
            flood = _floods.get(key)
            is_paused = _pauses.get(self.alias, Pause()).until > now
            if flood is not None and (is_paused or not passes(flood, now=now, window_seconds=self.options.window)):
                _floods[key] = held_back(flood)
                return False
            if is_paused:
                return False
            bucket = _buckets.get(self.alias)
            if bucket is not None and not has_room(bucket, now=now, window_seconds=self.options.window):
                _buckets[self.alias] = replace(bucket, held_back=bucket.held_back + 1)
                return False
            _buckets[self.alias], others = with_one_more(bucket, now=now, window_seconds=self.options.window)
            if len(_floods) >= MAX_FINGERPRINTS:
                _floods.clear()
            _floods[key] = Flood(sent_at=now)
        held = flood.held_back if flood is not None else 0
        try:
            self._route().send_messages([_told(message, held, others)])
        except Exception as error:  # noqa: BLE001 - see the module
            self._has_failed(key, held, others, error)
            return False
        with _lock:
            _pauses.pop(self.alias, None)
        return True

    def _route(self) -> BaseEmailBackend:
        backend = mailers[self.options.using or DEFAULT_MAILER_ALIAS]
        if isinstance(backend, OutboxBackend):
            # The mail about a request that failed must not share the fate of what that request has written.
            backend.options = replace(backend.options, transactional=False)
        if getattr(backend, "timeout", None) is None or backend.timeout > self.options.timeout:  # type: ignore[attr-defined]
            backend.timeout = self.options.timeout  # type: ignore[attr-defined]
        if isinstance(backend, ReliableSMTPBackend | FailoverBackend):
            # Nobody waits a minute for an error mail; one that may have arrived is as good as one that has.
            backend.final_reply_timeout = self.options.timeout
        return backend

    def _has_failed(self, key: tuple[str | None, str], held: int, others: int, error: Exception) -> None:
        now = time.monotonic()
        with _lock:
            # Nobody has read of them. The window goes on: a server that refuses one in ten would get nearly all.
            bucket = _buckets.get(self.alias, Bucket(began_at=now))
            _buckets[self.alias] = replace(bucket, held_back=bucket.held_back + others)
            # The next one of its kind is news again, and tells of this one.
            _floods[key] = Flood(sent_at=now - self.options.window, held_back=held + 1)
            pause = _pauses[self.alias] = after_failure(_pauses.get(self.alias, Pause()), now=now)
        logger.warning("An error mail was not sent; no other is tried for %.0f s: %s", pause.until - now, error)


def _told(message: EmailMessage, held: int, others: int) -> EmailMessage:
    """The message, with the number of those that were held back before it, alike and others."""
    words = [f"{held} more like it" if held else "", f"{others} others" if others else ""]
    if not any(words):
        return message
    told = copy.copy(message)
    told.subject = f"{message.subject} (and {', '.join(filter(None, words))})"
    return told


def reset() -> None:
    """Forget what was sent and what failed."""
    with _lock:
        _floods.clear()
        _pauses.clear()
        _buckets.clear()


def _after_fork() -> None:
    """Forget suppressed messages in a child process; the parent reports them."""
    global _lock
    _lock = threading.Lock()
    _floods.clear()
    _buckets.clear()


remember(__name__, after_fork=_after_fork, reset=reset)
