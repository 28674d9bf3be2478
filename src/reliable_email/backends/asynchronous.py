"""Sending and queueing from coroutines: asynchronous views, consumers, tasks.

What blocks (the wire, the database) runs in the thread of the request (`asgiref.sync`), so that it sees the request's
database connection and does not hold up the event loop. A transaction of Django cannot be open around an `await`.
"""

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.core.mail import EmailMessage

from reliable_email.backends.outbox import submit
from reliable_email.mailers import mailers

if TYPE_CHECKING:
    from reliable_email.store.tables.messages import OutboxMessage


async def asend(message: EmailMessage, *, using: str | None = None) -> int:
    """Send a message in a coroutine, or queue it if the mailer is an outbox; return 1, or 0 if it reached no recipient.

    Args:
        message: gets its report in `.delivery`, as by `message.send()`.
        using: the mailer's alias; None for the default one.

    Raises:
        What `message.send()` raises.
    """
    return await sync_to_async(_send)(message, using)


async def asubmit(message: EmailMessage, using: str | None = None, **options: Any) -> "OutboxMessage":
    """Queue one message with options of its own in a coroutine, and return its row; the arguments are `submit`'s."""
    return await sync_to_async(submit)(message, using, **options)


def _send(message: EmailMessage, using: str | None) -> int:
    if using is None:
        return message.send() or 0
    return (mailers[using].send_messages([message]) or 0) if message.recipients() else 0
