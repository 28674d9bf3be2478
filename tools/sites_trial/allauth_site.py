"""A site with allauth and DRF, with settings like cookiecutter-django's: sign-up, reset, newsletter, error mail."""

import sys

from tools.sites_trial.site import send_newsletter, trial

WANTED = ("Please Confirm Your Email", "Password Reset", "News of the week", "Internal Server Error")
SITE = {
    "ROOT_URLCONF": "tools.sites_trial.allauth_urls",
    "INSTALLED_APPS": [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.sites",
        "django.contrib.messages",
        "allauth",
        "allauth.account",
        "rest_framework",
        "reliable_email",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "allauth.account.middleware.AccountMiddleware",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ],
    "AUTHENTICATION_BACKENDS": ["allauth.account.auth_backends.AuthenticationBackend"],
    "ACCOUNT_LOGIN_METHODS": {"email"},
    "ACCOUNT_SIGNUP_FIELDS": ["email*", "password1*", "password2*"],
    "ACCOUNT_EMAIL_VERIFICATION": "mandatory",
}


def visit() -> None:
    """What visitors and the staff do."""
    from django.test import Client

    client = Client(raise_request_exception=False)
    password = "Correct-horse-9-battery"
    answer = client.post(
        "/accounts/signup/", {"email": "visitor@example.net", "password1": password, "password2": password}
    )
    assert answer.status_code == 302, answer.content
    client.post("/accounts/password/reset/", {"email": "visitor@example.net"})
    send_newsletter()
    assert client.get("/broken/").status_code == 500


if __name__ == "__main__":
    raise SystemExit(trial("allauth and DRF", sys.argv[1], WANTED, visit, count=6, site=SITE))
