"""The table: what routes do, and what becomes of each recipient.

`Row.ends` are the ends of a direct send; `Row.queue` those of the queue where it says more or something else: what a
direct send calls `deferred` waits there as `queued`, or `parked`. `order` is who is asked, one letter a transaction;
`queue_order` where the queue leaves rounds to later claims.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

ONE = ("ann",)
TWO = ("ann", "bob")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        rounds: claims of the queue.
        cause: the cause that is told of the first recipient.
        attempts: that the queue's row has spent.
    """

    name: str
    routes: tuple[str, ...]
    to: tuple[str, ...] = ONE
    ends: Mapping[str, str] | str = "accepted"
    queue: Mapping[str, str] | str | None = None
    order: str = ""
    queue_order: str | None = None
    cause: str | None = None
    attempts: int | None = None
    rounds: int = 1
    paused: tuple[str, ...] = field(default=())
    max_attempts: int = 2

    def __str__(self) -> str:
        return self.name


# What an answer is about. Each list is of real servers' words or of what a wire may do.
ROUTE_ONLY = {  # the route's matter: costs the message nothing, and the next one is asked at once
    "ehlo 501": "ehlo:501 Syntactically invalid EHLO argument(s)",
    "ehlo 501 5.5.4": "ehlo:501 5.5.4 Invalid argument",
    "ehlo 504": "ehlo:504 5.5.2 <x>: Helo command rejected: need fully-qualified hostname",
    "ehlo 550": "ehlo:550 5.7.1 Helo command rejected: Access denied",
    "ehlo 550 name": "ehlo:550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
    "ehlo 502": "ehlo:502 5.5.1 command not implemented",
    "ehlo user unknown": "ehlo:550 5.1.1 user unknown",
    "ehlo spam": "ehlo:554 5.7.1 your message looks like spam",
    "ehlo too large": "ehlo:552 message size exceeds fixed limit",
    "auth 504": "auth:504 5.7.4 Unrecognized authentication type",
    "auth 502": 'auth:502 Command "AUTH PLAIN" not implemented',
    "auth 503": "auth:503 AUTH command used when not advertised",
    "auth 500": "auth:500 5.5.1 Invalid command",
    "auth 501": "auth:501 5.5.2 Cannot Decode response",
    "auth 535": "auth:535 5.7.8 Error: authentication failed",
    "auth 535 spam": "auth:535 5.7.8 Your message looks like spam. You need to use web mail",
    "auth 550": "auth:550 User has no permission",
    "auth 554 no user": "auth:554 5.1.1 no such user here",
    "greeting 554": "greeting:554 5.7.1 no mail from you: listed at a block list",
    "greeting 521": "greeting:521 does not accept mail",
    "greeting content": "greeting:554 virus detected, message refused",
    "starttls 503": "starttls:503 5.5.1 not now",
    "starttls 500": "starttls:500 what?",
    "no such host": "resolve:nothost",
    "cannot be built": "connect:unbuilt",
    "relay denied": "rcpt:550 5.7.1 relaying denied",
    "helo at rcpt": "rcpt:504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname",
    "helo at mail": "mail:550 Access denied - Invalid HELO name",
    "quota": "mail:550 5.4.5 Daily user sending quota exceeded",
    "account on hold, at rcpt": "rcpt:550 5.7.1 Your account is on hold",
    "sending switched off, at rcpt": "rcpt:550 Outbound mail has been disabled for your mailbox",
    "privileges taken away, at the end": "final:550 Your mail privileges have been revoked",
    "host on no list, at rcpt": "rcpt:550 5.7.1 Host not on the allow list",
    "address on no list, at rcpt": "rcpt:550 Your IP is not in the whitelist of this account",
    "country, at rcpt": "rcpt:550 5.7.1 Geo location not allowed",
    "secure connection, at rcpt": "rcpt:550 You must use a secure connection",
    "weak cipher, at rcpt": "rcpt:550 5.7.14 Weak cipher negotiated, upgrade required",
    "recipients of a day, at rcpt": "rcpt:550 Recipient limit for this day reached",
    "sender over quota, at rcpt": "rcpt:552 5.2.2 Sender over quota",
    "session over, at rcpt": "rcpt:550 5.7.0 session expired",
    "client certificate, at rcpt": "rcpt:550 5.7.1 Client certificate required",
    "another port, at rcpt": "rcpt:550 5.7.1 Port 25 submissions disabled, use 587",
    "account not verified, at rcpt": "rcpt:550 5.7.1 Please verify your email address before sending",
    "password transition": "auth:432 4.7.12 A password transition is needed",
    "reputation": "mail:554 5.7.1 your IP address is blocked using a block list",
}
TROUBLE = {  # passes by itself: the next route at once, this one again
    "connection refused": "connect:refused",
    "connect time-out": "connect:silence",
    "greeting 421": "greeting:421 4.3.2 service not available",
    "greeting closed": "greeting:close",
    "ehlo 421": "ehlo:421 4.3.0 too busy",
    "auth closed": "auth:close",
    "mail closed": "mail:close",
    "mail 451": "mail:451 4.3.0 temporary system problem",
    "mail silent": "mail:silence",
    "rcpt 451": "rcpt:451 4.3.0 Temporary lookup failure",
    "rcpt 450 not understood": "rcpt:450 computer says later",
    "rcpt closed": "rcpt:close",
    "rcpt silent": "rcpt:silence",
    "data closed": "data:close",
    "data 451": "data:451 4.3.0 try again later",
    "content closed": "content:close",
    "final 451": "final:451 4.3.0 temporary system problem",
    "final 421": "final:421 4.3.2 closing down",
    "spam filter away, called permanent": "final:554 5.7.1 spam filter unavailable, try again",
    "virus scanner away, called permanent": "final:550 clamav unavailable",
    "content not scanned, called permanent": "final:550 5.7.1 could not scan message",
    "engine away, called permanent": "final:554 5.7.1 DLP engine unavailable",
    "scanner timed out, at rcpt": "rcpt:554 5.7.1 content filter timed out",
}
AT_RCPT_FOR_GOOD = {  # this recipient's own RCPT: nobody else is asked
    "no such user": "rcpt:550 5.1.1 user unknown",
    "mailbox disabled": "rcpt:554 5.2.1 mailbox disabled",
    "no such domain": "rcpt:550 5.1.2 host not found",
    "unclassified at rcpt": "rcpt:550 computer says no",
    "bad syntax of the address": "rcpt:501 5.1.3 Bad recipient address syntax",
}
RECIPIENT_LATER = {
    "greylisted": "rcpt:450 4.2.0 greylisted, try again in 300 seconds",
    "mailbox full": "rcpt:452 4.2.2 mailbox full",
    "user database down": "rcpt:451 4.1.1 user lookup failed temporarily, unknown user",
}
MESSAGE_FOR_GOOD = {
    "spam": "final:554 5.7.1 message rejected as spam",
    "virus": "final:552 5.7.0 virus found in the message",
    "spam at data": "data:554 5.7.1 message rejected as spam",
}
ONE_OTHER = {
    "nonsense at the end": "final:550 computer says no",
    "nonsense at mail": "mail:550 computer says no",
    "nonsense at data": "data:554 Transaction failed",
    "sender syntax at mail": "mail:501 5.1.7 Bad sender address syntax",
    "content at mail": "mail:554 5.7.1 message rejected as spam",
    "a recipient's cause at mail": "mail:550 5.1.1 user unknown",
    "no 8BITMIME": "final:554 5.6.3 Conversion of 8BITMIME to 7BIT required but not supported",
    "no SMTPUTF8": "final:554 5.6.7 SMTPUTF8 not supported here",
    "no SMTPUTF8 at rcpt": "rcpt:553 5.6.7 SMTPUTF8 is required, but was not offered by the host",
    "no body type": "data:554 5.6.1 Body type not supported by Remote Host",
    "upstream down, at rcpt": "rcpt:554 5.3.0 sorry, my upstream is down",
    "smarthost away, at rcpt": "rcpt:554 5.4.0 smarthost unreachable",
    "queue full, at rcpt": "rcpt:550 5.2.0 queue full",
    "directory away, at rcpt": "rcpt:550 LDAP server unavailable",
    "verification away, at rcpt": "rcpt:550 Recipient verification server unreachable",
    "policy service away, at rcpt": "rcpt:550 policy service timeout",
    "table away, at rcpt": "rcpt:550 5.7.1 virtual alias table unavailable",
    "maintenance, at rcpt": "rcpt:550 5.7.1 This server is in maintenance",
    "no licence, at rcpt": "rcpt:554 licence expired",
    "badly configured, at rcpt": "rcpt:554 5.3.5 that does not work at present",
    "system permanent": "final:554 5.3.0 system error, giving up",
}
CONVERSATION = {
    "503 at mail": "mail:503 Bad sequence of commands - pipelined after end of DATA",
    "503 sender given": "mail:503 sender already given",
    "500 at mail": "mail:500 unrecognized command",
    "502 at data": "data:502 5.5.1 command not implemented",
    "503 at rcpt": "rcpt:503 5.5.1 MAIL first",
    "504 at mail": "mail:504 5.5.4 parameter not implemented",
    "555 at mail": "mail:555 5.5.4 unsupported parameter",
    "554 synchronization": "mail:554 SMTP synchronization error",
    "554 protocol": "final:554 SMTP protocol violation",
    "503 at the end": "final:503 5.5.0 need DATA first",
}
UNKNOWN = {"closed at the end": "final:close", "silent at the end": "final:silence"}


