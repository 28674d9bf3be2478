"""EMAIL_BACKEND for Django before 6.1: opens the mailer "default" of the setting MAILERS."""

from typing import Any

import django

from reliable_email import conf
from reliable_email.exceptions import InvalidMailer
from reliable_email.mailers import DEFAULT_MAILER_ALIAS, MailersHandler
from reliable_email.values import keeps_no_locals


class DefaultMailer:
    """Calling it gives the backend of MAILERS["default"] itself, so that nothing stands between it and its caller."""

    @keeps_no_locals
    def __new__(cls, *, fail_silently: bool = False, **kwargs: Any) -> Any:
        """Build the default mailer; arguments of `get_connection()` win over its OPTIONS.

        Raises:
            InvalidMailer: there is no MAILERS, or its "default" is this class again.
        """
        if "alias" in kwargs:
            raise InvalidMailer(
                "DefaultMailer opens the default mailer, so it cannot be one itself. It belongs into EMAIL_BACKEND "
                "on Django before 6.1; write the backend that should send here.",
                alias=kwargs["alias"],
            )
        if conf.mailers() is None:
            remedy = (
                "Define MAILERS and remove EMAIL_BACKEND: this version of Django opens MAILERS by itself."
                if django.VERSION >= (6, 1)
                else 'Define MAILERS with an entry "default".'
            )
            raise InvalidMailer(f"EMAIL_BACKEND is DefaultMailer, but there is no setting MAILERS. {remedy}")
        overrides = {name: value for name, value in kwargs.items() if value is not None}
        if fail_silently:
            overrides["fail_silently"] = True
        return MailersHandler().create_connection(DEFAULT_MAILER_ALIAS, overrides=overrides)
