"""Connections to a database that are the outbox's own: never lent by Django's pool, in the schema of whoever asks.

A worker keeps a connection for each of its threads for as long as it runs. Out of a pool (`OPTIONS["pool"]`) they would
leave nothing for the site's own code in the same process, and a pool of four starves the worker itself.
"""

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


def own_connection(using: str, like: BaseDatabaseWrapper | None = None) -> BaseDatabaseWrapper:
    """Return a new connection for this thread, which is not in `connections`; whoever asks for it closes it.

    Args:
        like: whose settings and schema it has; this thread's connection by default.
    """
    outer = like or connections[using]
    options = {name: value for name, value in outer.settings_dict["OPTIONS"].items() if name != "pool"}
    own = type(outer)({**outer.settings_dict, "OPTIONS": options}, using)
    # django-tenants and its kin: a new connection begins in the public schema.
    tenant: Any = getattr(outer, "tenant", None)
    if tenant is not None and hasattr(own, "set_tenant"):
        own.set_tenant(tenant, getattr(outer, "include_public_schema", True))
    return own


def use_own_connection(using: str, like: BaseDatabaseWrapper | None = None) -> None:
    """Make such a connection this thread's."""
    connections[using] = own_connection(using, like)
