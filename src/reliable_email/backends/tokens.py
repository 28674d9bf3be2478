"""Reads the `token_provider` option: where the access tokens of an XOAUTH2 login come from.

It may be a dotted path, a dict of a dotted path under "path" and the arguments of what is there, a function that
returns a token, or an object with `access_token()`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from django.utils.module_loading import import_string

from reliable_email.smtp.options import TokenProvider
from reliable_email.values import ValueProblem, closest, shown

# Names for what ships with the package, so that nobody has to type its path.
BUILT_IN: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class TokenFunction:
    """A function without arguments as a token provider; it is asked at every login and caches by itself."""

    function: Callable[[], str]

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """What the function returns."""
        return self.function()


def token_provider(value: object) -> TokenProvider:
    """The provider that a person configured.

    Raises:
        ValueProblem: there is no such thing, or it cannot be used as one.
    """
    arguments: dict[str, object] = {}
    if isinstance(value, Mapping):
        arguments = {str(name): argument for name, argument in value.items()}
        value = arguments.pop("path", None)
        if not isinstance(value, str):
            raise ValueProblem('must have a dotted path under "path"')
    if isinstance(value, str):
        return _from_path(value, arguments)
    return _usable(value)


def _from_path(path: str, arguments: Mapping[str, object]) -> TokenProvider:
    try:
        found = import_string(BUILT_IN.get(path, path))
    except ImportError as error:
        guess = closest(path, BUILT_IN)
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise ValueProblem(f"cannot be imported: {error}{hint}") from error
    if isinstance(found, type):
        try:
            found = found(**arguments)
        except (TypeError, ValueError) as error:
            # The error may quote an argument, and an argument may be a secret: say which names were given instead.
            given = ", ".join(sorted(arguments)) or "none"
            raise ValueProblem(f"{path} does not take these arguments: {given} ({type(error).__name__})") from None
        return _usable(found)
    if arguments:
        raise ValueProblem(f"{path} is not a class, so it takes no arguments: {', '.join(sorted(arguments))}")
    return _usable(found)


def _usable(found: object) -> TokenProvider:
    if callable(getattr(found, "access_token", None)):
        try:
            hash(found)
        except TypeError:
            raise ValueProblem("must be hashable, and equal for equal accounts: it keys connections") from None
        return cast(TokenProvider, found)
    if callable(found):
        return TokenFunction(cast(Callable[[], str], found))
    raise ValueProblem(f"must have a method access_token(*, renew, timeout), which {shown(type(found))} has not")
