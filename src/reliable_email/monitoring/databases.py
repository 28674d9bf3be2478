"""The databases of a site's outboxes."""

from reliable_email.backends.routes import MailerKind, all_mailers


def outbox_databases() -> tuple[str, ...]:
    """The aliases of the databases that the site's outboxes name, or that the router chooses for them."""
    from reliable_email.store.questions.filters import outbox_database

    outboxes = [one for one in all_mailers().values() if one.kind is MailerKind.OUTBOX]
    return tuple(dict.fromkeys(outbox_database(str(one.options.get("database") or "") or None) for one in outboxes))
