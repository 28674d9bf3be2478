"""Settings as a project has them: with MAILERS, or with the `EMAIL_*` names of old."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test.utils import override_settings


@pytest.fixture
def mailers_setting() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Sets MAILERS for the length of a test."""
    overrides: list[override_settings] = []

    def use(entries: Mapping[str, Any]) -> None:
        override = override_settings(MAILERS=entries)
        override.enable()
        overrides.append(override)

    yield use
    for override in reversed(overrides):
        override.disable()


@pytest.fixture
def email_settings() -> Iterator[Callable[..., None]]:
    """Sets `EMAIL_*` names in a project without MAILERS, for the length of a test."""
    overrides: list[override_settings] = []

    def use(**values: Any) -> None:
        override = override_settings()
        override.enable()
        overrides.append(override)
        if hasattr(django_settings, "MAILERS"):
            del django_settings.MAILERS
        for name in ("EMAIL_HOST", "EMAIL_PORT", "EMAIL_USE_TLS", "EMAIL_USE_SSL", "EMAIL_HOST_USER"):
            if django_settings.is_overridden(name):
                delattr(django_settings, name)
        for name, value in values.items():
            setattr(django_settings, name, value)

    yield use
    for override in reversed(overrides):
        override.disable()
