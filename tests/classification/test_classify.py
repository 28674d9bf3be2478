"""What decides, in which order, and what may never be concluded."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.classification import Cause, Scope, classify
from reliable_email.classification.meanings import MEANINGS
from reliable_email.classification.rulebook import loose_rulebook, rulebook
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import Reply, parse_reply

BEFORE_RCPT = [Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH, Stage.MAIL]
ABOUT_MAILBOXES = {Cause.MAILBOX_UNKNOWN, Cause.MAILBOX_INACTIVE, Cause.MAILBOX_FULL}
PHRASES = sorted(
    {
        phrase.strip()
        for rule in (*rulebook().rules, *loose_rulebook().rules)
        for phrase in (*rule.any_of, *rule.and_any_of, *rule.all_of)
    }
)


def explain(text, **known):
    """What a reply in one string means."""
    return classify(parse_reply(text), **known)


# --- what may never be concluded ---


@pytest.mark.parametrize("stage", BEFORE_RCPT)
@given(
    code=st.integers(400, 599),
    enhanced=st.sampled_from(["", "5.1.1", "5.2.1", "5.2.2", "4.2.2", "5.1.10", "5.7.1", "5.4.1"]),
    phrases=st.lists(st.sampled_from(PHRASES), max_size=4),
)
def test_nothing_said_before_rcpt_is_about_a_mailbox(stage, code, enhanced, phrases):
    """A dead route must never be taken for a dead mailbox, whatever words and numbers the server uses."""
    failure = classify(Reply(code, (" ".join(phrases),), enhanced), stage=stage)
    assert failure.cause not in ABOUT_MAILBOXES
    assert failure.scope is not Scope.RECIPIENT


@pytest.mark.parametrize("stage", [None, Stage.DATA, Stage.FINAL_REPLY])
@pytest.mark.parametrize("text", ["550", "550 no", "554 Transaction failed", "550 Rejected", "553 5.7.1 no thanks"])
def test_a_bare_refusal_is_no_dead_mailbox(text, stage):
    """Without words that say so, a 5yz about the whole message costs the message, not the address."""
    failure = explain(text, stage=stage)
    assert failure.cause not in ABOUT_MAILBOXES
    assert failure.scope is Scope.MESSAGE


@pytest.mark.parametrize(
    "text",
    [
        "550 Unauthenticated senders not allowed",
        "550 5.7.1 Relaying denied",
        "550 The from address does not match a verified Sender Identity",
        "550 5.4.5 Daily user sending quota exceeded",
        "554 5.7.1 client host blocked using example.org, user unknown to us",
        "550-Verification failed 550-No Such User Here 550 Sender verify failed",
        "550 Too many invalid recipients",
        "550 mailbox unavailable, see http://postmaster.example.com/error?ip=192.0.2.1&c=bl",
        "535 5.7.8 no such user",
    ],
)
def test_trouble_of_the_route_is_never_a_dead_mailbox(text):
    """These sound like a rejected recipient, and every mail by that route would get them."""
    assert explain(text, stage=Stage.FINAL_REPLY).cause not in ABOUT_MAILBOXES


@given(
    code=st.integers(200, 599),
    lines=st.lists(st.text(max_size=3000), max_size=3),
    enhanced=st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True) | st.just(""),
    stage=st.none() | st.sampled_from(list(Stage)),
    provider=st.none() | st.text(max_size=30) | st.sampled_from(["gmail", "ses"]),
)
def test_every_reply_has_a_meaning(code, lines, enhanced, stage, provider):
    """No text upsets the classifier, and what it says is consistent."""
    failure = classify(Reply(code, tuple(lines), enhanced), stage=stage, provider=provider)
    assert failure.rule
    assert failure.help
    assert failure.retry_after is None or 0 <= failure.retry_after <= 604800


@given(st.lists(st.sampled_from([*PHRASES, "@", "<a@b.example>", "192.0.2.1", "\u202e", "5.7.1"]), max_size=300))
def test_long_texts_full_of_phrases_are_read(pieces):
    """A reply that says everything at once still means one thing."""
    assert classify(Reply(550, (" ".join(pieces),))).cause in Cause


# --- the order of decision ---


def test_the_stage_decides_before_the_words():
    """The same words mean another thing at AUTH than at RCPT."""
    assert explain("550 no such user", stage=Stage.AUTH).cause is Cause.AUTH_FAILED
    assert explain("550 no such user", stage=Stage.RCPT).cause is Cause.MAILBOX_UNKNOWN


def test_words_decide_before_codes():
    """Servers share codes and not words."""
    assert explain("451 Authentication failed: Maximum credits exceeded").cause is Cause.QUOTA_EXCEEDED
    assert explain("454 4.7.0 Too many login attempts").cause is Cause.AUTH_THROTTLED
    assert explain("454 4.7.0 Temporary authentication failure").cause is Cause.SYSTEM_TEMPORARY
    assert explain("550 5.1.1 relay access denied").cause is Cause.RELAY_DENIED


def test_status_then_code_then_class_decide_where_words_fail():
    """The last resort is a guess and says so."""
    assert explain("550 5.1.1 x").rule == "status.5.1.1"
    assert explain("535 x").rule == "code.535"
    temporary, permanent = explain("441 x"), explain("571 x")
    assert (temporary.cause, temporary.certain) == (Cause.SYSTEM_TEMPORARY, False)
    assert (permanent.cause, permanent.certain) == (Cause.UNCLASSIFIED, False)


@pytest.mark.parametrize(
    ("stage", "scope"),
    [
        (Stage.GREETING, Scope.ROUTE),
        (Stage.EHLO, Scope.ROUTE),
        (Stage.MAIL, Scope.MESSAGE),
        (Stage.RCPT, Scope.RECIPIENT),
        (Stage.FINAL_REPLY, Scope.MESSAGE),
    ],
)
def test_an_unknown_refusal_is_about_what_was_asked(stage, scope):
    """Where no rule helps, the stage says at least what was refused."""
    assert explain("571 xyzzy", stage=stage).scope is scope


def test_the_providers_name_may_be_any_spelling_or_unknown():
    """An unknown provider counts as none; the spelling of a known one does not matter."""
    text = "550 5.4.5 Daily user sending quota exceeded"
    assert {explain(text, provider=name).rule for name in ("gmail", "Google", "mx.example.org", "")} == {
        "google.daily-limit"
    }


# --- replies about the conversation ---


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.FINAL_REPLY, None])
@pytest.mark.parametrize(
    "text",
    [
        "503 Bad sequence of commands - pipelined after end of DATA",
        "503 sender already given",
        "503 5.5.1 Error: nested MAIL command",
        "502 5.5.2 Error: command not recognized",
        "500 xyzzy",
        "504 5.5.4 xyzzy",
        "555 5.5.4 Unsupported option: SIZE=7",
        "550 5.5.1 xyzzy",
        "554 5.5.0 xyzzy",
        "554 SMTP synchronization error",
        "550 Protocol error",
        "451 4.5.0 SMTP protocol violation, see RFC 2821",
    ],
)
def test_a_reply_about_commands_and_their_order_is_about_the_conversation(text, stage):
    """Whatever command it answers, it says nothing final of a recipient or a message."""
    failure = explain(text, stage=stage)
    assert failure.is_about_conversation
    assert failure.scope is Scope.MESSAGE
    assert "commands and their order" in failure.help


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("504 5.5.2 <bob@intranet>: Recipient address rejected", Stage.RCPT),
        ("504 5.5.2 <bob@intranet>: Recipient address rejected: need fully-qualified address", Stage.RCPT),
        ("503 5.5.1 <ada@example.com>: User unknown", Stage.RCPT),
        ("503 5.7.0 Authentication required", Stage.MAIL),
        ("503 5.5.1 Must issue a STARTTLS command first", Stage.MAIL),
        ("554 5.5.0 Message rejected as spam", Stage.FINAL_REPLY),
        ("500 Line too long", Stage.FINAL_REPLY),
        ("550 5.7.1 Message is not RFC 5322 compliant: duplicate header", Stage.FINAL_REPLY),
        ("550 5.6.0 xyzzy", Stage.FINAL_REPLY),
        ("550 5.7.1 xyzzy", Stage.FINAL_REPLY),
        ("452 4.5.3 Too many recipients", Stage.RCPT),
    ],
)
def test_words_about_anything_else_decide_before_the_numbers(text, stage):
    """A reply that names recipient, sender, content, login or policy is no reply about the conversation."""
    assert not explain(text, stage=stage).is_about_conversation


@pytest.mark.parametrize("stage", [Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH])
def test_before_mail_there_is_no_conversation_about_a_message(stage):
    """There the reply is the route's matter anyway."""
    failure = explain("503 5.5.1 Bad sequence of commands", stage=stage)
    assert not failure.is_about_conversation
    assert failure.scope is Scope.ROUTE


