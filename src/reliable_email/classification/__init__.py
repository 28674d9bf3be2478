"""What a reply or an I/O error means: cause, scope, and what to do. Rules are data; nothing here does I/O."""

from reliable_email.classification.causes import Action, Cause, Failure, Scope

__all__ = ["Action", "Cause", "Failure", "Scope"]
