"""Build MAILERS from the environment: `MAILERS = reliable_email.env.mailers()`.

Instead of any NAME, NAME_FILE can hold the path of a file with the value (a mounted secret). An empty variable counts
as not set. The dict that `mailers` returns contains secrets; this module never prints, logs or raises them.

| variable | meaning |
|---|---|
| EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD | the server and the login |
| EMAIL_USE_TLS, EMAIL_USE_SSL | STARTTLS, or TLS from the first byte |
| EMAIL_SSL_VERIFY, EMAIL_TIMEOUT, EMAIL_MAX_RETRIES | certificate check, timeout in seconds, total number of attempts |
| EMAIL_PROVIDER, EMAIL_REGION | instead of host, port and TLS mode |
| EMAIL_<OPTION> | most other options of `ReliableSMTPBackend` |
| EMAIL_TOKEN_PROVIDER | for XOAUTH2: a dotted path, or a grant: refresh_token, client_credentials, service_account, certificate |
| EMAIL_TOKEN_CLIENT_ID, _CLIENT_SECRET, _REFRESH_TOKEN, _SERVICE, _TENANT, _KEY_FILE, … | the grant's arguments |
| EMAIL_FALLBACK_HOST, EMAIL_FALLBACK_… | the same for a second provider |
| EMAIL_FALLBACK_ENABLED | false disables the second provider; true without one uses the console if DEBUG is on |
| EMAIL_URL, EMAIL_FALLBACK_URL | one URL instead of the names above, or `failover(url url …)` |
| EMAIL_BACKEND | the BACKEND of the default mailer |
"""  # noqa: E501 - a row of a table is one line

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from reliable_email.backends.reading.constructors import DJANGO_SMTP, DJANGO_SMTP_OPTIONS, accepted_options
from reliable_email.backends.reading.email_settings import (
    FALLBACK_PREFIX,
    FALLBACK_SWITCH,
    PREFIX,
    SETTING_OPTIONS,
    email_setting_name,
)
from reliable_email.backends.reading.email_url import ParsedURL, URLProblem, parse_urls
from reliable_email.backends.reading.option_values import address_patterns, pins, port, positive
from reliable_email.backends.reading.options import SMTP_OPTIONS
from reliable_email.backends.reading.reader import OptionReader, sentence
from reliable_email.backends.reading.route_options import read_route
from reliable_email.backends.reading.tokens import GRANT_ARGUMENTS, GRANTS
from reliable_email.records import dataclass, field
from reliable_email.smtp.options import TLSMode
from reliable_email.values import (
    Unusable,
    ValueProblem,
    boolean,
    closest,
    integer,
    is_content,
    keeps_no_locals,
    seconds,
)

