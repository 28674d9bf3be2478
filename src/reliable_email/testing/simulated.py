"""Servers that behave as the known providers do: their capabilities, limits, refusals, and where these come.

    with simulated("gmail", quota_left=2) as gmail:
        mailer = {"provider": "gmail", **gmail.options()}
        ...                      # the third recipient of the day is refused after the content was sent

What can change while it runs is on `server.rules`: `quota_left`, `verified_senders`, `faults`, `login`, `tokens`.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from email.utils import parseaddr
from typing import Any

from reliable_email.testing.records import ReceivedMessage
from reliable_email.testing.script import Script
from reliable_email.testing.scripted.conversation import Conversation
from reliable_email.testing.scripted.submission import Submission
from reliable_email.testing.server import TLS, ScriptedServer
from reliable_email.testing.wordings import HABITS, Habits, Refusal, RefusalStage


class SimulatedProvider(Submission):
    """One provider's rules; may be changed while the server runs.

    Attributes:
        quota_left: recipients or messages (see `habits.quota_unit`) that the account may still send; None for enough.
        verified_senders: addresses, or "@domain" for whole domains, that may be senders; None for all.
        faults: names of `habits.faults` that are the case now.
        rate_limit: messages in `habits.rate_seconds`; None for no limit.
        unknown_recipients: addresses that are refused at RCPT.
    """

    def __init__(
        self,
        habits: Habits,
        *,
        quota_left: int | None = None,
        verified_senders: Iterable[str] | None = None,
        faults: Iterable[str] = (),
        rate_limit: int | None = None,
        unknown_recipients: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        super().__init__(
            **{
                "name": habits.ehlo_name,
                "keywords": habits.keywords,
                "size_limit": habits.size_limit,
                "announces_size": habits.announces_size,
                "mechanisms": habits.mechanisms,
                "login": dict([habits.login]),
                "recipients_limit": habits.recipients_limit,
                "messages_per_connection": habits.messages_per_connection,
                "connections_limit": habits.connections_limit,
                "announces_auth_before_tls": habits.announces_auth_before_tls,
                "accepts_bare_line_ends": False,
                **options,
            }
        )
        self.habits = habits
        self.quota_left = quota_left
        self.verified_senders = None if verified_senders is None else {one.lower() for one in verified_senders}
        self.faults = set(faults)
        self.rate_limit = habits.rate_limit if rate_limit is None else rate_limit
        self.unknown_recipients = {one.lower() for one in unknown_recipients}
        self._clock = clock
        self._taken_at: deque[float] = deque()
        self._keys: dict[str, float] = {}

    # -- what is said

    def greeting(self, open_connection_count: int) -> str:
        return self._refusal("greeting", count=0, connections=open_connection_count) or self.habits.greeting

    def must_start_tls(self) -> str:
        return self.habits.must_start_tls

    def welcome(self) -> str:
        return self._refusal("auth") or self.habits.welcome

    def verify_token(self, username: str, token: str) -> str:
        if self.tokens.get(username, "") != token or not token:
            return self.wrong_password()
        return self._refusal("auth", by_token=True) or self.habits.welcome

    def wrong_password(self) -> str:
        return self.habits.wrong_password

    def login_missing(self) -> str:
        return self.habits.login_missing

    def too_large(self) -> str:
        return self.habits.too_large

    def too_many_recipients(self) -> str:
        return self.habits.too_many_recipients

    def mail(self, conversation: Conversation, sender: str, parameters: Mapping[str, str]) -> str:
        said = super().mail(conversation, sender, parameters)
        if not said.startswith("250"):
            return said
        return self._refusal("mail", conversation, sender=sender) or self.habits.sender_ok

    def rcpt(self, conversation: Conversation, recipient: str) -> str:
        said = super().rcpt(conversation, recipient)
        if not said.startswith("250"):
            return said
        if self.requires_login and conversation.record.user is None:
            return "550 5.7.1 Relaying denied"
        if recipient.lower() in self.unknown_recipients:
            return "550 5.1.1 The email account that you tried to reach does not exist"
        count = len(conversation.recipients) + 1
        return (
            self._refusal("rcpt", conversation, sender=conversation.sender or "", recipients=(recipient,), count=count)
            or self.habits.recipient_ok
        )

    def data(self, conversation: Conversation) -> str:
        recipients = tuple(conversation.recipients)
        return (
            self._refusal("data", conversation, sender=conversation.sender or "", recipients=recipients)
            or self.habits.data_ok
        )

    def final_reply(self, conversation: Conversation, message: ReceivedMessage) -> str:
        if self._is_known(message):
            return self.habits.taken
        said = super().final_reply(conversation, message)
        if not said.startswith("250"):
            return said
        sender = message.sender
        if self.habits.looks_at_from:
            sender = parseaddr(message.header("From") or "")[1] or sender
        return (
            self._refusal("final_reply", conversation, sender=sender, recipients=message.recipients)
            or self.habits.taken
        )

    def admit(self, message: ReceivedMessage) -> bool:
        with self.lock:
            if self._is_known(message):
                return False
            if self.quota_left is not None:
                used = 1 if self.habits.quota_unit == "messages" else len(message.recipients)
                self.quota_left = max(0, self.quota_left - used)
            self._taken_at.append(self._clock())
            key = self._key(message)
            if key:
                self._keys[key] = self._clock()
            return True

    # -- why it is said

    def _refusal(
        self,
        stage: RefusalStage,
        conversation: Conversation | None = None,
        *,
        sender: str = "",
        recipients: Sequence[str] = (),
        count: int | None = None,
        connections: int = 0,
        by_token: bool = False,
    ) -> str | None:
        """The first reason to refuse at this stage, in the provider's words."""
        if conversation is not None:
            connections = conversation.open_connection_count
        for refusal in self._reasons(
            sender, recipients, max(1, len(recipients)) if count is None else count, connections
        ):
            if refusal.stage == stage and not (by_token and refusal.spares_tokens):
                user = conversation.record.user if conversation else None
                return refusal.text.format(
                    sender=sender,
                    domain=sender.rpartition("@")[2],
                    user=user or "",
                    recipients=", ".join(recipients),
                )
        return None

    def _reasons(self, sender: str, recipients: Sequence[str], count: int, connections: int) -> Iterable[Refusal]:
        habits = self.habits
        for name in sorted(self.faults):
            refusal = habits.faults[name]
            # In a sandbox the recipients have to be verified as well; those that are get their mail.
            if name == "sandbox" and recipients and all(map(self._is_verified, recipients)):
                continue
            yield refusal
        if self.connections_limit is not None and connections > self.connections_limit:
            yield habits.over_connections
        if self.quota_left is not None and self.quota_left < (1 if habits.quota_unit == "messages" else count):
            yield from habits.quota
        if self.rate_limit is not None and self._recent_count() >= self.rate_limit:
            yield habits.rate
        if habits.unverified is not None and self.verified_senders is not None and not self._is_verified(sender):
            yield habits.unverified

    def _is_verified(self, address: str) -> bool:
        wanted = address.lower()
        verified = self.verified_senders or set()
        return wanted in verified or f"@{wanted.rpartition('@')[2]}" in verified

    def _recent_count(self) -> int:
        with self.lock:
            while self._taken_at and self._taken_at[0] <= self._clock() - self.habits.rate_seconds:
                self._taken_at.popleft()
            return len(self._taken_at)

    def _key(self, message: ReceivedMessage) -> str | None:
        header = self.habits.idempotency_header
        return message.header(header) if header else None

    def _is_known(self, message: ReceivedMessage) -> bool:
        key = self._key(message)
        taken_at = self._keys.get(key) if key else None
        return taken_at is not None and self._clock() < taken_at + self.habits.idempotency_seconds


