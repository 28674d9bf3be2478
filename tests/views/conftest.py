"""People with and without permissions, and a browser for each."""

from collections.abc import Callable, Iterable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client


@pytest.fixture
def person(db: None) -> Callable[..., Client]:
    """Makes a client that is logged in as somebody with these permissions."""

    def make(*codenames: str, name: str = "ann", permissions: Iterable[str] = ()) -> Client:
        user = User.objects.create_user(name)
        for codename in (*codenames, *permissions):
            user.user_permissions.add(
                Permission.objects.get(codename=codename, content_type__app_label="reliable_email")
            )
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def operator(db: None) -> Client:
    """A client with every permission."""
    client = Client()
    client.force_login(User.objects.create_superuser("olga"))
    return client
