"""The shape of a provider's habits: what it announces, and how it refuses. `wordings` has the providers' own."""

from collections.abc import Mapping
from typing import Literal

from reliable_email.records import dataclass, field

RefusalStage = Literal["greeting", "auth", "mail", "rcpt", "data", "final_reply"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal, and the command that it answers.

    Attributes:
        stage: the command it answers.
        text: the reply; {sender}, {domain}, {user} and {recipients} are replaced.
        is_guess: whether the words are ours.
        spares_tokens: whether those who log in by access token do not get it.
    """

    stage: RefusalStage
    text: str
    is_guess: bool = False
    spares_tokens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """One provider.

    Attributes:
        greeting, welcome, sender_ok, recipient_ok, data_ok, taken: the replies when all is well.
        ehlo_name: the first line of the answer to EHLO.
        announces_auth_before_tls: whether AUTH is offered in plaintext.
        login: a user name and a password in the provider's form.
        quota: what is said when the day's quota is used up, at each stage that looks at it.
        quota_unit: what the quota counts.
        rate: what is said above `rate_limit` messages in `rate_seconds`.
        unverified: what is said of a sender that is not verified; None where such mail is taken.
        looks_at_from: whether the From header is checked, not the envelope.
        over_connections: what is said above `connections_limit`.
        faults: states of an account or a provider, by name, which `simulated(..., faults=...)` turns on.
        idempotency_header, idempotency_seconds: second copies with the same value are taken once.
    """

    greeting: str
    ehlo_name: str
    keywords: tuple[str, ...]
    mechanisms: tuple[str, ...]
    login: tuple[str, str]
    quota: tuple[Refusal, ...]
    wrong_password: str
    login_missing: str
    size_limit: int | None = None
    announces_size: bool = True
    announces_auth_before_tls: bool = False
    welcome: str = "235 2.7.0 Authentication successful"
    sender_ok: str = "250 2.1.0 Ok"
    recipient_ok: str = "250 2.1.5 Ok"
    data_ok: str = "354 End data with <CR><LF>.<CR><LF>"
    taken: str = "250 2.0.0 Ok: queued"
    too_large: str = "552 5.3.4 Message size exceeds fixed limit"
    must_start_tls: str = "530 5.7.0 Must issue a STARTTLS command first"
    recipients_limit: int = 1000
    too_many_recipients: str = "452 4.5.3 Error: too many recipients"
    messages_per_connection: int | None = None
    connections_limit: int | None = None
    over_connections: Refusal = Refusal("greeting", "421 4.7.0 Too many concurrent connections", is_guess=True)
    quota_unit: Literal["recipients", "messages"] = "recipients"
    rate: Refusal = Refusal("mail", "450 4.7.1 Error: too much mail from this client", is_guess=True)
    rate_seconds: float = 60.0
    rate_limit: int | None = None
    unverified: Refusal | None = None
    looks_at_from: bool = True
    faults: Mapping[str, Refusal] = field(default_factory=dict)
    idempotency_header: str | None = None
    idempotency_seconds: float = 0.0
