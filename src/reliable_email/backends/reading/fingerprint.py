"""A route's fingerprint: it changes with its configuration and tells nothing of the secrets in it."""

import secrets
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from functools import partial
from os import PathLike

from django.utils.crypto import salted_hmac
from django.utils.functional import LazyObject, Promise

from reliable_email import conf

# Where there is no SECRET_KEY there is no shared state either; what only this process knows needs its own key alone.
_own_key = secrets.token_bytes(32)


def keyed(told: str, *, account: str | None = None) -> str:
    """The fingerprint of this, that only who has SECRET_KEY could have made; see `delivery.fingerprints`.

    Args:
        account: what stays the same while the account does; None where that cannot be told from the rest.
    """
    names = []
    for key in conf.secret_keys() or (_own_key,):
        whole = _digest("reliable_email.route", told, key)[:32]
        # An account is named by as much, so that it is no easier to guess.
        of = whole if account is None else _digest("reliable_email.route.account", account, key)[:32]
        names.append(f"{_digest('reliable_email.route.key', '', key)[:8]}:{of}:{whole}")
    return " ".join(names)


def _digest(salt: str, told: str, key: str | bytes) -> str:
    return str(salted_hmac(salt, told, secret=key, algorithm="sha256").hexdigest())


def described(value: object) -> str:
    """Describe a configuration, secrets included, in words that are equal in every process; for `keyed` alone.

    An object says its class and, of a dataclass, what it was made with. Its address in memory, and what it has learned
    since, would differ from one process to the next.
    """
    match value:
        case Promise() | LazyObject():
            return repr(str(value))
        case None | bool() | int() | float() | complex() | str() | bytes():
            return repr(value)
        case PathLike():
            return repr(str(value))
        case Mapping():
            return f"{{{', '.join(sorted(f'{described(name)}: {described(one)}' for name, one in value.items()))}}}"
        case Set():
            return f"{{{', '.join(sorted(map(described, value)))}}}"
        case list() | tuple():
            return f"[{', '.join(map(described, value))}]"
        case partial():
            return f"{described(value.func)}({described(value.args)}, {described(value.keywords)})"
    of = value if hasattr(value, "__qualname__") else type(value)
    name = f"{getattr(of, '__module__', '')}.{getattr(of, '__qualname__', '')}"
    if is_dataclass(value) and not isinstance(value, type):
        return f"{name}({described({one.name: getattr(value, one.name, None) for one in fields(value) if one.init})})"
    return name
