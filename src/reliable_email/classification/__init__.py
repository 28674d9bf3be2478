"""The meaning of a reply or an I/O error: cause and scope. Rules are data; nothing here does I/O or decides."""

from reliable_email.classification.causes import Cause, Failure, Scope
from reliable_email.classification.decide import classify
from reliable_email.classification.foreign import classify_exception

__all__ = ["Cause", "Failure", "Scope", "classify", "classify_exception"]
