"""A site with Wagtail: moderation, reset of a password, a form's mail, newsletter, error mail."""

import sys
from typing import Any

from tools.sites_trial.site import send_newsletter, trial

WANTED = (
    "has been submitted for approval",
    "has been approved",
    "Password reset",
    "Someone wrote",
    "News of the week",
    "Internal Server Error",
)
SITE: dict[str, Any] = {
    "ROOT_URLCONF": "tools.sites_trial.wagtail_urls",
    "INSTALLED_APPS": [
        "wagtail.contrib.forms",
        "wagtail.contrib.redirects",
        "wagtail.embeds",
        "wagtail.sites",
        "wagtail.users",
        "wagtail.snippets",
        "wagtail.documents",
        "wagtail.images",
        "wagtail.search",
        "wagtail.admin",
        "wagtail",
        "modelcluster",
        "taggit",
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
        "reliable_email",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    "WAGTAIL_SITE_NAME": "Trial",
    "WAGTAILADMIN_BASE_URL": "http://example.org",
    "MEDIA_URL": "/media/",
}
PASSWORD = "Correct-horse-9-battery"


def visit() -> None:
    """An editor submits a page, a moderator approves it, somebody forgets a password, a visitor writes."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Group
    from django.test import Client
    from wagtail.models import Page

    users = get_user_model().objects
    editor = users.create_user("editor", "editor@example.net", PASSWORD)
    editor.groups.add(Group.objects.get(name="Editors"))
    moderator = users.create_user("moderator", "moderator@example.net", PASSWORD)
    moderator.groups.add(Group.objects.get(name="Moderators"))
    page = Page.objects.get(slug="home")
    _moderate(page, editor, moderator)
    Client().post("/admin/password_reset/", {"email": "editor@example.net"})
    _write()
    send_newsletter()
    assert Client(raise_request_exception=False).get("/broken/").status_code == 500


def _moderate(page: Any, editor: Any, moderator: Any) -> None:
    """By the page of the admin, and then as its button does it."""
    from django.test import Client
    from wagtail.models import TaskState

    client = Client()
    client.force_login(editor)
    answer = client.post(
        f"/admin/pages/{page.pk}/edit/",
        {"title": "Welcome, changed", "slug": page.slug, "comments-TOTAL_FORMS": 0, "comments-INITIAL_FORMS": 0}
        | {"action-submit": "Submit"},
    )
    assert answer.status_code == 302, answer.content[:2000]
    TaskState.objects.get().specific.approve(user=moderator)


def _write() -> None:
    """By the function with which pages of forms send what visitors wrote."""
    from wagtail.admin.mail import send_mail

    send_mail("Someone wrote", "Words: Grüße", ["office@example.net"], reply_to=["visitor@example.net"])


if __name__ == "__main__":
    raise SystemExit(trial("Wagtail", sys.argv[1], WANTED, visit, count=8, site=SITE))
