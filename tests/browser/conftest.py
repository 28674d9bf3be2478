"""A browser for the whole run; for each test a site with mail of every kind, and somebody who is logged in."""

import os
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client, override_settings
from pytest_django.live_server_helper import LiveServer

from tests.browser.chromium import Browser, chromium
from tests.browser.site import MAILERS, fill
from tests.services import require


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The browser."""
    require("chromium")
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def site(transactional_db: None, live_server: LiveServer) -> Iterator[str]:
    """The address of a site with mail."""
    middleware = [
        "django.middleware.security.SecurityMiddleware",
        "tests.browser.policy.OwnFilesOnly",
        *settings.MIDDLEWARE,
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
    # Django before 6.1 comes to MAILERS by this door.
    older = {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer"} if django.VERSION < (6, 1) else {}
    with override_settings(MAILERS=MAILERS, MIDDLEWARE=middleware, **older):
        fill()
        yield str(live_server.url)


@pytest.fixture
def browser(window: Browser, site: str) -> Browser:
    """A browser in which the operator is logged in."""
    client = Client()
    client.force_login(User.objects.create_superuser("olga"))
    window.site = site
    window.look(width=1280)
    window.become(client.cookies["sessionid"].value)
    return window


@pytest.fixture
def pictures() -> Path | None:
    """Where to keep pictures of the pages, where somebody wants to look at them: RELIABLE_EMAIL_PICTURES."""
    name = os.environ.get("RELIABLE_EMAIL_PICTURES")
    if not name:
        return None
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
