"""Operations that a queue of a million rows survives while it is used."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.apps.registry import Apps
from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddField, AddIndex, RemoveIndex, RunPython
from django.db.migrations.state import ProjectState

from reliable_email.store.sql.clock import from_utc, in_utc, stores_local_time

_BATCH = 2000


class AddColumn(AddField):
    """Add a column that may be NULL, or whose default the database keeps: no row is written, on no database.

    Django would make a new table on SQLite for each column that must not be NULL, though SQLite itself can add one.
    The default stays, so that processes of the earlier version, which do not know the column, go on inserting.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """See `Operation`."""
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        field = model._meta.get_field(self.name)
        BaseDatabaseSchemaEditor.add_field(schema_editor, model, field)


class AddIndexBeside(AddIndex):
    """Make an index while the table is written: CONCURRENTLY on PostgreSQL; MySQL and MariaDB do it by themselves."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """See `Operation`."""
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        if _can_be_concurrent(schema_editor):
            # What an interrupted attempt has left behind is no index.
            schema_editor.remove_index(model, self.index, concurrently=True)
            schema_editor.add_index(model, self.index, concurrently=True)
        else:
            schema_editor.add_index(model, self.index)


class RemoveIndexBeside(RemoveIndex):
    """Drop an index without waiting for those who read by it, and without making others wait."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """See `Operation`."""
        model = from_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        index = from_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        if _can_be_concurrent(schema_editor):
            schema_editor.remove_index(model, index, concurrently=True)
        else:
            schema_editor.remove_index(model, index)


def _can_be_concurrent(schema_editor: Any) -> bool:
    connection = schema_editor.connection
    return connection.vendor == "postgresql" and not connection.in_atomic_block


def instants_to_utc() -> RunPython:
    """Write in UTC what a site without USE_TZ has stored as local time, where the database says no time zone."""
    return RunPython(_to_utc, _to_local)


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
