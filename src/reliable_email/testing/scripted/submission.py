"""The answers of a correct submission server (RFC 6409), which a script can replace.

Subclasses change single answers; `simulated` makes the known providers of it. The order of commands (RFC 5321
§4.1.4) is watched over by the `Conversation`, not here.
"""

import json
import threading
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reliable_email.testing.records import ReceivedMessage

if TYPE_CHECKING:
    from reliable_email.testing.scripted.conversation import Conversation

KEYWORDS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES")
MECHANISMS = ("PLAIN", "LOGIN", "XOAUTH2")


class Submission:
    """The rules of one server.

    Attributes:
        name: the host name that it gives itself.
        keywords: announced EHLO keywords, without SIZE, AUTH and STARTTLS, which follow from the others.
        keywords_before_tls: the same before STARTTLS; None for no difference.
        size_limit: bytes of content; None for no limit.
        announces_size: whether EHLO says SIZE.
        mechanisms: AUTH mechanisms.
        login: passwords by user name; empty for a server without AUTH. May be changed while it runs.
        tokens: access tokens by user name, for XOAUTH2. May be changed while it runs.
        recipients_limit: per message; the next RCPT gets 452.
        messages_per_connection: the next MAIL gets 421.
        connections_limit: connections at once; the next gets 421 as greeting.
        announces_auth_before_tls: whether AUTH is offered in plaintext where STARTTLS is offered.
        accepts_bare_line_ends: otherwise content with a CR or LF outside CRLF is refused.
    """

    def __init__(
        self,
        *,
        name: str = "mx.test",
        keywords: Sequence[str] = KEYWORDS,
        keywords_before_tls: Sequence[str] | None = None,
        size_limit: int | None = 10 * 1024 * 1024,
        announces_size: bool = True,
        mechanisms: Sequence[str] = MECHANISMS,
        login: Mapping[str, str] | None = None,
        tokens: Mapping[str, str] | None = None,
        recipients_limit: int = 1000,
        messages_per_connection: int | None = None,
        connections_limit: int | None = None,
        announces_auth_before_tls: bool = False,
        accepts_bare_line_ends: bool = False,
    ) -> None:
        self.name = name
        self.keywords = tuple(keywords)
        self.keywords_before_tls = None if keywords_before_tls is None else tuple(keywords_before_tls)
        self.size_limit = size_limit
        self.announces_size = announces_size
        self.lock = threading.RLock()  # held while a message is judged and counted
        self.mechanisms = tuple(mechanisms)
        self.login = dict(login or {})
        self.tokens = dict(tokens or {})
        self.recipients_limit = recipients_limit
        self.messages_per_connection = messages_per_connection
        self.connections_limit = connections_limit
        self.announces_auth_before_tls = announces_auth_before_tls
        self.accepts_bare_line_ends = accepts_bare_line_ends

    @property
    def requires_login(self) -> bool:
        """True if MAIL is refused before AUTH."""
        return bool(self.login or self.tokens)

    def greeting(self, open_connection_count: int) -> str:
        """The first line; the count includes this connection."""
        if self.connections_limit is not None and open_connection_count > self.connections_limit:
            return self.too_many_connections()
        return f"220 {self.name} ESMTP"

    def too_many_connections(self) -> str:
        """Instead of the greeting."""
        return "421 4.7.0 Too many concurrent connections"

    def ehlo(self, *, offers_starttls: bool) -> str:
        """The whole answer to EHLO; `offers_starttls` while TLS is still to come."""
        lines = [self.name]
        before = offers_starttls and self.keywords_before_tls is not None
        lines += (self.keywords_before_tls or ()) if before else self.keywords
        if self.size_limit is not None and self.announces_size:
            lines.append(f"SIZE {self.size_limit}")
        if offers_starttls:
            lines.append("STARTTLS")
        if self.requires_login and self.mechanisms and (not offers_starttls or self.announces_auth_before_tls):
            lines.append("AUTH " + " ".join(self.mechanisms))
        return "\n".join(f"250{' ' if at == len(lines) else '-'}{line}" for at, line in enumerate(lines, 1))

    def must_start_tls(self) -> str:
        """AUTH or MAIL before the STARTTLS that is offered and needed."""
        return "530 5.7.0 Must issue a STARTTLS command first"

    def verify_password(self, username: str, password: str) -> str:
        """The verdict on PLAIN and LOGIN."""
        if username in self.login and self.login[username] == password:
            return self.welcome()
        return self.wrong_password()

    def verify_token(self, username: str, token: str) -> str:
        """The verdict on XOAUTH2."""
        if username in self.tokens and self.tokens[username] == token:
            return self.welcome()
        return self.wrong_password()

    def welcome(self) -> str:
        """The answer to right credentials."""
        return "235 2.7.0 Authentication successful"

    def wrong_password(self) -> str:
        """The answer to wrong credentials."""
        return "535 5.7.8 Authentication credentials invalid"

    def token_error(self) -> str:
        """The challenge that tells why an access token is refused (base64 of JSON), before the 535."""
        return b64encode(json.dumps({"status": "401", "schemes": "bearer", "scope": "mail"}).encode()).decode()

    def login_missing(self) -> str:
        """MAIL before AUTH."""
        return "530 5.7.0 Authentication required"

    def mail(self, conversation: "Conversation", sender: str, parameters: Mapping[str, str]) -> str:
        """MAIL with a well-formed path and known parameters."""
        size = parameters.get("SIZE", "")
        if self.size_limit is not None and self.announces_size and size.isdigit() and int(size) > self.size_limit:
            return self.too_large()
        return "250 2.1.0 Sender ok"

    def too_large(self) -> str:
        """Return the reply to a message that is too large, at MAIL or after its content."""
        return "552 5.3.4 Message size exceeds fixed limit"

    def rcpt(self, conversation: "Conversation", recipient: str) -> str:
        """RCPT with a well-formed path."""
        if len(conversation.recipients) >= self.recipients_limit:
            return self.too_many_recipients()
        return "250 2.1.5 Recipient ok"

    def too_many_recipients(self) -> str:
        """RCPT over the limit."""
        return "452 4.5.3 Too many recipients"

    def data(self, conversation: "Conversation") -> str:
        """DATA with at least one recipient."""
        return "354 End data with <CR><LF>.<CR><LF>"

    def final_reply(self, conversation: "Conversation", message: ReceivedMessage) -> str:
        """Complete content."""
        if self.size_limit is not None and message.size > self.size_limit:
            return self.too_large()
        if message.has_bare_line_ends and not self.accepts_bare_line_ends:
            return "550 5.5.2 Bare CR or LF in content"
        return f"250 2.0.0 Ok: queued as {message.connection}-{conversation.record.message_count + 1}"

    def admit(self, message: ReceivedMessage) -> bool:
        """Count a message that is about to be taken; False for a second copy of one that was taken before."""
        return True
