"""The base of all doors: ordinary Django backends that know the alias they were created for."""

from typing import TYPE_CHECKING

import django
from django.core.mail.backends.base import BaseEmailBackend

if TYPE_CHECKING or django.VERSION >= (6, 1):

    class Door(BaseEmailBackend):
        """A backend with an alias: of the entry of MAILERS; None where it was made by hand."""

        alias: str | None

else:

    class Door(BaseEmailBackend):
        """The same for a Django that gives its backends no alias."""

        def __init__(self, *, alias: str | None = None) -> None:
            super().__init__()
            self.alias = alias