def rows() -> Iterator[Row]:
    """Every row."""
    yield from _products()
    yield from _special()


def _products() -> Iterator[Row]:
    for to in (ONE, TWO):
        many = f", {len(to)} recipients" if len(to) > 1 else ""
        for group in (ROUTE_ONLY, TROUBLE):
            for name, answer in group.items():
                yield Row(name=f"{name}: the next route{many}", routes=(answer, "250"), to=to, order="ab")
                yield Row(name=f"{name} twice: the third{many}", routes=(answer, answer, "250"), to=to, order="abc")
                yield Row(
                    name=f"{name} alone: not ended{many}", routes=(answer,), to=to, ends="deferred", queue="queued"
                )
        for name, answer in AT_RCPT_FOR_GOOD.items():
            yield Row(name=f"{name}: rejected{many}", routes=(answer, "250"), to=to, ends="rejected", order="a")
        for name, answer in RECIPIENT_LATER.items():
            yield Row(
                name=f"{name}: waits{many}",
                routes=(answer, "250"),
                to=to,
                ends="deferred",
                queue="queued",
                order="aa",
                queue_order="a",
            )
            yield Row(
                name=f"{name} once: the same route later{many}",
                routes=(f"{answer} | 250", "250"),
                to=to,
                order="aa",
                rounds=2,
            )
        for name, answer in MESSAGE_FOR_GOOD.items():
            yield Row(name=f"{name}: rejected{many}", routes=(answer, "250"), to=to, ends="rejected", order="a")
        for name, answer in ONE_OTHER.items():
            yield Row(name=f"{name}: another route takes it{many}", routes=(answer, "250"), to=to, order="ab")
            yield Row(name=f"{name} alone: rejected{many}", routes=(answer,), to=to, ends="rejected", order="a")
            yield Row(
                name=f"{name} twice: rejected{many}", routes=(answer, answer, "250"), to=to, ends="rejected", order="ab"
            )
            yield Row(
                name=f"{name}, and the other route is down: stands when its time is over{many}",
                routes=(answer, "connect:refused"),
                to=to,
                ends="rejected",
                queue="queued",
            )
        for name, answer in CONVERSATION.items():
            yield Row(
                name=f"{name}: once more alone, then the next{many}",
                routes=(answer, "250"),
                to=to,
                order="aab",
            )
            yield Row(
                name=f"{name} once: the same route takes it{many}", routes=(f"{answer} | 250",), to=to, order="aa"
            )
            yield Row(
                name=f"{name} alone: never rejected{many}",
                routes=(answer,),
                to=to,
                ends="deferred",
                queue="queued",
                queue_order="aa",
                attempts=1,
            )
        for name, answer in UNKNOWN.items():
            yield Row(name=f"{name}: unknown{many}", routes=(answer, "250"), to=to, ends="unknown", order="a")


