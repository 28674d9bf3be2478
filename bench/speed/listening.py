"""An app whose receivers hear of each attempt and each delivery, as a site's own statistics do."""

from typing import Any

from django.apps import AppConfig


class Listening(AppConfig):
    """Counts."""

    name = "bench.speed"
    label = "listening"
    counts: dict[str, int]

    def ready(self) -> None:
        """Connect the receivers."""
        from reliable_email import signals

        self.counts = {}
        signals.attempt_finished.connect(self._count)
        signals.message_delivered.connect(self._count)

    def _count(self, sender: Any, **told: object) -> None:
        self.counts[str(sender)] = self.counts.get(str(sender), 0) + 1
