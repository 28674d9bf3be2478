"""Findings about a domain, each with the remedy and the records to add."""

from enum import StrEnum

from reliable_email.diagnosis.dns.lookup import Answer
from reliable_email.diagnosis.verdict import Health
from reliable_email.records import dataclass


class Topic(StrEnum):
    """The subject of a finding."""

    DOMAIN = "domain"
    MX = "mx"
    SPF = "spf"
    DKIM = "dkim"
    DMARC = "dmarc"
    ALIGNMENT = "alignment"
    SENDERS = "senders"  # what big receivers demand of them


class Level(StrEnum):
    """The weight of a finding."""

    GOOD = "good"
    NOTE = "note"  # to know, and nothing to hurry about
    WARNING = "warning"  # some mail lands in spam, or will
    BAD = "bad"  # mail does not arrive
    UNASKED = "unasked"  # it could not be asked

    @property
    def health(self) -> Health:
        """The effect of the level on the verdict."""
        match self:
            case Level.BAD:
                return Health.UNHEALTHY
            case Level.WARNING | Level.UNASKED:
                return Health.DEGRADED
            case _:
                return Health.HEALTHY


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record to add or to put in place of another; what stands in angle brackets is in the provider's console."""

    name: str
    type: str
    value: str

    def __str__(self) -> str:
        value = f'"{self.value}"' if self.type == "TXT" else self.value
        return f"{self.name}. {self.type} {value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found.

    Attributes:
        route: whom it is about, "" for the domain as such.
        advice: what to do, "" for nothing.
        records: to add; or in place of the one of that name and type, which `replaces` says.
    """

    topic: Topic
    level: Level
    text: str
    route: str = ""
    advice: str = ""
    records: tuple[Record, ...] = ()
    replaces: bool = False


def unasked(topic: Topic, answer: Answer, *, route: str = "") -> Finding:
    """Return the finding that a record could not be looked up."""
    text = f"could not be looked up: {answer.type} of {answer.name}, because {answer.reason}"
    advice = "Try again later, or ask another resolver with --resolver ADDRESS:PORT."
    return Finding(topic=topic, level=Level.UNASKED, text=text, route=route, advice=advice)
