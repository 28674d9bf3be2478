"""The report of a message, also where nothing of this package has sent it."""

from reliable_email.delivery.report import delivery_of

__all__ = ["delivery_of"]