# --- details ---


def test_the_words_of_the_server_set_the_wait():
    """A number in the text wins over the rule's own, a named moment is kept as a moment."""
    assert explain("451 4.7.1 Greylisted, try again in 42 seconds").retry_after == 42
    assert explain("451 4.7.1 Greylisted").retry_after == 300
    limited = (
        "450 Domain x is not allowed to send: recipient limit exceeded, try again after Mon, 25 Aug 2025 07:00:31 UTC"
    )
    found = explain(limited, now=datetime(2025, 8, 25, 7, 0, 0, tzinfo=UTC))
    assert found.retry_at == datetime(2025, 8, 25, 7, 0, 31, tzinfo=UTC)
    assert found.retry_after == 31


def test_a_sandbox_that_refuses_the_recipient_is_not_about_the_sender():
    """Amazon names the identity that failed; where that is the recipient, the route is not closed for the sender."""
    text = (
        "554 Message rejected: Email address is not verified. The following identities failed the check: b@example.org"
    )
    assert explain(text, sender_domain="example.org").scope is Scope.SENDER_ON_ROUTE
    assert explain(text, sender_domain="example.com").scope is Scope.RECIPIENT


def test_a_recipient_with_too_much_mail_slows_nobody_else():
    """A limit of one mailbox is no reason to throttle the route."""
    failure = explain("450 4.2.1 The user you are trying to contact is receiving mail too quickly", provider="gmail")
    assert (failure.cause, failure.scope) == (Cause.RATE_LIMITED, Scope.RECIPIENT)


