"""Registers the system checks; what they look at is in `diagnosis.configuration`, which `test_email` asks too."""

from django.core.checks import Tags, register

from reliable_email.diagnosis.configuration import check_configuration, check_deployment, configuration_messages

__all__ = ["TAG", "check_configuration", "check_deployment", "configuration_messages", "register_all"]

TAG = getattr(Tags, "mail", "mail")  # Django has the tag from 6.1 on


def register_all() -> None:
    """Register every check; doing it again changes nothing."""
    register(check_configuration, TAG)
    register(check_deployment, TAG, deploy=True)
