"""Each test of the conformance suite runs on every database that is here, with real commits on tables of its own."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import DjangoDbBlocker

from reliable_email import models
from tests.services import MARIADB_PORT, MYSQL_PORT, require

# Folders that import these fixtures have databases of their own.
_numbers = itertools.count()
VENDORS = ("sqlite", "postgres", "mariadb", "mysql")
_PORTS = {"mariadb": MARIADB_PORT, "mysql": MYSQL_PORT}
_TABLES = (
    models.Attempt,
    models.PartReference,
    models.Part,
    models.ProviderEvent,
    models.OutboxRecipient,
    models.OutboxMessage,
    models.RouteState,
    models.Suppression,
    models.Worker,
    models.Action,
    models.Tally,
    models.OutcomeTotal,
    models.LatencyTotal,
    models.Opening,
    models.LearnedLimit,
    models.IncomingHold,
    models.HandlerEvent,
)


def _use_pymysql() -> None:
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.version_info = (2, 2, 7, "final", 0)  # Django asks for mysqlclient's version
        pymysql.install_as_MySQLdb()


def database_settings(vendor: str, name: str) -> dict[str, Any]:
    """What DATABASES says of one vendor; the processes of the chaos tests use it too."""
    match vendor:
        case "sqlite":
            return {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": name,
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "timeout": 20,
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
        case _:
            _use_pymysql()
            return {
                "ENGINE": "django.db.backends.mysql",
                "NAME": name,
                "USER": "root",
                "HOST": "127.0.0.1",
                "PORT": _PORTS[vendor],
                "OPTIONS": {"charset": "utf8mb4"},
            }


def _create(vendor: str, name: str, encoding: str) -> None:
    if vendor == "postgres":
        import psycopg

        with psycopg.connect(host="127.0.0.1", user="postgres", dbname="postgres", autocommit=True) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            words = f" ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0" if encoding else ""
            server.execute(f'CREATE DATABASE "{name}"{words}')
    elif vendor in _PORTS:
        import pymysql

        with pymysql.connect(host="127.0.0.1", port=_PORTS[vendor], user="root") as server, server.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET {encoding or 'utf8mb4'}")


def _drop(vendor: str, name: str) -> None:
    if vendor == "postgres":
        import psycopg

        with psycopg.connect(host="127.0.0.1", user="postgres", dbname="postgres", autocommit=True) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    elif vendor in _PORTS:
        import pymysql

        with pymysql.connect(host="127.0.0.1", port=_PORTS[vendor], user="root") as server, server.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
    else:
        for suffix in ("", "-wal", "-shm"):
            Path(name + suffix).unlink(missing_ok=True)


@contextmanager
def created_database(vendor: str, alias: str, name: str, encoding: str = "") -> Iterator[None]:
    """An empty database of this vendor under an alias, in an encoding; gone afterwards."""
    settings = database_settings(vendor, name)
    _create(vendor, name, encoding)
    connections.settings[alias] = connections.configure_settings({alias: settings, "default": {}})[alias]
    try:
        yield
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]
        _drop(vendor, name)


@pytest.fixture(params=VENDORS)
def first_version(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The alias of a database with the tables of the first version."""
    vendor = request.param
    if vendor != "sqlite":
        require(vendor)
    alias = f"first_version_{vendor}"
    name = str(tmp_path / "first.sqlite3") if vendor == "sqlite" else f"test_first_{os.getpid()}"
    with created_database(vendor, alias, name), django_db_blocker.unblock():
        migrate(alias, "0001")
        yield alias


def migrate(using: str, *target: str) -> None:
    """Make the tables those of a version, as an operator does; of the last one by default."""
    call_command("migrate", "reliable_email", *target, database=using, verbosity=0)


@pytest.fixture(scope="session", params=VENDORS)
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """The alias of a database of this vendor, with the app's tables."""
    vendor = request.param
    if vendor != "sqlite":
        require(vendor)
    number = next(_numbers)
    alias = f"outbox_{vendor}_{number}"
    name = (
        str(tmp_path_factory.mktemp("outbox") / "outbox.sqlite3")
        if vendor == "sqlite"
        else f"test_outbox_{os.getpid()}_{number}"
    )
    with created_database(vendor, alias, name):
        with django_db_blocker.unblock():
            migrate(alias)
            connections[alias].close()
        # Forbidden again between the tests that ask for it: what another module's test sends must leave no row behind.
        yield alias


@pytest.fixture
def using(database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The alias of a database whose tables are empty."""
    with django_db_blocker.unblock():
        yield database
        connection: BaseDatabaseWrapper = connections[database]
        connection.close()
        for model in _TABLES:
            model._base_manager.using(database).all().delete()
        connection.close()
