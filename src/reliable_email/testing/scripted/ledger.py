"""The server's books: who was served, what was taken; written by many threads, read by the test's."""

import threading
import time
from collections.abc import Callable

from reliable_email.testing.records import ConnectionRecord, Ending, ReceivedMessage


class Ledger:
    """Everything that the conversations leave behind; every change wakes those who wait for one."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._messages: list[ReceivedMessage] = []
        self._refused: list[ReceivedMessage] = []
        self._ignored: list[ReceivedMessage] = []
        self._records: list[ConnectionRecord] = []

    @property
    def messages(self) -> list[ReceivedMessage]:
        """Messages that were taken, in order."""
        with self._condition:
            return list(self._messages)

    @property
    def refused(self) -> list[ReceivedMessage]:
        """Complete content that was not taken."""
        with self._condition:
            return list(self._refused)

    @property
    def ignored(self) -> list[ReceivedMessage]:
        """Second copies that the server recognised as such: answered like the first, taken only once."""
        with self._condition:
            return list(self._ignored)

    @property
    def records(self) -> list[ConnectionRecord]:
        """Connections in the order in which they were accepted."""
        with self._condition:
            return list(self._records)

    @property
    def open_connection_count(self) -> int:
        """Connections that have not ended."""
        with self._condition:
            return sum(record.ending is None for record in self._records)

    def open_connection(self, peer: tuple[str, int]) -> ConnectionRecord:
        """Enter a new connection."""
        with self._condition:
            record = ConnectionRecord(number=len(self._records) + 1, peer=peer)
            self._records.append(record)
            self._condition.notify_all()
        return record

    def take(self, message: ReceivedMessage, record: ConnectionRecord) -> None:
        """Enter a message that was taken."""
        with self._condition:
            record.message_count += 1
            self._messages.append(message)
            self._condition.notify_all()

    def ignore(self, message: ReceivedMessage) -> None:
        """Enter a recognised second copy."""
        with self._condition:
            self._ignored.append(message)
            self._condition.notify_all()

    def refuse(self, message: ReceivedMessage) -> None:
        """Enter complete content that was not taken."""
        with self._condition:
            self._refused.append(message)
            self._condition.notify_all()

    def end(self, record: ConnectionRecord, ending: Ending) -> None:
        """Enter a connection's end."""
        with self._condition:
            record.ending = ending
            self._condition.notify_all()

    def changed(self) -> None:
        """Say that a record has changed."""
        with self._condition:
            self._condition.notify_all()

    def wait_for(self, condition: Callable[[], object], timeout: float) -> None:
        """Wait until `condition()` is true; AssertionError with the story so far when it is not in time."""
        ends_at = time.monotonic() + timeout
        with self._condition:
            while not condition():
                left = ends_at - time.monotonic()
                if left <= 0 or not self._condition.wait(left):
                    raise AssertionError(f"it did not happen within {timeout} s; so far:\n{self.story()}")

    def story(self) -> str:
        """Return a description of all connections, for people."""
        lines = []
        for record in self.records:
            lines.append(f"connection {record.number}: {record.ending or 'open'}, {record.message_count} taken")
            lines += [f"  {command}" for command in record.commands]
        return "\n".join(lines) or "no connection"
