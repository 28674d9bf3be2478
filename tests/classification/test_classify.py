"""What decides, in which order, and what may never be concluded."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.classification import Action, Cause, Scope, action_for, classify
from reliable_email.classification.meanings import MEANINGS, is_permanent, package_does
from reliable_email.classification.rulebook import loose_rulebook, rulebook
from reliable_email.smtp.failures import FailureKind, WireFailure
from reliable_email.smtp.replies import Reply, parse_reply
from reliable_email.smtp.stages import Stage

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
    assert failure.action is not Action.FAIL_RECIPIENT


@pytest.mark.parametrize("stage", [None, Stage.DATA, Stage.FINAL_REPLY])
@pytest.mark.parametrize("text", ["550", "550 no", "554 Transaction failed", "550 Rejected", "553 5.7.1 no thanks"])
def test_a_bare_refusal_is_no_dead_mailbox(text, stage):
    """Without words that say so, a 5yz about the whole message costs the message, not the address."""
    failure = explain(text, stage=stage)
    assert failure.cause not in ABOUT_MAILBOXES
    assert failure.action is Action.FAIL_MESSAGE


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
    assert (temporary.cause, temporary.certain, temporary.action) == (
        Cause.SYSTEM_TEMPORARY,
        False,
        Action.RETRY_LATER,
    )
    assert (permanent.cause, permanent.certain, permanent.action) == (Cause.UNCLASSIFIED, False, Action.FAIL_MESSAGE)


@pytest.mark.parametrize(
    ("stage", "scope", "action"),
    [
        (Stage.GREETING, Scope.ROUTE, Action.LEAVE_ROUTE),
        (Stage.EHLO, Scope.ROUTE, Action.LEAVE_ROUTE),
        (Stage.MAIL, Scope.MESSAGE, Action.FAIL_MESSAGE),
        (Stage.RCPT, Scope.RECIPIENT, Action.FAIL_RECIPIENT),
        (Stage.FINAL_REPLY, Scope.MESSAGE, Action.FAIL_MESSAGE),
    ],
)
def test_an_unknown_refusal_is_about_what_was_asked(stage, scope, action):
    """Where no rule helps, the stage says at least what was refused."""
    failure = explain("571 xyzzy", stage=stage)
    assert (failure.scope, failure.action) == (scope, action) or failure.rule.startswith("stage.")


def test_the_providers_name_may_be_any_spelling_or_unknown():
    """An unknown provider counts as none; the spelling of a known one does not matter."""
    text = "550 5.4.5 Daily user sending quota exceeded"
    assert {explain(text, provider=name).rule for name in ("gmail", "Google", "mx.example.org", "")} == {
        "google.daily-limit"
    }


# --- details ---


def test_the_words_of_the_server_set_the_wait():
    """A number in the text wins over the rule's own, a named moment is kept as a moment."""
    assert explain("451 4.7.1 Greylisted, try again in 42 seconds").retry_after == 42
    assert explain("451 4.7.1 Greylisted").retry_after == 300
    limited = (
        "450 Domain x is not allowed to send: recipient limit exceeded, try again after Mon, 25 Aug 2025 07:00:31 UTC"
    )
    assert explain(limited).retry_at == datetime(2025, 8, 25, 7, 0, 31, tzinfo=UTC)
    assert explain(limited, now=datetime(2025, 8, 25, 7, 0, 0, tzinfo=UTC)).retry_after == 31


def test_a_sandbox_that_refuses_the_recipient_is_not_about_the_sender():
    """Amazon names the identity that failed; where that is the recipient, the route is not closed for the sender."""
    text = (
        "554 Message rejected: Email address is not verified. The following identities failed the check: b@example.org"
    )
    assert explain(text, sender_domain="example.org").scope is Scope.SENDER_ON_ROUTE
    other = explain(text, sender_domain="example.com")
    assert (other.scope, other.action) == (Scope.RECIPIENT, Action.FAIL_RECIPIENT)


def test_a_recipient_with_too_much_mail_slows_nobody_else():
    """A limit of one mailbox is no reason to throttle the route."""
    failure = explain("450 4.2.1 The user you are trying to contact is receiving mail too quickly", provider="gmail")
    assert (failure.cause, failure.scope, failure.action) == (
        Cause.RATE_LIMITED,
        Scope.RECIPIENT,
        Action.RETRY_LATER,
    )


def test_a_four_hundred_about_a_mailbox_is_tried_again():
    """A user database that is down says 450 user unknown; rejecting would lose the mail."""
    failure = explain("450 4.1.1 user unknown", stage=Stage.RCPT)
    assert (failure.cause, failure.permanent, failure.action) == (Cause.MAILBOX_UNKNOWN, False, Action.RETRY_LATER)


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
    """The stage of the wire failure is the stage of its reply."""
    failure = wire(FailureKind.REFUSED, Stage.AUTH, Reply(550, ("no such user",)))
    assert (failure.cause, failure.stage) == (Cause.AUTH_FAILED, Stage.AUTH)


def test_a_foreign_exception_is_read():
    """A backend of somebody else's raised, and the exception says what it was."""
    error = ConnectionRefusedError(111, "Connection refused")
    failure = WireFailure(stage=Stage.FINAL_REPLY, kind=FailureKind.FOREIGN, detail="it raised", error=error)
    assert classify(failure).cause is Cause.CONNECT_FAILED


# --- the table ---


def test_every_cause_has_a_meaning():
    """A cause without a row would have no action and no words."""
    assert set(MEANINGS) == set(Cause)


@pytest.mark.parametrize(
    ("causes", "action"),
    [
        ("mailbox_unknown mailbox_inactive address_invalid suppressed dns_or_routing", Action.FAIL_RECIPIENT),
        (
            "content_rejected syntax_or_unsupported message_too_large sender_rejected system_permanent",
            Action.FAIL_MESSAGE,
        ),
        ("mailbox_full greylisted system_temporary withheld", Action.RETRY_LATER),
        ("auth_throttled connection_limit rate_limited too_many_recipients", Action.THROTTLE_ROUTE),
        (
            "sender_not_verified auth_failed relay_denied tls_required tls_failed quota_exceeded reputation_blocked",
            Action.LEAVE_ROUTE,
        ),
        ("host_not_found connect_failed timeout disconnected protocol_error route_closed", Action.LEAVE_ROUTE),
        ("unclassified outcome_unknown", Action.FAIL_MESSAGE),
    ],
)
def test_actions_of_permanent_failures(causes, action):
    """Each cause belongs to one of five groups."""
    for cause in causes.split():
        assert action_for(Cause(cause), permanent=True) is action, cause


@pytest.mark.parametrize("cause", list(Cause))
def test_waiting_helps_only_where_time_heals(cause):
    """Whatever is tried again later is not called permanent."""
    for code in (450, 550):
        permanent = is_permanent(cause, code)
        if action_for(cause, permanent=permanent) in (Action.RETRY_LATER, Action.THROTTLE_ROUTE):
            assert not permanent


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("permanent", [True, False])
@pytest.mark.parametrize("cause", list(Cause))
def test_what_is_said_is_what_is_done(cause, permanent, scope):
    """The sentence about a failure never promises a rejection where the action is to wait, nor the other way."""
    said = package_does(cause, permanent=permanent, scope=scope)
    match action_for(cause, permanent=permanent, scope=scope):
        case Action.RETRY_LATER:
            assert not said.startswith("Rejects")
        case Action.FAIL_RECIPIENT | Action.FAIL_MESSAGE:
            assert "later" not in said or "rejects" in said
        case _:
            assert not said.startswith("Rejects")
