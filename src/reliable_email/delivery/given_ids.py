"""The id by which a provider's later events name a message: of its API's answer, or in its final reply."""

import re
from functools import cache

from reliable_email import providers
from reliable_email.delivery.route import Route
from reliable_email.providers import UnknownProvider
from reliable_email.smtp.transaction import Transaction


def given_id(route: Route, transaction: Transaction) -> str:
    """The id, or "" where none was given."""
    if transaction.provider_message_id:
        return transaction.provider_message_id
    reply, pattern = transaction.reply, _pattern(route.provider)
    if reply is None or pattern is None or not reply.is_positive:
        return ""
    match = pattern.search(reply.text)
    return match[1] if match is not None else ""


@cache
def _pattern(provider: str | None) -> re.Pattern[str] | None:
    try:
        found = providers.get(provider or "generic").reply_id
    except UnknownProvider:
        return None
    return re.compile(found) if found else None
