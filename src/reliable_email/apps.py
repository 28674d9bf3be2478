"""The app: where its tables, checks and commands come from."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ReliableEmailConfig(AppConfig):
    """Registers the system checks when it is ready, and nothing else: no mailer is built and nothing is opened."""

    name = "reliable_email"
    label = "reliable_email"
    verbose_name = _("Reliable e-mail")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks."""
        from reliable_email.checks import register_all

        register_all()