def test_a_four_hundred_about_a_mailbox_is_tried_again():
    """A user database that is down says 450 user unknown; rejecting would lose the mail."""
    failure = explain("450 4.1.1 user unknown", stage=Stage.RCPT)
    assert (failure.cause, failure.permanent) == (Cause.MAILBOX_UNKNOWN, False)


def test_four_hundreds_that_do_not_pass_are_permanent():
    """Some providers use 4yz for what only a person can change."""
    assert explain("421 Domain x.mailgun.org is not allowed to send: Sandbox subdomains").permanent
    assert explain("451 5.7.3 STARTTLS is required to send mail").permanent
    assert explain("451 Authentication failed: Could not authenticate").permanent


# --- failures of the wire ---


def wire(kind, stage, reply=None):
    """What a failure of that kind means."""
    return classify(WireFailure(stage=stage, kind=kind, detail="it broke", reply=reply))


@pytest.mark.parametrize(
    ("kind", "stage", "cause"),
    [
        (FailureKind.HOST_NOT_FOUND, Stage.RESOLVE, Cause.HOST_NOT_FOUND),
        (FailureKind.RESOLVER_FAILED, Stage.RESOLVE, Cause.CONNECT_FAILED),
        (FailureKind.CONNECT_FAILED, Stage.CONNECT, Cause.CONNECT_FAILED),
        (FailureKind.TIMEOUT, Stage.GREETING, Cause.TIMEOUT),
        (FailureKind.TIMEOUT, Stage.FINAL_REPLY, Cause.OUTCOME_UNKNOWN),
        (FailureKind.DISCONNECTED, Stage.CONTENT, Cause.DISCONNECTED),
        (FailureKind.DISCONNECTED, Stage.FINAL_REPLY, Cause.OUTCOME_UNKNOWN),
        (FailureKind.PROTOCOL, Stage.MAIL, Cause.PROTOCOL_ERROR),
        (FailureKind.PROTOCOL, Stage.FINAL_REPLY, Cause.OUTCOME_UNKNOWN),
        (FailureKind.NOT_SMTP, Stage.GREETING, Cause.PROTOCOL_ERROR),
        (FailureKind.TLS_VERIFICATION, Stage.TLS, Cause.TLS_FAILED),
        (FailureKind.TLS_NOT_OFFERED, Stage.STARTTLS, Cause.TLS_FAILED),
        (FailureKind.AUTH_NOT_OFFERED, Stage.AUTH, Cause.AUTH_FAILED),
        (FailureKind.AUTH_INSECURE, Stage.AUTH, Cause.TLS_REQUIRED),
        (FailureKind.TOKEN, Stage.AUTH, Cause.AUTH_FAILED),
        (FailureKind.TOO_LARGE, Stage.MAIL, Cause.MESSAGE_TOO_LARGE),
        (FailureKind.UNSUPPORTED, Stage.MAIL, Cause.SYNTAX_OR_UNSUPPORTED),
        (FailureKind.INVALID, Stage.RCPT, Cause.ADDRESS_INVALID),
        (FailureKind.INVALID, Stage.CONTENT, Cause.SYNTAX_OR_UNSUPPORTED),
        (FailureKind.WITHHELD, Stage.CONTENT, Cause.WITHHELD),
    ],
)
def test_wire_failures_have_causes(kind, stage, cause):
    """Kind and stage decide; what was lost in the window of RFC 1047 is unknown."""
    failure = wire(kind, stage)
    assert failure.cause is cause
    assert failure.certain
    assert failure.detail == "it broke"


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_kind_is_known(kind):
    """A new kind of failure must not fall through to a guess."""
    reply = Reply(535, ("no",)) if kind is FailureKind.REFUSED else None
    assert wire(kind, Stage.AUTH, reply).cause is not Cause.UNCLASSIFIED


def test_a_refusal_is_read_at_its_own_stage():
    """A reply that reads as a recipient's refusal means a refused login if it came at AUTH."""
    failure = wire(FailureKind.REFUSED, Stage.AUTH, Reply(550, ("no such user",)))
    assert (failure.cause, failure.stage) == (Cause.AUTH_FAILED, Stage.AUTH)


def test_a_foreign_exception_is_read():
    """A backend of somebody else's raised, and the exception says what it was."""
    error = ConnectionRefusedError(111, "Connection refused")
    failure = WireFailure(stage=Stage.FINAL_REPLY, kind=FailureKind.FOREIGN, detail="it raised", error=error)
    assert classify(failure).cause is Cause.CONNECT_FAILED


# --- the table ---


def test_every_cause_has_a_meaning():
    """A cause without a row would have no scope and no words."""
    assert set(MEANINGS) == set(Cause)
