"""Who gets to see the pages."""

from collections.abc import Callable

import pytest
from django.test import Client, override_settings
from django.urls import reverse

PAGE = "/mail/"


@pytest.mark.django_db
def test_a_stranger_is_asked_to_log_in(client: Client) -> None:
    """By the admin's page, where the project has no other one."""
    answer = client.get(PAGE)
    assert answer.status_code == 302
    assert answer["Location"] == f"{reverse('admin:login')}?next={PAGE}"


@pytest.mark.django_db
@override_settings(LOGIN_URL="/who-are-you/")
def test_the_projects_own_login_is_used(client: Client) -> None:
    """LOGIN_URL is where to go."""
    assert client.get(PAGE)["Location"] == f"/who-are-you/?next={PAGE}"


def test_somebody_without_the_permission_is_told_what_is_missing(person: Callable[..., Client]) -> None:
    """Being logged in is not enough, and the answer names the permission."""
    answer = person().get(PAGE)
    assert answer.status_code == 403
    assert "reliable_email.view_outboxmessage" in answer.content.decode()


def test_the_permission_to_view_is_enough_to_see(person: Callable[..., Client]) -> None:
    """Acting and reading content are other permissions."""
    answer = person("view_outboxmessage").get(PAGE)
    assert answer.status_code == 200
    assert "may look but not act" in answer.content.decode()


@override_settings(MIDDLEWARE=["django.middleware.common.CommonMiddleware"])
def test_a_site_that_knows_nobody_lets_nobody_in(client: Client) -> None:
    """Without the middleware the refusal says what to add."""
    answer = client.get(PAGE)
    assert answer.status_code == 403
    assert "AuthenticationMiddleware" in answer.content.decode()


def test_pages_are_private_and_run_only_what_is_the_sites_own(operator: Client) -> None:
    """No cache keeps them, no other site frames them, and no script or style stands in them."""
    answer = operator.get(PAGE)
    assert "no-store" in answer["Cache-Control"]
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    text = answer.content.decode()
    assert " style=" not in text
    assert "<style" not in text
    assert "<script>" not in text


@override_settings(STATIC_URL="https://static.example.org/")
def test_static_files_may_live_elsewhere(operator: Client) -> None:
    """The policy names their host."""
    assert "style-src 'self' https://static.example.org;" in operator.get(PAGE)["Content-Security-Policy"]
