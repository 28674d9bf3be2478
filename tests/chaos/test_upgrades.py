"""An upgrade of the tables that is ended before any of its statements, and then made again."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from tests.chaos.harness import vendor_of
from tests.outbox.conftest import VENDORS, migrate
from tests.thoroughness import step

STEP = step(6, otherwise=24)

pytestmark = pytest.mark.timeout(600)


class Ended(BaseException):
    """The process is gone."""


class Fuse:
    """Ends the process before the statement of this number, of those that change tables."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Count a statement, and run it unless it is the one."""
        if sql.split(None, 1)[0] in {"ALTER", "CREATE", "DROP"}:
            self.left -= 1
            if self.left == 0:
                raise Ended
        return execute(sql, params, many, context)


def shape(using: str) -> dict[str, tuple[Any, ...]]:
    """Columns, constraints and indexes by table; the names that Django chose by itself stand for themselves."""
    connection = connections[using]
    found = {}
    with connection.cursor() as cursor:
        for table in sorted(connection.introspection.table_names(cursor)):
            if table.startswith("reliable_email_"):
                columns = {one.name for one in connection.introspection.get_table_description(cursor, table)}
                constraints = connection.introspection.get_constraints(cursor, table)
                rules = sorted((repr(one["columns"]), one["unique"], one["index"]) for one in constraints.values())
                found[table] = (columns, rules)
    return found


def rebuild(using: str) -> None:
    """Have MariaDB forget the dropped columns that it keeps in a table's rows, which one site has only once."""
    if connections[using].vendor == "mysql":
        with connections[using].cursor() as cursor:
            for table in shape(using):
                cursor.execute(f"ALTER TABLE {table} FORCE")


def end_before(using: str, number: int, *target: str) -> bool:
    """Migrate, and end before the statement of this number; false where there are fewer."""
    fuse = Fuse(number)
    try:
        with connections[using].execute_wrapper(fuse):
            migrate(using, *target)
    except Ended:
        connections[using].close()
        return True
    return False


def test_an_upgrade_that_ends_before_any_statement_goes_on_where_it_was(first_version: str) -> None:
    """So does its taking back; the tables are those of an upgrade that nothing disturbed."""
    before = shape(first_version)
    migrate(first_version)
    after = shape(first_version)
    migrate(first_version, "0001")
    number = 1 + VENDORS.index(vendor_of(first_version)) % STEP
    while end_before(first_version, number):
        migrate(first_version)
        assert shape(first_version) == after, f"ended before statement {number}"
        if end_before(first_version, number, "0001"):
            migrate(first_version, "0001")
        assert shape(first_version) == before, f"taken back until before statement {number}"
        rebuild(first_version)
        number += STEP
