"""What all doors have in common: they are ordinary Django backends that know the alias they were made for."""

import django
from django.core.mail.backends.base import BaseEmailBackend


class Door(BaseEmailBackend):
    """A backend with an alias, on every Django version.

    Args:
        alias: of the entry of MAILERS; None where the backend was named by EMAIL_BACKEND or made by hand.
    """

    def __init__(self, *, alias: str | None = None) -> None:
        # Django before 6.1 takes no alias, and 6.1 wants it for its own messages.
        if alias is not None and django.VERSION >= (6, 1):
            super().__init__(alias=alias)
        else:
            super().__init__()
        self.alias = alias
