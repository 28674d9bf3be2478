"""What a reply or an I/O error means: cause, scope, and what to do. Rules are data; nothing here does I/O."""

from reliable_email.classification.causes import Action, Cause, Failure, Scope
from reliable_email.classification.decide import classify
from reliable_email.classification.foreign import classify_exception
from reliable_email.classification.meanings import action_for

__all__ = ["Action", "Cause", "Failure", "Scope", "action_for", "classify", "classify_exception"]