def _special() -> Iterator[Row]:
    good_bad = {"ann": "accepted", "bob": "rejected"}
    yield Row(
        name="one refused at RCPT, the other goes",
        routes=("rcpt bob:550 5.1.1 user unknown",),
        to=TWO,
        ends=good_bad,
        order="a",
    )
    yield Row(
        name="refused at RCPT inside a grant, the rest is unknown",
        routes=("rcpt bob:550 5.1.1 user unknown & final:close", "250"),
        to=TWO,
        ends={"ann": "unknown", "bob": "rejected"},
        order="a",
    )
    yield Row(
        name="a final reply names one of two: each alone",
        routes=("final:550 5.1.1 <bob@example.com> user unknown | 250 | final:550 5.1.1 user unknown", "250"),
        to=TWO,
        ends=good_bad,
        order="aaa",
    )
    yield Row(
        name="DATA is refused for a mailbox of two: each alone",
        routes=("data:550 5.1.1 user unknown | 250 | data:550 5.1.1 user unknown",),
        to=TWO,
        ends=good_bad,
        order="aaa",
    )
    yield Row(
        name="a final reply about the mailbox of the only one",
        routes=("final:550 5.1.1 user unknown", "250"),
        ends="rejected",
        order="a",
    )
    yield Row(
        name="two many recipients at RCPT: the rest at once",
        routes=("rcpt bob:452 4.5.3 too many recipients | 250",),
        to=TWO,
        order="aa",
    )
    yield Row(
        name="too many recipients at the end: halves",
        routes=("final:452 4.5.3 too many recipients | 250",),
        to=TWO,
        order="aaa",
    )
    yield Row(
        name="too many recipients, said to one: once more alone, then a limit",
        routes=("rcpt:452 4.5.3 too many recipients", "250"),
        order="aab",
    )
    yield Row(
        name="too many recipients at MAIL is no split",
        routes=("mail:452 4.5.3 Too many recipients: Too many messages sent", "250"),
        to=TWO,
        order="aab",
    )
    yield Row(
        name="a limit said to a lone route spends an attempt from the third in a row on",
        routes=("rcpt:452 4.5.3 too many recipients",),
        ends="deferred",
        queue="queued",
        rounds=4,
        queue_order="aaaaaaaa",
        attempts=2,
    )
    yield Row(
        name="our own limit of connections spends no attempt",
        routes=("connect:busy",),
        ends="deferred",
        queue="queued",
        rounds=4,
        attempts=0,
    )
    yield Row(name="our own limit of connections: the next route", routes=("connect:busy", "250"), order="ab")
    yield Row(name="documented envelopes", routes=("rcpts=1; 250",), to=TWO, order="aa")
    yield Row(name="known to be too large: a roomier route", routes=("size=10; 250", "250"), order="b")
    yield Row(
        name="known to be too large for all: rejected, nobody asked",
        routes=("size=10; 250", "size=20; 250"),
        ends="rejected",
        order="",
        cause="message_too_large",
    )
    yield Row(
        name="too large for one, the other closed: waits",
        routes=("size=10; 250", "250"),
        paused=("b",),
        ends="deferred",
        queue="queued",
        order="",
    )
    yield Row(
        name="552 from the server: a roomier route",
        routes=("final:552 5.3.4 message too big", "250"),
        order="ab",
    )
    yield Row(
        name="552 from all",
        routes=("final:552 5.3.4 message too big", "mail:552 5.3.4 message too big"),
        ends="rejected",
        order="ab",
    )
    yield Row(name="SMTPUTF8 is missing here: the next", routes=("rcpt:utf8", "250"), order="ab")
    yield Row(
        name="SMTPUTF8 is missing everywhere: rejected",
        routes=("rcpt:utf8", "rcpt:utf8"),
        ends="rejected",
        order="ab",
    )
    yield Row(
        name="SMTPUTF8 is missing here, the other is closed: waits",
        routes=("rcpt:utf8", "250"),
        paused=("b",),
        ends="deferred",
        queue="queued",
        order="a",
    )
    yield Row(name="an invalid address", routes=("rcpt:invalid", "250"), ends="rejected", order="a")
    yield Row(name="a route that cannot be built is passed over", routes=("unbuilt", "250"), order="b")
    yield Row(name="one behind the good one costs nothing", routes=("250", "unbuilt"), order="a")
    yield Row(
        name="no route can be built: waits without an attempt",
        routes=("unbuilt", "unbuilt"),
        ends="deferred",
        queue="queued",
        order="",
        attempts=0,
        cause="cannot_be_built",
    )
    yield Row(name="code raises: the next route", routes=("mail:raise", "250"), order="ab")
    yield Row(
        name="code raises everywhere: parked",
        routes=("mail:raise", "mail:raise"),
        ends="deferred",
        queue="parked",
        order="ab",
        cause="code_raised",
    )
    yield Row(name="an adapter says that code raised", routes=("data:raised", "250"), order="ab")
    yield Row(
        name="code raises behind the permission: unknown",
        routes=("final:raise", "250"),
        ends="unknown",
        order="a",
    )
    yield Row(
        name="content that is none",
        routes=("data:content", "250"),
        ends="deferred",
        queue="parked",
        order="a",
    )
    yield Row(
        name="a sender that is not verified here: the next",
        routes=("mail:550 the from address does not match a verified sender identity", "250"),
        order="ab",
    )
    yield Row(
        name="a sender that is verified nowhere: parked",
        routes=("mail:550 the from address does not match a verified sender identity",) * 2,
        ends="deferred",
        queue="parked",
        order="ab",
    )
    yield Row(
        name="a sender that is not verified, and a route that is closed: waits",
        routes=("mail:550 the from address does not match a verified sender identity", "250"),
        paused=("b",),
        ends="deferred",
        queue="queued",
        order="a",
    )
    yield Row(name="a quota that is used up: the next", routes=("quota=0; 250", "250"), order="b")
    yield Row(
        name="a quota that takes one of two: the other by the next",
        routes=("quota=1; 250", "250"),
        to=TWO,
        order="ab",
    )
    yield Row(name="paused: the next", routes=("250", "250"), paused=("a",), order="b")
    yield Row(
        name="all are paused: waits without an attempt",
        routes=("250", "250"),
        paused=("a", "b"),
        ends="deferred",
        queue="queued",
        order="",
        attempts=0,
    )
    yield Row(
        name="greylisted, then its route refuses the login: the next is asked",
        routes=("rcpt:450 4.2.0 greylisted | auth:535 5.7.8 authentication failed", "250"),
        order="aab",
        rounds=2,
    )
    yield Row(
        name="greylisted, then its route is away: the next is asked",
        routes=("rcpt:450 4.2.0 greylisted | connect:refused", "250"),
        order="aab",
        rounds=2,
    )
    yield Row(
        name="unknown where second copies are dropped: the same route, never another",
        routes=("exact=1; final:close | 250", "250"),
        order="aa",
        rounds=2,
    )
    yield Row(
        name="unknown, sent again, unknown again",
        routes=("exact=1; final:close", "250"),
        ends="unknown",
        queue="unknown",
        order="aa",
        rounds=2,
    )
    yield Row(
        name="a refusal stands when the hour is over and nobody else could be asked",
        routes=("final:550 computer says no", "connect:refused"),
        ends="rejected",
        queue="queued",
    )
    yield Row(
        name="refused, and the other one only says later",
        routes=("final:550 computer says no", "final:451 4.3.0 try again later"),
        ends="deferred",
        queue="queued",
    )
    yield Row(
        name="refused, and the other one only speaks of the conversation",
        routes=("data:554 Transaction failed", "mail:500 unrecognized command"),
        ends="rejected",
        queue="rejected",
        queue_order="abbbba",
        rounds=2,
    )
    yield Row(
        name="unknown, and the resend is refused: still unknown",
        routes=("exact=1; final:close | rcpt:550 5.1.1 user unknown", "250"),
        ends="unknown",
        order="aa",
        rounds=2,
    )
    yield Row(
        name="a console delivers nothing",
        routes=("shows=1; 250",),
        ends="deferred",
        queue="queued",
        order="a",
    )
    yield Row(
        name="our own journal says no",
        routes=("content:withheld", "250"),
        ends="deferred",
        queue="queued",
        order="a",
        attempts=0,
    )
    yield Row(
        name="a sandbox that takes only some recipients",
        routes=("rcpt:550 5.7.1 Sandbox mode: recipient not authorized", "250"),
        order="ab",
    )
    yield Row(
        name="SES's sandbox names the recipient",
        routes=("rcpt:554 Message rejected: Email address is not verified. ann@example.com", "250"),
        order="ab",
    )
