"""The registration of the system checks. `diagnosis.configuration`, which `test_email` asks too, has the checks.

That is imported when a check runs: most processes run none.
"""

from collections.abc import Collection, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, register

TAG = getattr(Tags, "mail", "mail")  # Django has the tag from 6.1 on


def check_configuration(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Run the checks of the configuration."""
    from reliable_email.diagnosis import configuration

    return configuration.check_configuration(app_configs, **kwargs)


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
    register(check_deployment, TAG, deploy=True)
    register(check_durability, Tags.database)
