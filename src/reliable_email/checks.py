"""The registration of the system checks. `diagnosis.configuration`, which `test_email` asks too, has the checks.

That is imported when a check runs: most processes run none.
"""

from collections.abc import Collection, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register  # noqa: A004 - Django's name

TAG = getattr(Tags, "mail", "mail")  # Django has the tag from 6.1 on
_ANNOUNCE_HINTS = {
    "celery": "Install django-reliable-email[celery], and what the URL of your Celery app's broker needs.",
    "tasks": "Use Django 6.0 or later, and let the backend 'default' of TASKS serve the queue 'default'.",
}


def check_configuration(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Run the checks of the configuration."""
    from reliable_email.diagnosis import configuration

    return configuration.check_configuration(app_configs, **kwargs)


def check_announcement(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn where the task queue that delivers cannot be used (W010)."""
    from reliable_email import conf
    from reliable_email.integrations import announcing

    error = None if conf.key_problems() else announcing.unusable()
    if error is None:
        return []
    name = conf.get().announce
    return [
        Warning(
            f"RELIABLE_EMAIL['ANNOUNCE'] is {name!r}, and no task can be sent: {type(error).__name__}: {error}. Queued "
            "messages wait for a sweep or for manage.py email_worker.",
            hint=_ANNOUNCE_HINTS[name],
            id="reliable_email.W010",
        )
    ]


def check_deployment(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Run the checks of a site in production."""
    from reliable_email.diagnosis import configuration

    return configuration.check_deployment(app_configs, **kwargs)


def check_durability(
    app_configs: Sequence[AppConfig] | None = None, databases: Collection[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Run the checks of the outbox's databases."""
    from reliable_email.diagnosis import durability

    return durability.check_durability(databases=databases)


def configuration_messages() -> list[CheckMessage]:
    """Run all checks of the configuration, the worst messages first."""
    from reliable_email.diagnosis import configuration

    return configuration.configuration_messages()


def register_all() -> None:
    """Register every check; doing it again changes nothing."""
    register(check_configuration, TAG)
    register(check_announcement, TAG)
    register(check_deployment, TAG, deploy=True)
    register(check_durability, Tags.database)
