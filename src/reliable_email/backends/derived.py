"""Classes that a project has derived from `ReliableSMTPBackend`, as routes of a failover or of a worker.

There nobody calls `send_messages()`: a class that replaces it would silently lose what it does, and is refused. An
`open()` of its own is called before the route is used, since it may say which server is meant.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from reliable_email.delivery.transports.foreign_answers import for_all, not_ready
from reliable_email.exceptions import InvalidMailer
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import WireError, WireFailure
from reliable_email.smtp.transaction import Aside, Job, Transport, Verdict, WireSteps


def replaces(cls: type, name: str, base: type) -> bool:
    """Return whether a class derived from `base` has its own method of this name."""
    return getattr(cls, name, None) is not getattr(base, name)


def refuse_replaced_send(cls: type, base: type, alias: str | None) -> None:
    """Fail for a route whose `send_messages()` would silently not be called.

    Raises:
        InvalidMailer: it has one of its own.
    """
    if replaces(cls, "send_messages", base):
        raise InvalidMailer(replaced_send(cls), alias=alias)


def replaced_send(cls: type) -> str:
    """Return why a class cannot be used behind another mailer, and the remedy."""
    return (
        f"{cls.__module__}.{cls.__qualname__} defines send_messages(), which is called where this mailer is the one "
        "that the application uses, but not by a failover or a worker that has it as a route. Move what it does into "
        "a class that you derive from the mailer in front of it (FailoverBackend or OutboxBackend)."
    )


class OpenedTransport(Transport):
    """Calls `open()` before the first of a stream's messages, and `close()` after the last.

    Args:
        alias: the route's, for error texts.
        open_backend: whatever the derived class does; it may take its time, and may raise.
        close_backend: the same.
        transport: asked after opening, since the server may be another then.
    """

    def __init__(
        self,
        alias: str,
        *,
        open_backend: Callable[[], Any],
        close_backend: Callable[[], Any],
        transport: Callable[[], Transport],
    ) -> None:
        self._alias = alias
        self._open = open_backend
        self._close = close_backend
        self._transport = transport

    def steps(self, jobs: Iterable[Job], *, deadline: Deadline) -> WireSteps:
        """Yield the steps of sending, after the class's `open()` and before its `close()`."""
        began_at = time.monotonic()
        try:
            transport = yield from Aside(self._opened).steps(lambda opened: self._close_unwaited())
        except Exception as error:  # noqa: BLE001 - any code of anybody's may be behind this
            failure = self._failure(error)
            for job in jobs:
                yield for_all(job, Verdict.NOT_SENT, failure, began_at)
            return
        try:
            yield from transport.steps(jobs, deadline=deadline)
        except GeneratorExit:
            self._close_unwaited()
            raise
        closing = Aside(self._close)
        yield closing  # what it raises is nobody's business any more

    def _opened(self) -> Transport:
        self._open()
        return self._transport()

    def _failure(self, error: Exception) -> WireFailure:
        """Return the failure of the package's `open()`, or of the derived class's."""
        met = error.__cause__
        return met.failure if isinstance(met, WireError) else not_ready(error, self._alias)

    def _close_unwaited(self) -> None:
        threading.Thread(target=self._close, name="reliable-email-close", daemon=True).start()