SMTP_BACKEND = "reliable_email.backends.ReliableSMTPBackend"
FAILOVER_BACKEND = "reliable_email.backends.FailoverBackend"
OUTBOX_BACKEND = "reliable_email.backends.OutboxBackend"
CONSOLE_BACKEND = "django.core.mail.backends.console.EmailBackend"
_FILE_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
_OF_DJANGO = "django.core.mail.backends."
_NEED_A_SERVER = frozenset({SMTP_BACKEND, FAILOVER_BACKEND, OUTBOX_BACKEND, DJANGO_SMTP})
# In this order a site's own word for "is this a development site" is looked for, where `debug` is not given.
DEBUG_VARIABLES = ("DJANGO_DEBUG", "DEBUG")
# What a URL says by itself, so that the same by name would be a second answer.
_SAID_BY_URL = ("host", "port", "use_tls", "use_ssl", "provider", "region")
_NAMES = frozenset({"provider", "region"})
# What stands in MAILERS as a number, a truth value or a list, since other backends read it too; the rest stays text.
_TYPED = (port, positive, seconds, boolean, pins, address_patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A decision that was made for the operator, for a system check to report."""

    text: str
    hint: str = ""
    is_missing_fallback: bool = False


class Mailers(dict[str, dict[str, Any]]):
    """MAILERS as an ordinary dict, with the notes of how it came about. Its repr shows no secret."""

    def __init__(self, entries: Mapping[str, dict[str, Any]], notes: tuple[Note, ...] = ()) -> None:
        super().__init__(entries)
        self.notes = notes

    def __repr__(self) -> str:
        return f"Mailers({ {alias: entry.get('BACKEND') for alias, entry in self.items()} })"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    backend: str
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    name: str = ""
    server: dict[str, Any] = field(default_factory=dict)  # what a provider's name stands for, for who knows no names

    def entry(self) -> dict[str, Any]:
        return {"BACKEND": self.backend, "OPTIONS": dict(self.options)} if self.options else {"BACKEND": self.backend}


@keeps_no_locals
def mailers(environ: Mapping[str, str] | None = None, *, debug: bool | None = None) -> Mailers:
    """MAILERS for the routes that the environment describes; localhost (under DEBUG: the console) where it has none.

    One route is "default" itself. Two or more become a failover in the order given, with aliases by provider where
    those are known and distinct, otherwise "primary" and "fallback".

    Args:
        environ: the environment; `os.environ` unless given.
        debug: whether this is a development site: pass settings' DEBUG. Where it is not given, the variables
            DJANGO_DEBUG and DEBUG decide, and without them it is not.

    A further route that cannot be used keeps its place: a system check reports it, and messages go by the others.

    Raises:
        ImproperlyConfigured: naming the variable of the first route that cannot be used.
    """
    return _Environment(os.environ if environ is None else environ, debug=debug).mailers()


class _Environment:
    def __init__(self, environ: Mapping[str, str], *, debug: bool | None) -> None:
        self._environ = environ
        self._notes: list[Note] = []
        self._debug = self._is_debug() if debug is None else debug

    def mailers(self) -> Mailers:
        backend = self._value("EMAIL_BACKEND")
        routes = self._routes(PREFIX)
        is_enabled = self._boolean(FALLBACK_SWITCH)
        second = []
        if is_enabled is not False:
            try:
                second = self._routes(FALLBACK_PREFIX)
            except ImproperlyConfigured as error:
                second = [_unusable(error)]
        if routes and second and len(routes) > 1:
            raise ImproperlyConfigured(
                "EMAIL_URL is a failover already, so the EMAIL_FALLBACK_… variables have no place. Add the route to "
                "EMAIL_URL."
            )
        if second and not routes and not backend:
            raise ImproperlyConfigured(
                "There are EMAIL_FALLBACK_… variables for a second provider, but EMAIL_HOST, EMAIL_PROVIDER or "
                "EMAIL_URL for the first is missing."
            )
        if not routes:
            routes = [self._no_route(backend)]
        routes += second
        if is_enabled and len(routes) == 1:
            if self._debug and routes[0].backend != CONSOLE_BACKEND:
                routes.append(_Route(backend=CONSOLE_BACKEND, name="console"))
            elif not self._debug:
                self._notes.append(Note(text="", is_missing_fallback=True))
        return Mailers(self._entries(routes, backend), tuple(self._notes))

    def _no_route(self, backend: str | None) -> _Route:
        if backend is not None and backend not in _NEED_A_SERVER:
            return self._by_another(backend, _Route(backend=backend, options=self._typed_options()))
        if self._debug and backend in (None, FAILOVER_BACKEND, OUTBOX_BACKEND):
            return _Route(backend=CONSOLE_BACKEND, name="console")
        return _Route(backend=SMTP_BACKEND, options={"host": "localhost"})

    def _entries(self, routes: list[_Route], backend: str | None) -> dict[str, dict[str, Any]]:
        """The mailers over the routes, with EMAIL_BACKEND as the default's BACKEND."""
        if backend not in (None, SMTP_BACKEND, FAILOVER_BACKEND, OUTBOX_BACKEND) and routes[0].backend == SMTP_BACKEND:
            assert backend is not None
            routes = [self._by_another(backend, routes[0]), *routes[1:]]
        if len(routes) == 1 and backend not in (FAILOVER_BACKEND, OUTBOX_BACKEND):
            return {"default": routes[0].entry()}
        aliases = _aliases(routes)
        entries = {alias: route.entry() for alias, route in zip(aliases, routes, strict=True)}
        failover = {"BACKEND": FAILOVER_BACKEND, "OPTIONS": {"using": aliases}}
        if backend != OUTBOX_BACKEND:
            return {"default": failover, **entries}
        if len(routes) == 1:
            return {"default": {"BACKEND": OUTBOX_BACKEND, "OPTIONS": {"using": aliases[0]}}, **entries}
        return {
            "default": {"BACKEND": OUTBOX_BACKEND, "OPTIONS": {"using": "routes"}},
            "routes": failover,
            **entries,
        }

    def _typed_options(self) -> dict[str, Any]:
        """The options beside a server, for a class that knows its own."""
        found = {}
        for name, value in self._options(PREFIX).items():
            try:
                found[name] = _typed(name, value)
            except ValueProblem as problem:
                raise ImproperlyConfigured(f"{email_setting_name(name, PREFIX)} {problem}.") from None
        return found

    def _by_another(self, backend: str, route: _Route) -> _Route:
        """Return the route by another class, with the options that it takes."""
        if backend.startswith(_OF_DJANGO) and backend != DJANGO_SMTP:
            return _Route(backend=backend, name=route.name)  # which show or keep mail, and have no server
        takes = accepted_options(backend)
        if takes is None:  # then it says itself what it does not know
            takes = DJANGO_SMTP_OPTIONS
        given = route.options
        if "provider" in given and "provider" not in takes:
            given = {**route.server, **given}
        kept = {name: value for name, value in given.items() if name in takes}
        if lost := [name for name in route.options if name not in takes and not (name in _NAMES and "host" in kept)]:
            names = ", ".join(email_setting_name(name, PREFIX) for name in lost)
            self._notes.append(
                Note(
                    text=f"{names}: not passed on, since {backend} (EMAIL_BACKEND) takes no such option.",
                    hint="Unset what is not needed. A class that needs it takes it in its constructor.",
                )
            )
        return _Route(backend=backend, options=kept, name=route.name)

    def _routes(self, prefix: str) -> list[_Route]:
        url_name = f"{prefix}URL"
        url = self._value(url_name)
        values = self._options(prefix)
        if url is None:
            # EMAIL_TIMEOUT and the like alone describe no server.
            if "host" not in values and "provider" not in values:
                if (self._value("EMAIL_BACKEND") or SMTP_BACKEND) in _NEED_A_SERVER:
                    self._refuse_headless(prefix, values)
                return []
            return [self._smtp_route(values, lambda name: email_setting_name(name, prefix))]
        twice = [email_setting_name(name, prefix) for name in _SAID_BY_URL if name in values]
        if twice:
            raise ImproperlyConfigured(f"{url_name} and {', '.join(twice)} are both set: keep one of them.")
        try:
            parsed = parse_urls(url)
        except URLProblem as problem:
            raise ImproperlyConfigured(sentence(f"{url_name} {problem}")) from None
        if len(parsed) > 1 and (clash := [name for name in ("username", "password") if name in values]):
            names = ", ".join(email_setting_name(name, prefix) for name in clash)
            raise ImproperlyConfigured(f"{url_name} has several servers, so that {names} is ambiguous: use the URLs.")
        routes = [self._url_route(parsed[0], values, url_name, prefix)]
        for one in parsed[1:]:
            try:
                routes.append(self._url_route(one, values, url_name, prefix))
            except ImproperlyConfigured as error:
                routes.append(_unusable(error))
        return routes

    def _refuse_headless(self, prefix: str, values: Mapping[str, Any]) -> None:
        lonely = [name for name in ("username", "password", "port", "use_tls", "use_ssl", "region") if name in values]
        if lonely:
            names = ", ".join(email_setting_name(name, prefix) for name in lonely)
            raise ImproperlyConfigured(
                f"{names} is set, but no server: set {prefix}HOST, {prefix}PROVIDER or {prefix}URL."
            )

    def _url_route(self, parsed: ParsedURL, values: Mapping[str, Any], url_name: str, prefix: str) -> _Route:
        if parsed.problem:
            raise ImproperlyConfigured(sentence(f"{url_name} {parsed.problem}"))
        if parsed.note:
            self._notes.append(Note(text=f"{url_name}: {parsed.note}", hint="Write submissions:// or submission://."))
        if parsed.backend is not None:
            return _Route(backend=parsed.backend, options=dict(parsed.options), name=parsed.name)
        own = dict(parsed.options)
        path = own.pop("password_file", None)
        if path is not None:
            own["password"] = self._read(f"'password_file' of {url_name}", path)
        known = frozenset(SETTING_OPTIONS)
        for name in own:
            if name not in known:
                guess = closest(name, known)
                hint = f" Did you mean {guess!r}?" if guess else f" Known are: {', '.join(sorted(known))}."
                raise ImproperlyConfigured(f"{url_name} has an unknown option {name!r}.{hint}")

        def place(name: str) -> str:
            return f"{name!r} of {url_name}" if name in own else email_setting_name(name, prefix)

        return self._smtp_route({**values, **own}, place)

    def _smtp_route(self, values: Mapping[str, Any], place: Callable[[str], str]) -> _Route:
        # A token provider's module may import models, which cannot be done while settings are being read.
        checked = {name: value for name, value in values.items() if name != "token_provider"}
        if "token_provider" in values:
            checked = {name: value for name, value in checked.items() if name != "auth"}
        reader = OptionReader(values=checked, options=SMTP_OPTIONS, place=place)
        route = read_route(reader, alias="default")
        if route is None:
            raise ImproperlyConfigured(" ".join(map(str, reader.problems)))
        options = {name: _typed(name, value) for name, value in values.items()}
        link = route.connection
        server: dict[str, Any] = {"host": link.host, "port": link.port}
        if link.tls.mode is not TLSMode.NONE:
            server["use_tls" if link.tls.mode is TLSMode.STARTTLS else "use_ssl"] = True
        known = route.provider.name if route.provider is not None and route.provider.name != "generic" else ""
        return _Route(backend=SMTP_BACKEND, options=options, name=known, server=server)

    def _options(self, prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in SETTING_OPTIONS:
            variable = email_setting_name(name, prefix)
            value = self._value(variable)
            if value is not None:
                found[name] = value
        if found.get("token_provider") in GRANTS:
            found["token_provider"] = self._grant(found["token_provider"], f"{prefix}TOKEN_")
        if "max_attempts" in found:
            found["max_attempts"] = self._retries(f"{prefix}MAX_RETRIES", found["max_attempts"])
        return found

    def _grant(self, grant: str, prefix: str) -> dict[str, str]:
        """The dict form of `token_provider`, with every argument that has a variable."""
        arguments = ((name, self._value(f"{prefix}{name.upper()}")) for name in GRANT_ARGUMENTS)
        return {"grant": grant, **{name: value for name, value in arguments if value is not None}}

    def _retries(self, variable: str, value: str) -> int:
        try:
            return max(1, integer(value, at_least=0))
        except ValueProblem as problem:
            raise ImproperlyConfigured(f"{variable} {problem}.") from None

    def _value(self, name: str) -> str | None:
        """A variable, or the content of the file that NAME_FILE names; None where it is not set or empty."""
        value = self._environ.get(name) or None
        path = self._environ.get(f"{name}_FILE") or None
        if path is None:
            return value
        if value is not None:
            raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: keep one of them.")
        return self._read(f"{name}_FILE", path) or None

    def _read(self, place: str, path: str) -> str:
        content, reason = _content_of(path)
        if content is not None:
            # Only the line end that editors and `echo` add belongs to the file and not to the secret.
            return content.removesuffix("\n").removesuffix("\r")
        if Path(path).is_absolute() and not is_content(path):
            raise ImproperlyConfigured(f"{place} names a file that cannot be read: {path} ({reason}).")
        raise ImproperlyConfigured(
            f"{place} names a file that cannot be read ({reason}). It is a path, best from the root; what the file "
            f"would hold stands in {place.removesuffix('_FILE')}."
        )

    def _boolean(self, name: str) -> bool | None:
        value = self._value(name)
        try:
            return None if value is None else boolean(value)
        except ValueProblem as problem:
            raise ImproperlyConfigured(f"{name} {problem}.") from None

    def _is_debug(self) -> bool:
        for name in DEBUG_VARIABLES:
            word = self._environ.get(name, "").strip()
            if word:
                try:
                    return boolean(word)
                except ValueProblem:
                    return False  # DEBUG=app:* is another program's variable
        return False


def _content_of(path: str) -> tuple[str | None, str]:
    """A file's text, or why there is none. An error would keep the content, or what was taken for a path."""
    try:
        return Path(path).read_text("utf-8"), ""
    except UnicodeDecodeError:
        return None, "not text in UTF-8"
    except (OSError, ValueError) as error:
        return None, (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _typed(name: str, value: object) -> object:
    read = SMTP_OPTIONS[name].read
    return read(value) if read in _TYPED else value


def _unusable(error: ImproperlyConfigured) -> _Route:
    """Return a stand-in for a further route that cannot be used."""
    return _Route(backend=SMTP_BACKEND, options={"host": Unusable(str(error))})


def _aliases(routes: list[_Route]) -> list[str]:
    names = [route.name for route in routes]
    reserved = {"default", "routes", ""}
    if len(set(names)) == len(names) and reserved.isdisjoint(names):
        return names
    if len(routes) <= 2:
        return ["primary", *(["console"] if routes[-1].name == "console" else ["fallback"])][: len(routes)]
    return ["primary", *(f"fallback{number}" for number in range(1, len(routes)))]


__all__ = ["DEBUG_VARIABLES", "Mailers", "Note", "mailers"]
