"""The app: where its tables, checks and commands come from."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ReliableEmailConfig(AppConfig):
    """Registers checks and receivers when it is ready: no mailer is built and nothing is opened."""

    name = "reliable_email"
    label = "reliable_email"
    verbose_name = _("Reliable e-mail")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, let the database share what is known, listen for what is to be announced."""
        from reliable_email import conf
        from reliable_email.checks import register_all
        from reliable_email.integrations import announcing, anymail
        from reliable_email.outbox import suppressed
        from reliable_email.store import route_state

        register_all()
        route_state.connect()
        suppressed.connect()
        announcing.connect()
        anymail.connect()
        # A value that cannot be used is a check's business.
        if not conf.key_problems() and conf.get().tracing:
            from reliable_email.monitoring.tracing import instrument

            instrument()
