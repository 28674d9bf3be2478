"""The jobs of one claim: its messages are read a few megabytes at a time, and made into jobs for a route."""

from collections.abc import Collection, Iterable, Sequence

from django.db.utils import Error as DatabaseError

from reliable_email.delivery.content.prefixed import with_header
from reliable_email.delivery.passages.progress import Send
from reliable_email.delivery.route import Route
from reliable_email.outbox.keyring import KeyMissing, Keyring
from reliable_email.outbox.rows.loading import StoredMessage, load_contents, load_submission
from reliable_email.records import dataclass, record
from reliable_email.smtp.dsn import DSN, dsn_from_text
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.smtp.transaction import Content, Job


@record(frozen=True, slots=True)
class Loaded:
    """A message's bytes, and what its route wants to find in a job.

    Attributes:
        error: what was raised while the message was made anew for this route; None where all is well.
        dsn: the notices that the message asks for; None for none.
    """

    content: BytesContent
    key: object
    error: Exception | None = None
    dsn: DSN | None = None


@record(frozen=True, slots=True)
class Missing:
    """A message whose content cannot be had, and why."""

    message: StoredMessage
    cause: str
    detail: str


@dataclass(slots=True, eq=False)
class Turn:
    """A job that a transport has taken; `handed_over` are those who may get it already."""

    send: Send
    job: Job
    handed_over: Collection[str] = ()


class Contents:
    """The contents of one claim's messages, read a few megabytes at a time.

    Args:
        using: alias of the database.
        stored: contents that came with the messages, as they are stored; each is used once.
    """

    def __init__(self, using: str, keyring: Keyring, stored: dict[int, bytes]) -> None:
        self._using = using
        self._keyring = keyring
        self._stored = stored

    def are_here(self, route: Route, messages: Sequence[StoredMessage]) -> bool:
        """Return whether `load` need not ask the database."""
        return not route.is_foreign and all(message.id in self._stored for message in messages)

    def load(self, route: Route, messages: Sequence[StoredMessage]) -> tuple[dict[int, Loaded], list[Missing]]:
        """Read these messages' contents for a route."""
        stored = {message.id: self._stored.pop(message.id) for message in messages if message.id in self._stored}
        asked_for = [message for message in messages if message.id not in stored]
        if asked_for:
            stored |= load_contents(self._using, asked_for)
        loaded: dict[int, Loaded] = {}
        missing: list[Missing] = []
        for message in messages:
            if message.id not in stored:
                missing.append(Missing(message, "content_gone", "its content was pruned or deleted"))
                continue
            try:
                data = self._keyring.open(stored.pop(message.id), message.encryption_key)
                if not data and message.content_size:  # emptied by somebody's own SQL: nobody is sent a blank mail
                    missing.append(Missing(message, "content_gone", "its content was emptied"))
                    continue
                loaded[message.id] = self._for_route(route, message, BytesContent(data))
            except KeyMissing as error:
                missing.append(Missing(message, "key_missing", str(error)))
        return loaded, missing

    def _for_route(self, route: Route, message: StoredMessage, content: BytesContent) -> Loaded:
        try:
            if not route.is_foreign:
                text = self._keyring.open_text(message.dsn, message.encryption_key)
                return Loaded(content, message.id, dsn=dsn_from_text(text) if text else None)
            return Loaded(content, load_submission(self._using, message, content, self._keyring))
        except (DatabaseError, KeyMissing):
            raise
        except Exception as error:  # noqa: BLE001 - stored fields may be anything; it is this message's on this route
            return Loaded(content, message.id, error)


def job_of(send: Send, message: StoredMessage, loaded: Loaded) -> Job:
    """Make the job of an envelope."""
    content: Content = loaded.content
    if send.route.idempotency_header is not None:
        content = with_header(content, send.route.idempotency_header, message.message_id.strip("<>"))
    return Job(
        sender=message.sender,
        recipients=send.addresses,
        content=content,
        key=loaded.key,
        may_resend=send.may_resend,
        dsn=loaded.dsn,
        is_repeat=send.is_repeat,
    )


def no_job(recipients: Iterable[str]) -> Job:
    """Make a job for envelopes that never became one."""
    return Job(sender="", recipients=tuple(recipients), content=BytesContent(b""))
