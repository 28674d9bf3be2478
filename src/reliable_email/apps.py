"""Registration of checks and receivers when the app is ready: where its tables, checks and commands come from."""

import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from reliable_email.delivery.route_memory import RouteStateStore


class ReliableEmailConfig(AppConfig):
    """Registers checks and receivers when it is ready: no mailer is built and nothing is opened.

    What stands behind them is imported when it is first asked for: a web process that sends no mail starts as before.
    """

    name = "reliable_email"
    label = "reliable_email"
    verbose_name = _("Reliable e-mail")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, let the database share what is known, listen for what is to be announced."""
        from django.apps import apps
        from django.core.signals import request_finished

        from reliable_email import conf
        from reliable_email.checks import register_all
        from reliable_email.delivery import registry
        from reliable_email.integrations import announcing

        register_all()
        registry.register_store(_database_store)
        registry.register_suppressions(_suppressed)
        request_finished.connect(_flush_route_state, dispatch_uid="reliable_email.store.memory.route_state")
        announcing.connect()
        if apps.is_installed("anymail"):
            from reliable_email.integrations import anymail

            anymail.connect()
        # A value that cannot be used is a check's business.
        if not conf.key_problems() and conf.get().tracing:
            from reliable_email.monitoring.tracing import instrument

            instrument()


def _database_store() -> "RouteStateStore":
    from reliable_email.delivery import registry
    from reliable_email.store.memory.route_state import database_store

    registry.register_store(database_store)  # from now on it is asked itself
    return database_store()


def _suppressed(addresses: Sequence[str]) -> Collection[str]:
    from reliable_email.delivery import registry
    from reliable_email.outbox.operations.suppression_list import unwanted_by_direct_sends

    registry.register_suppressions(unwanted_by_direct_sends)  # from now on it is asked itself
    return unwanted_by_direct_sends(addresses)


def _flush_route_state(**kwargs: object) -> None:
    """Write the route state that the request has changed, at the latest when it ends."""
    module = sys.modules.get("reliable_email.store.memory.route_state")
    if module is not None:  # else nothing has been told
        module.flush()
