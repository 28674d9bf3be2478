"""The reset of everything that the package keeps in the process: connections, TLS contexts, tokens, route state."""

from reliable_email import process_state


def reset() -> None:
    """Forget all process-wide state, as if the process had just started."""
    process_state.reset()
