"""Settings of the package's own tests.

The database is chosen by RELIABLE_EMAIL_TEST_DB: sqlite (default), postgres or mariadb.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "only for tests"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "reliable_email",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
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
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def _database() -> dict[str, Any]:
    # Several checkouts may share one server: each can have a name of its own.
    name = os.environ.get("RELIABLE_EMAIL_TEST_DB_NAME", "reliable_email")
    worker = os.environ.get("PYTEST_XDIST_WORKER")  # tests side by side, and the processes that they start
    if worker:
        name += f"-{os.environ['PYTEST_XDIST_TESTRUNUID'][:8]}-{worker}"
    match os.environ.get("RELIABLE_EMAIL_TEST_DB", "sqlite"):
        case "sqlite":
            # A file for each run; the processes that a test starts find it by the environment.
            directory = BASE_DIR / "var" / "tests"
            directory.mkdir(parents=True, exist_ok=True)
            if worker:
                file = str(directory / f"{name}.sqlite3")
            else:
                default = str(directory / f"{name}-{os.getpid()}.sqlite3")
                file = os.environ.setdefault("RELIABLE_EMAIL_TEST_DB_FILE", default)
            return {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": file,
                "TEST": {"NAME": file},
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
                },
            }
        case "postgres":
            return {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": name,
                "USER": "postgres",
                "HOST": "127.0.0.1",
            }
        case "mariadb":
            if importlib.util.find_spec("MySQLdb") is None:
                import pymysql

                # Django asks for mysqlclient's version.
                pymysql.version_info = (2, 2, 7, "final", 0)
                pymysql.install_as_MySQLdb()
            return {
                "ENGINE": "django.db.backends.mysql",
                "NAME": name,
                "USER": "root",
                "HOST": "127.0.0.1",
                "OPTIONS": {"charset": "utf8mb4"},
            }
        case other:
            raise ValueError(f"RELIABLE_EMAIL_TEST_DB={other!r}: sqlite, postgres or mariadb")


DATABASES = {"default": _database()}
