"""The option `token_provider`: where the access tokens of an XOAUTH2 login come from.

It may be a function that returns a token, an object with `access_token()`, the dotted path of either, or a dict: the
name of a grant under "grant" (or a dotted path under "path") and the arguments of the class behind it, as in
`{"grant": "refresh_token", "service": "google", "client_id": …, "client_secret": …, "refresh_token": …}`.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import cast

from django.utils.module_loading import import_string

from reliable_email.patterns import pattern
from reliable_email.records import dataclass
from reliable_email.smtp.options import TokenProvider
from reliable_email.values import ValueProblem, choice, shown, text

_DOTTED = pattern(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")

# What ships with the package, by the name of the grant.
GRANTS: Mapping[str, str] = {
    "refresh_token": "reliable_email.smtp.oauth.grants.RefreshTokenProvider",
    "client_credentials": "reliable_email.smtp.oauth.grants.ClientCredentialsProvider",
    "service_account": "reliable_email.smtp.oauth.assertions.ServiceAccountProvider",
    "certificate": "reliable_email.smtp.oauth.assertions.CertificateProvider",
}
# The arguments of all of them that are text.
GRANT_ARGUMENTS = (
    "service",
    "client_id",
    "client_secret",
    "refresh_token",
    "tenant",
    "username",
    "key_file",
    "thumbprint",
    "token_url",
    "scope",
    "cafile",
)


@dataclass(frozen=True, slots=True)
class TokenFunction:
    """A function without arguments as a token provider; it is asked at every login and caches by itself."""

    function: Callable[[], str]

    def access_token(self, *, renew: bool, timeout: float) -> str:
        """Return the function's token."""
        return self.function()


def token_provider(value: object) -> TokenProvider:
    """The provider that a person configured.

    Raises:
        ValueProblem: there is no such thing, or it cannot be used as one.
    """
    arguments: dict[str, object] = {}
    if isinstance(value, Mapping):
        arguments = {str(name): argument for name, argument in value.items()}
        value = _path_in(arguments)
    if isinstance(value, str):
        return _from_path(value, arguments)
    return _usable(value)


def _path_in(arguments: dict[str, object]) -> str:
    """Take the class's path out of a dict."""
    grant, path = arguments.pop("grant", None), arguments.pop("path", None)
    if (grant is None) == (path is None):
        raise ValueProblem(f'must name a "grant" ({", ".join(GRANTS)}) or a dotted "path"')
    if path is not None:
        return text(path)
    return GRANTS[choice(grant, tuple(GRANTS))]


def _from_path(path: str, arguments: Mapping[str, object]) -> TokenProvider:
    if not _DOTTED.fullmatch(path):  # perhaps a token, which is not repeated
        raise ValueProblem(
            "must be a function, an object, a dict with a grant, or the dotted path of a function or class"
        )
    try:
        found = import_string(path)
    except ImportError as error:
        raise ValueProblem(f"cannot be imported: {error}") from error
    if isinstance(found, type):
        return _usable(_made(found, arguments))
    if arguments:
        raise ValueProblem(f"{path} is not a class, so it takes no arguments: {', '.join(sorted(arguments))}")
    return _usable(found)


def _made(found: type, arguments: Mapping[str, object]) -> object:
    try:
        inspect.signature(found).bind(**arguments)
    except TypeError as error:  # names arguments and shows no values
        raise ValueProblem(f"{found.__name__}: {error}") from None
    except ValueError:
        pass  # no signature to look at
    try:
        return found(**arguments)
    except (TypeError, ValueError) as error:
        # A project's error may quote an argument, and an argument may be a secret; ours quote none.
        said = str(error) if found.__module__.startswith("reliable_email.") else type(error).__name__
        raise ValueProblem(f"{found.__name__} does not take these arguments: {said}") from None


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