class SimulatedServer(ScriptedServer):
    """A `ScriptedServer` with a provider's rules."""

    rules: SimulatedProvider

    def __init__(self, provider: str, *scripts: Script, rules: SimulatedProvider, **options: Any) -> None:
        super().__init__(*scripts, rules=rules, **options)
        self.provider = provider

    def options(self, **more: Any) -> dict[str, Any]:
        """OPTIONS of a mailer that uses this server as that provider."""
        return {"provider": self.provider, **super().options(**more)}


def simulated(
    provider: str,
    *scripts: Script,
    quota_left: int | None = None,
    verified_senders: Iterable[str] | None = None,
    faults: str | Collection[str] = (),
    login: tuple[str, str] | Mapping[str, str] | None = None,
    tokens: Mapping[str, str] | None = None,
    rate: int | None = None,
    unknown_recipients: Iterable[str] = (),
    tls: TLS = "starttls",
    certificate: Any = None,
    keeps_content: bool = True,
    clock: Callable[[], float] = time.monotonic,
    **limits: Any,
) -> SimulatedServer:
    """A server that behaves as a provider does; start it as a context manager.

    Args:
        provider: a key of `wordings.HABITS`.
        scripts: deviations besides, as `ScriptedServer` takes them.
        quota_left: what the account may still send today; None for enough.
        verified_senders: addresses, or "@domain", that may be senders; None for all.
        faults: names of states of the account or the provider, such as "app_password_required" for "gmail".
        login: the account, by default one in the provider's form; an empty dictionary asks for no login.
        tokens: access tokens by user name.
        rate: messages in the provider's window.
        unknown_recipients: addresses refused at RCPT.
        tls: "starttls", "implicit" or "none".
        certificate: the server's, where a good one would not do.
        keeps_content: False keeps only size and digest.
        clock: seconds, for the windows of rate and idempotency.
        limits: any option of `Submission`, in place of the provider's.

    Raises:
        ValueError: no such provider, or no such fault of it.
    """
    habits = HABITS.get(provider)
    if habits is None:
        raise ValueError(f"no simulation of {provider!r}; there are: {', '.join(HABITS)}")
    wanted = {faults} if isinstance(faults, str) else set(faults)
    if unknown := wanted.difference(habits.faults):
        raise ValueError(f"{provider} has no fault {', '.join(sorted(unknown))}; there are: {', '.join(habits.faults)}")
    if login is not None:
        limits["login"] = dict([login]) if isinstance(login, tuple) else dict(login)
    rules = SimulatedProvider(
        habits,
        quota_left=quota_left,
        verified_senders=verified_senders,
        faults=wanted,
        rate_limit=rate,
        unknown_recipients=unknown_recipients,
        clock=clock,
        tokens=tokens,
        **limits,
    )
    return SimulatedServer(
        provider, *scripts, rules=rules, tls=tls, certificate=certificate, keeps_content=keeps_content
    )
