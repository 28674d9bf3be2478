"""Routes that cannot be built: why, in words without secrets, and what stands in their place in a list of routes."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reliable_email import conf
from reliable_email.delivery.route import Route
from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.exceptions import InvalidMailer
from reliable_email.patterns import pattern
from reliable_email.process_state import remember
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.transaction import (
    Job,
    RecipientResult,
    Transaction,
    Transport,
    Verdict,
    WireSteps,
)
from reliable_email.values import printable

logger = logging.getLogger("reliable_email.delivery")

_SENTENCE_END = pattern(r"(?<=[.?!]) (?=[A-Z])")
_LONGEST = 500
_SECRET_WORDS = ("pass", "secret", "key", "token", "credential", "auth")
_LEAST_SECRET = 4  # shorter values are words that happen to occur

_told: dict[str, str] = {}  # what was last said of a route, by alias


def unbuilt_route(alias: str, text: str, *, provider: str | None = None) -> Route:
    """A route in a list whose mailer cannot be built; says so once in the log."""
    if _told.get(alias) != text:
        _told[alias] = text
        logger.warning("Route %s cannot be built and is passed over. %s", alias, text, extra=log_fields(route=alias))
    return Route(alias=alias, transport=_Nothing(text), provider=provider, max_attempts=1, build_error=text)


def none_can_be_built(routes: Iterable[Route]) -> str:
    """Return why no route can be built, naming each; "" if one can."""
    errors = [route.build_error for route in routes]
    return " ".join(["No route can be built.", *errors]) if all(errors) else ""


def error_text(alias: str, error: Exception, options: Mapping[str, Any] | None = None) -> str:
    """Return why a mailer cannot be built: the setting, the error, and the remedy; without secrets."""
    place = "EMAIL_BACKEND" if conf.mailers() is None else f"MAILERS[{alias!r}]"
    said = " ".join(str(error).split())
    if not isinstance(error, InvalidMailer):
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if not said.startswith(place):
        said = f"{place}: {said}"
    for secret in _secrets(options or {}):
        said = said.replace(secret, "…")
    said = printable(said[:_LONGEST])
    return f"{said}{'' if said.endswith(('.', '?', '!')) else '.'} {_remedy(error)}"


def without_remedy(text: str) -> tuple[str, str]:
    """Return what an `error_text` says of the error, and its remedy, which is the last sentence."""
    end = max((one.start() for one in _SENTENCE_END.finditer(text)), default=len(text))
    return text[:end], text[end:].strip()


def _remedy(error: Exception) -> str:
    if isinstance(error, ImportError) or isinstance(error.__cause__, ImportError):
        return "Install the package that its BACKEND comes from, or correct the path."
    if isinstance(error, Warning):
        return (
            "It is a warning that Python turns into an error here (-W error): let it pass, with "
            f'warnings.filterwarnings("ignore", category={type(error).__module__}.{type(error).__qualname__}).'
        )
    if isinstance(error, OSError):
        return "See to what it names, or correct the entry."
    return "Correct the entry; “manage.py check” says when it is right."


def _secrets(options: object, name: str = "") -> Iterator[str]:
    """Values of options that may be secret, the longest first at each level."""
    if isinstance(options, Mapping):
        for key, value in options.items():
            yield from _secrets(value, str(key).lower())
    elif isinstance(options, str) and len(options) >= _LEAST_SECRET and any(word in name for word in _SECRET_WORDS):
        yield options


class _Nothing(Transport):
    """Stands where a transport would; whoever asks it all the same is told why there is none."""

    def __init__(self, text: str) -> None:
        self._text = text

    def steps(self, jobs: Iterable[Job], *, deadline: Deadline) -> WireSteps:
        """Yield a transaction for each job that says that nothing was sent."""
        for job in jobs:
            failure = WireFailure(stage=Stage.CONNECT, kind=FailureKind.CANNOT_BE_BUILT, detail=self._text)
            result = RecipientResult(verdict=Verdict.NOT_SENT, failure=failure)
            yield Transaction(
                job=job, results=dict.fromkeys(job.recipients, result), stage=Stage.CONNECT, failure=failure
            )


def note_built(alias: str) -> None:
    """Note that a route can be built again, so that another failure is reported anew."""
    _told.pop(alias, None)


def reset() -> None:
    """Forget what was told."""
    _told.clear()


remember(__name__, reset=reset)
