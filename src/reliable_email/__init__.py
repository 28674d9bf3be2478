"""The layer that makes a Django site's e-mail arrive: a known outcome for every recipient, once.

What most code needs is here; it is imported when it is first asked for, so that importing the package costs nothing.
"""

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # See _MODULES; `as` says to type checkers that they are exported.
    from reliable_email import backends as backends
    from reliable_email import conf as conf
    from reliable_email import env as env
    from reliable_email import exceptions as exceptions
    from reliable_email import mailers as mailers
    from reliable_email import signals as signals
    from reliable_email import testing as testing
    from reliable_email.backends.asynchronous import asend, asubmit
    from reliable_email.backends.outbox import submit
    from reliable_email.delivery.report import DeliveryReport, Outcome, RecipientOutcome, delivery_of
    from reliable_email.delivery.submission import DeliveryOptions, OnUnknown, Priority
    from reliable_email.exceptions import DeliveryError, InvalidMailer, OutcomeUnknown

__version__ = "1.0.0rc1"

_HOMES = {
    "DeliveryError": "exceptions",
    "DeliveryOptions": "delivery.submission",
    "DeliveryReport": "delivery.report",
    "InvalidMailer": "exceptions",
    "OnUnknown": "delivery.submission",
    "Outcome": "delivery.report",
    "OutcomeUnknown": "exceptions",
    "Priority": "delivery.submission",
    "RecipientOutcome": "delivery.report",
    "asend": "backends.asynchronous",
    "asubmit": "backends.asynchronous",
    "delivery_of": "delivery.report",
    "submit": "backends.outbox",
}

__all__ = [
    "DeliveryError",
    "DeliveryOptions",
    "DeliveryReport",
    "InvalidMailer",
    "OnUnknown",
    "Outcome",
    "OutcomeUnknown",
    "Priority",
    "RecipientOutcome",
    "asend",
    "asubmit",
    "delivery_of",
    "submit",
]
# Modules that settings and tests name behind a plain `import reliable_email`.
_MODULES = frozenset({"backends", "conf", "env", "exceptions", "mailers", "signals", "testing"})


def late_names(package: str, homes: Mapping[str, str], *, modules: Collection[str] = ()) -> Callable[[str], Any]:
    """Return a package's `__getattr__`: a name is imported when it is first asked for, and stays in the package.

    For the package's own rooms. It is here and in no module of its own, since each process would load that one.

    Args:
        homes: by name: the module in the package that has it.
        modules: modules in the package that are names of it, too.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807 - that of the package
        home = homes.get(name)
        if home is None:
            if name in modules:
                return import_module(f"{package}.{name}")
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{home}"), name)
        setattr(sys.modules[package], name, found)
        return found

    return __getattr__


__getattr__ = late_names(__name__, _HOMES, modules=_MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
