"""Operations that a queue of a million rows survives while it is used."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any

from django.apps.registry import Apps
from django.db import models, router, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddConstraint, AddField, AddIndex, AlterField, CreateModel, RemoveIndex, RunPython
from django.db.migrations.state import ProjectState

from reliable_email.store.sql.clock import from_utc, in_utc, stores_local_time

_BATCH = 2000


class _Once:
    """Do an operation in a transaction of its own, and only where an interrupted migration has not done it yet."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Make what is not there yet."""
        model = self._model(to_state.apps, app_label)
        if not _has_tables(schema_editor, model):
            return
        if schema_editor.collect_sql or not self._is_there(schema_editor, model):  # sqlmigrate makes no tables
            with _whole(schema_editor):
                self._do(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Drop what is still there."""
        model = self._model(from_state.apps, app_label)
        # Where an interrupted one has dropped the table, nothing of it is left to be dropped.
        if schema_editor.collect_sql or (_exists(schema_editor, model) and self._is_there(schema_editor, model)):
            with _whole(schema_editor):
                super().database_backwards(app_label, schema_editor, from_state, to_state)  # type: ignore[misc]

    def _do(self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState) -> None:
        super().database_forwards(app_label, schema_editor, from_state, to_state)  # type: ignore[misc]

    def _model(self, apps: Any, app_label: str) -> Any:
        return apps.get_model(app_label, self.model_name)  # type: ignore[attr-defined]

    def _is_there(self, schema_editor: Any, model: Any) -> bool:
        raise NotImplementedError


def _has_tables(schema_editor: Any, model: Any) -> bool:
    """Return whether the site's routers let the tables be in this database."""
    return router.allow_migrate_model(schema_editor.connection.alias, model)


def _exists(schema_editor: Any, model: Any) -> bool:
    return _has_tables(schema_editor, model) and (
        model._meta.db_table in schema_editor.connection.introspection.table_names()
    )


def _constraints(schema_editor: Any, model: Any) -> dict[str, Any]:
    """The constraints and indexes that the database has, by name."""
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        found: dict[str, Any] = connection.introspection.get_constraints(cursor, model._meta.db_table)
    return found


@contextmanager
def _whole(schema_editor: Any) -> Iterator[None]:
    """Do all or nothing of an operation, where the database can undo a change of its tables (MySQL cannot)."""
    connection = schema_editor.connection
    with transaction.atomic(connection.alias) if connection.features.can_rollback_ddl else nullcontext():
        yield
        # What Django would put off to the end of the migration, which an interrupted one does not reach. On MySQL, an
        # operation must leave nothing here: it could end in between.
        for statement in schema_editor.deferred_sql:
            schema_editor.execute(statement)
        schema_editor.deferred_sql.clear()


class CreateTable(_Once, CreateModel):
    """Create a table; its indexes, constraints and foreign keys follow, each by itself."""

    def _model(self, apps: Any, app_label: str) -> Any:
        return apps.get_model(app_label, self.name)

    def _is_there(self, schema_editor: Any, model: Any) -> bool:
        return _exists(schema_editor, model)


class AlterUnique(AlterField):
    """Alter whether a column is unique by itself, and nothing else of it."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Bring the column from one state to the other; backwards as well, with the states exchanged."""
        model = to_state.apps.get_model(app_label, self.model_name)
        if schema_editor.collect_sql or (_exists(schema_editor, model) and self._differs(schema_editor, model)):
            with _whole(schema_editor):
                super().database_forwards(app_label, schema_editor, from_state, to_state)

    def _differs(self, schema_editor: Any, model: Any) -> bool:
        field = model._meta.get_field(self.name)
        found = _constraints(schema_editor, model).values()
        return any(one["unique"] and one["columns"] == [field.column] for one in found) != bool(field.unique)


class AddConstraintOnce(_Once, AddConstraint):
    """Add a constraint."""

    def _is_there(self, schema_editor: Any, model: Any) -> bool:
        return self.constraint.name in _constraints(schema_editor, model)


class AddIndexOnce(_Once, AddIndex):
    """Add an index to a table that is new, or small."""

    def _is_there(self, schema_editor: Any, model: Any) -> bool:
        return self.index.name in _constraints(schema_editor, model)


class AddFieldOnce(_Once, AddField):
    """Add a column to a table that is new."""

    def _is_there(self, schema_editor: Any, model: Any) -> bool:
        connection = schema_editor.connection
        with connection.cursor() as cursor:
            columns = connection.introspection.get_table_description(cursor, model._meta.db_table)
        return model._meta.get_field(self.name).column in [one.name for one in columns]


class AddColumn(AddFieldOnce):
    """Add a column that may be NULL, or whose default the database keeps: no row is written, on no database.

    Django would make a new table on SQLite for each column that must not be NULL, though SQLite itself can add one.
    The default stays, so that processes of the earlier version, which do not know the column, go on inserting.
    """

    def _do(self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState) -> None:
        model = self._model(to_state.apps, app_label)
        BaseDatabaseSchemaEditor.add_field(schema_editor, model, model._meta.get_field(self.name))


class AddIndexBeside(AddIndex):
    """Make an index while the table is written: CONCURRENTLY on PostgreSQL; MySQL and MariaDB do it by themselves."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Add the index beside the writes of a running site."""
        _add_beside(schema_editor, to_state.apps.get_model(app_label, self.model_name), self.index)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Drop the index beside the writes of a running site."""
        _drop_beside(schema_editor, from_state.apps.get_model(app_label, self.model_name), self.index)


class RemoveIndexBeside(RemoveIndex):
    """Drop an index without waiting for those who read by it, and without making others wait."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Drop the index beside the writes of a running site."""
        index = from_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        _drop_beside(schema_editor, from_state.apps.get_model(app_label, self.model_name), index)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Add the index beside the writes of a running site."""
        index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        _add_beside(schema_editor, to_state.apps.get_model(app_label, self.model_name), index)


def _add_beside(schema_editor: Any, model: Any, index: models.Index) -> None:
    if not _has_tables(schema_editor, model):
        return
    if _can_be_concurrent(schema_editor):
        # What an interrupted attempt has left behind is no index.
        schema_editor.remove_index(model, index, concurrently=True)
        schema_editor.add_index(model, index, concurrently=True)
    elif schema_editor.collect_sql or index.name not in _constraints(schema_editor, model):
        schema_editor.add_index(model, index)


def _drop_beside(schema_editor: Any, model: Any, index: models.Index) -> None:
    if not _has_tables(schema_editor, model):
        return
    if _can_be_concurrent(schema_editor):
        schema_editor.remove_index(model, index, concurrently=True)
    elif schema_editor.collect_sql or index.name in _constraints(schema_editor, model):
        schema_editor.remove_index(model, index)


def _can_be_concurrent(schema_editor: Any) -> bool:
    connection = schema_editor.connection
    return connection.vendor == "postgresql" and not connection.in_atomic_block


def instants_to_utc() -> RunPython:
    """Write in UTC what a site without USE_TZ has stored as local time, where the database says no time zone."""
    # All or nothing, also where the migration is not: what was translated must not be translated again.
    return RunPython(_to_utc, _to_local, atomic=True)


def _to_utc(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    connection = schema_editor.connection
    # What is read is naive local time, or aware in the zone of the connection; `in_utc` makes of it what is written.
    _translate(apps, schema_editor, lambda moment: in_utc(connection, moment))


def _to_local(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    connection = schema_editor.connection
    _translate(apps, schema_editor, lambda moment: from_utc(connection, moment))


def _translate(apps: Apps, schema_editor: BaseDatabaseSchemaEditor, translate: Any) -> None:
    connection = schema_editor.connection
    if not stores_local_time(connection):
        return
    for model in apps.get_app_config("reliable_email").get_models():
        columns = [field.attname for field in model._meta.concrete_fields if isinstance(field, models.DateTimeField)]
        rows = model._base_manager.using(connection.alias)
        if model.__name__ == "Tally":
            _translate_tallies(rows, translate)
            continue
        for chunk in _chunks(rows.order_by("pk"), columns) if columns else ():
            for row in chunk:
                for column in columns:
                    moment = getattr(row, column)
                    if isinstance(moment, datetime):
                        setattr(row, column, translate(moment))
            rows.bulk_update(chunk, columns, batch_size=100)


def _translate_tallies(rows: Any, translate: Any) -> None:
    """Minute by minute, away from those that are still to come: no two may meet in one that is unique."""
    minutes = sorted(rows.order_by().values_list("minute", flat=True).distinct())
    if minutes and translate(minutes[0]) > minutes[0]:
        minutes.reverse()
    for minute in minutes:
        rows.filter(minute=minute).update(minute=translate(minute))


def _chunks(rows: Any, columns: list[str]) -> Iterator[list[Any]]:
    last = 0
    while chunk := list(rows.filter(pk__gt=last).only("pk", *columns)[:_BATCH]):
        yield chunk
        last = chunk[-1].pk
