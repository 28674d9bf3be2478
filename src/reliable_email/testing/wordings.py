"""The habits of each provider, for `simulated`: capabilities, limits, refusals and their stages.

Words are the providers' own where they are known from public transcripts or their documentation; `is_guess` marks
those of which only the sense is known. Ids, host names and dates that real replies carry are left out.
"""

from collections.abc import Mapping

from reliable_email.testing.scripted.habits import Habits, Refusal, RefusalStage

__all__ = ["HABITS", "Habits", "Refusal", "RefusalStage"]


def _google(quota: tuple[Refusal, ...], faults: Mapping[str, Refusal]) -> Habits:
    return Habits(
        greeting="220 smtp.gmail.com ESMTP - gsmtp",
        ehlo_name="smtp.gmail.com at your service, [127.0.0.1]",
        keywords=("8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING", "SMTPUTF8"),
        mechanisms=("LOGIN", "PLAIN", "XOAUTH2", "PLAIN-CLIENTTOKEN", "OAUTHBEARER", "XOAUTH"),
        login=("someone@gmail.com", "abcdefghijklmnop"),
        size_limit=35882577,
        welcome="235 2.7.0 Accepted",
        wrong_password=(
            "535-5.7.8 Username and Password not accepted. For more information, go to\n"
            "535 5.7.8  https://support.google.com/mail/?p=BadCredentials - gsmtp"
        ),
        login_missing=(
            "530-5.7.0 Authentication Required. For more information, go to\n"
            "530 5.7.0  https://support.google.com/mail/?p=WantAuthError - gsmtp"
        ),
        must_start_tls="530 5.7.0 Must issue a STARTTLS command first. - gsmtp",
        sender_ok="250 2.1.0 OK - gsmtp",
        recipient_ok="250 2.1.5 OK - gsmtp",
        data_ok="354 Go ahead - gsmtp",
        taken="250 2.0.0 OK - gsmtp",
        too_large=(
            "552-5.3.4 Your message exceeded Google's message size limits. For more information,\n"
            "552 5.3.4  go to https://support.google.com/mail/?p=MaxSizeError - gsmtp"
        ),
        recipients_limit=100,
        too_many_recipients=(
            "452-4.5.3 Your message has too many recipients. For more information regarding\n"
            "452 4.5.3  Google's sending limits go to https://support.google.com/a/answer/166852 - gsmtp"
        ),
        quota=quota,
        rate=Refusal(
            "greeting",
            "421 4.7.0 Try again later, closing connection. - gsmtp",
        ),
        faults={
            "app_password_required": Refusal(
                "auth",
                "534-5.7.9 Application-specific password required. For more information, go to\n"
                "534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor - gsmtp",
                spares_tokens=True,
            ),
            "browser_login_required": Refusal(
                "auth",
                "534-5.7.14 Please log in via your web browser and then try again.\n"
                "534 5.7.14  https://support.google.com/mail/answer/78754 - gsmtp",
                spares_tokens=True,
            ),
            "login_throttled": Refusal("auth", "454 4.7.0 Too many login attempts, please try again later. - gsmtp"),
            "login_broken": Refusal(
                "auth", "454 4.7.0 Cannot authenticate due to temporary system problem. Try again later - gsmtp"
            ),
            "busy": Refusal("mail", "421 4.4.5 Server busy, try again later. - gsmtp"),
            "broken": Refusal("mail", "421 4.3.0 Temporary System Problem. Try again later - gsmtp"),
            "unsolicited": Refusal(
                "final_reply",
                "421-4.7.0 Our system has detected an unusual rate of unsolicited mail originating\n"
                "421 4.7.0 from your IP address. - gsmtp",
            ),
            "blocked_content": Refusal(
                "final_reply",
                "552-5.7.0 This message was blocked because its content presents a potential\n"
                "552 5.7.0 security issue. - gsmtp",
            ),
            "recipient_overrun": Refusal(
                "rcpt",
                "450-4.2.1 The user you are trying to contact is receiving mail too quickly.\n"
                "450 4.2.1 Please resend your message at a later time. - gsmtp",
            ),
            **faults,
        },
    )


_GMAIL_QUOTA = Refusal(
    "final_reply",
    "550-5.4.5 Daily user sending limit exceeded. For more information on Gmail\n"
    "550-5.4.5 sending limits go to\n"
    "550 5.4.5  https://support.google.com/a/answer/166852 - gsmtp",
)

HABITS: Mapping[str, Habits] = {
    "gmail": _google((_GMAIL_QUOTA,), {}),
    "google-workspace": _google(
        (_GMAIL_QUOTA,),
        {
            "relay_quota": Refusal(
                "data",
                "550-5.7.1 Daily SMTP relay limit exceeded for customer. For more information on\n"
                "550-5.7.1 SMTP relay sending limits please contact your administrator or visit\n"
                "550 5.7.1  https://support.google.com/a/answer/6140680#dailylimit - gsmtp",
            ),
            "relay_peak": Refusal(
                "data",
                "450-4.2.1 Peak SMTP relay limit exceeded for customer. This is a temporary\n450 4.2.1 error. - gsmtp",
            ),
            "relay_denied": Refusal("mail", "550 5.7.0 Mail relay denied. - gsmtp"),
        },
    ),
    "sendgrid": Habits(
        greeting="220 SG ESMTP service ready at smtp.sendgrid.net",
        ehlo_name="smtp.sendgrid.net",
        keywords=("8BITMIME", "PIPELINING", "AUTH=PLAIN LOGIN"),
        mechanisms=("PLAIN", "LOGIN"),
        login=("apikey", "SG.simulated"),
        size_limit=31457280,
        announces_auth_before_tls=True,
        welcome="235 Authentication successful",
        wrong_password="535 Authentication failed: The provided authorization grant is invalid, expired, or revoked",
        login_missing="550 Unauthenticated senders not allowed",
        sender_ok="250 Sender address accepted",
        recipient_ok="250 Recipient address accepted",
        data_ok="354 Continue",
        taken="250 Ok: queued",
        too_large="552 Message size exceeds maximum permitted",
        quota=(
            Refusal("auth", "451 Authentication failed: Maximum credits exceeded"),
            Refusal("final_reply", "451 You've exceeded your messaging limits"),
        ),
        rate=Refusal("rcpt", "452 Too many recipients received this hour"),
        rate_seconds=3600.0,
        unverified=Refusal(
            "final_reply",
            "550 The from address does not match a verified Sender Identity. Mail cannot be sent until this error is "
            "resolved. Visit https://sendgrid.com/docs/for-developers/sending-email/sender-identity/ to see the "
            "Sender Identity requirements",
        ),
        faults={
            "login_broken": Refusal("auth", "451 Authentication failed: Could not authenticate"),
            "broken": Refusal("final_reply", "451 Internal server error ... please try again later"),
        },
    ),
    "ses": Habits(
        greeting="220 email-smtp.amazonaws.com ESMTP SimpleEmailService",
        ehlo_name="email-smtp.amazonaws.com",
        keywords=("8BITMIME", "Ok"),
        mechanisms=("PLAIN", "LOGIN"),
        login=("AKIASIMULATED", "simulated-secret"),
        size_limit=41943040,
        announces_size=False,
        welcome="235 Authentication successful.",
        wrong_password="535 Authentication Credentials Invalid",
        login_missing="530 Authentication required",
        must_start_tls="530 Must issue a STARTTLS command first",
        sender_ok="250 Ok",
        recipient_ok="250 Ok",
        data_ok="354 End data with <CR><LF>.<CR><LF>",
        taken="250 Ok 0102018f3c2a4b5d-6e7f8091-a2b3-c4d5-e6f7-0123456789ab-000000",
        too_large="552 Message is too long.",
        recipients_limit=50,
        too_many_recipients="452 Too many recipients",
        over_connections=Refusal("greeting", "421 Too many concurrent SMTP connections"),
        quota=(Refusal("data", "454 Throttling failure: Daily message quota exceeded"),),
        rate=Refusal("data", "454 Throttling failure: Maximum sending rate exceeded"),
        rate_seconds=1.0,
        unverified=Refusal(
            "final_reply",
            "554 Message rejected: Email address is not verified. The following identities failed the check in "
            "region US-EAST-1: {sender}",
        ),
        faults={
            "sandbox": Refusal(
                "final_reply",
                "554 Message rejected: Email address is not verified. The following identities failed the check in "
                "region US-EAST-1: {recipients}",
            ),
            "login_broken": Refusal("auth", "454 Temporary authentication failure"),
            "not_subscribed": Refusal("auth", "535 Account not subscribed to SES"),
            "broken": Refusal("final_reply", "451 Temporary service failure"),
            "access_denied": Refusal(
                "final_reply", "554 Access denied: User is not authorized to perform ses:SendRawEmail"
            ),
        },
    ),
    "mailgun": Habits(
        greeting="220 Mailgun Influx ready",
        ehlo_name="smtp.mailgun.org",
        keywords=("8BITMIME", "SMTPUTF8", "PIPELINING"),
        mechanisms=("PLAIN", "LOGIN"),
        login=("postmaster@mg.x.test", "simulated"),
        size_limit=52428800,
        announces_auth_before_tls=True,
        welcome="235 2.0.0 OK",
        wrong_password="535 5.7.0 Mailgun is not loving your login or password",
        login_missing="250 Sender address accepted",  # and the recipient is refused
        sender_ok="250 Sender address accepted",
        recipient_ok="250 Recipient address accepted",
        data_ok="354 Continue",
        taken="250 Great success",
        quota=(
            Refusal(
                "data",
                "421 Domain {domain} is not allowed to send: recipient limit exceeded, try again after "
                "Mon, 01 Jan 2035 07:00:00 UTC",
            ),
        ),
        unverified=Refusal(
            "data",
            "421 Domain {domain} is not allowed to send: The domain is unverified and requires DNS configuration. Log "
            "in to your control panel to view required DNS records.",
        ),
        looks_at_from=False,
        faults={
            "sandbox": Refusal(
                "data",
                "421 Domain {domain} is not allowed to send: Sandbox subdomains are for test purposes only. Please "
                "add your own domain or add the address to authorized recipients in Account Settings.",
            ),
            "not_activated": Refusal(
                "data",
                "421 Domain {domain} is not allowed to send: Please activate your Mailgun account. Check your inbox "
                "or log in to your control panel to resend the activation email.",
            ),
            "relay_denied": Refusal("rcpt", "550 5.7.1 Relaying denied"),
        },
    ),
    "postmark": Habits(
        greeting="220 smtp.postmarkapp.com ESMTP",
        ehlo_name="smtp.postmarkapp.com",
        keywords=("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"),
        mechanisms=("PLAIN", "LOGIN"),
        login=("simulated-server-token", "simulated-server-token"),
        size_limit=10485760,
        wrong_password="535 5.7.8 Error: authentication failed:",
        login_missing="530 5.7.0 Authentication required",
        recipients_limit=50,
        # A sender that is not confirmed and a recipient that is suppressed are taken, and reported later.
        quota=(Refusal("final_reply", "550 5.7.1 Not allowed to send: you ran out of credits", is_guess=True),),
        faults={},
    ),
    "brevo": Habits(
        greeting="220 smtp-relay.brevo.com ESMTP",
        ehlo_name="smtp-relay.brevo.com",
        keywords=("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"),
        mechanisms=("PLAIN", "LOGIN"),
        login=("simulated@smtp-brevo.com", "xsmtpsib-simulated"),
        size_limit=20971520,
        wrong_password="535 5.7.8 Authentication failed",
        login_missing="502 5.7.0 Please authenticate first",
        quota=(Refusal("final_reply", "452 4.7.1 You have reached your daily sending limit", is_guess=True),),
        unverified=Refusal("final_reply", "550 5.7.1 Sender {sender} is not valid", is_guess=True),
        faults={
            "not_activated": Refusal(
                "final_reply",
                "502 5.7.0 Your SMTP account is not yet activated. Please contact us to request activation",
            ),
            "unauthorized_ip": Refusal("auth", "525 5.7.1 Unauthorized IP address"),
        },
    ),
    "resend": Habits(
        greeting="220 Resend SMTP Relay ESMTP",
        ehlo_name="Resend SMTP Relay Nice to meet you, [127.0.0.1]",
        keywords=("PIPELINING", "8BITMIME", "SMTPUTF8"),
        mechanisms=("PLAIN", "LOGIN"),
        login=("resend", "re_simulated"),
        size_limit=41943040,
        welcome="235 Authentication successful",
        wrong_password="535 Invalid username",
        login_missing="530 Error: authentication Required",
        must_start_tls="538 Error: Must issue a STARTTLS command first",
        sender_ok="250 Accepted",
        recipient_ok="250 Accepted",
        data_ok="354 End data with <CR><LF>.<CR><LF>",
        taken="250 OK: message queued",
        recipients_limit=50,
        too_many_recipients="452 Error: too many recipients",
        quota=(Refusal("final_reply", "450 You have reached your daily email sending quota", is_guess=True),),
        rate=Refusal("final_reply", "450 Too many requests. You can only make 2 requests per second", is_guess=True),
        rate_seconds=1.0,
        unverified=Refusal(
            "final_reply",
            "550 The {domain} domain is not verified. Please, add and verify your domain on https://resend.com/domains",
        ),
        faults={
            "testing_only": Refusal(
                "final_reply",
                "550 You can only send testing emails to your own email address. To send emails to other recipients, "
                "please verify a domain at resend.com/domains",
            ),
            "invalid_field": Refusal("final_reply", "550 Invalid `to` field"),
        },
        idempotency_header="Resend-Idempotency-Key",
        idempotency_seconds=86400.0,
    ),
    "mailjet": Habits(
        greeting="220 in.mailjet.com ESMTP Mailjet",
        ehlo_name="in.mailjet.com",
        keywords=("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"),
        mechanisms=("PLAIN", "LOGIN"),
        login=("simulated-api-key", "simulated-secret-key"),
        size_limit=15728640,
        wrong_password="535 5.7.8 Error: authentication failed",
        login_missing="530 5.7.0 Authentication required",
        quota=(Refusal("final_reply", "452 4.7.1 Daily sending limit exceeded", is_guess=True),),
        unverified=Refusal("final_reply", "550 5.7.1 Sender {sender} is not a verified sender", is_guess=True),
    ),
    "microsoft365": Habits(
        greeting="220 smtp.office365.com Microsoft ESMTP MAIL Service ready",
        ehlo_name="smtp.office365.com Hello [127.0.0.1]",
        keywords=("PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8"),
        mechanisms=("LOGIN", "XOAUTH2"),
        login=("someone@x.test", "simulated"),
        size_limit=157286400,
        welcome="235 2.7.0 Authentication successful",
        wrong_password="535 5.7.3 Authentication unsuccessful",
        login_missing="530 5.7.57 Client not authenticated to send mail.",
        must_start_tls="451 5.7.3 STARTTLS is required to send mail",
        sender_ok="250 2.1.0 Sender OK",
        recipient_ok="250 2.1.5 Recipient OK",
        data_ok="354 Start mail input; end with <CRLF>.<CRLF>",
        taken="250 2.0.0 OK Queued mail for delivery",
        too_large="552 5.3.4 Message size exceeds fixed maximum message size",
        recipients_limit=500,
        connections_limit=3,
        over_connections=Refusal(
            "final_reply",
            "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more "
            "information. [Hostname=AM0PR01MB0001]",
        ),
        quota=(Refusal("final_reply", "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException"),),
        rate=Refusal("mail", "421 4.4.2 Message submission rate for this client has exceeded the configured limit"),
        rate_limit=30,
        unverified=Refusal(
            "final_reply",
            "554 5.2.252 SendAsDenied; {user} not allowed to send as {sender}; STOREDRV.Submission.Exception:"
            "SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message",
        ),
        faults={
            "smtp_auth_disabled": Refusal(
                "auth",
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit "
                "https://aka.ms/smtp_auth_disabled for more information.",
            ),
            "security_defaults": Refusal(
                "auth",
                "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults "
                "policy. Contact your administrator.",
            ),
            "criteria_not_met": Refusal(
                "auth",
                "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated "
                "successfully. Contact your administrator.",
            ),
            "basic_auth_disabled": Refusal(
                "auth",
                "550 5.7.30 Basic authentication is not supported for Client Submission.",
                spares_tokens=True,
            ),
            "thread_limit": Refusal(
                "final_reply", "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded [Hostname=AM0PR01MB0001]"
            ),
            "sender_throttled": Refusal(
                "final_reply", "550 5.2.251 Sender throttled due to continuous mailbox full errors."
            ),
        },
    ),
    "zoho": Habits(
        greeting="220 mx.zohomail.com SMTP Server ready",
        ehlo_name="mx.zohomail.com Hello [127.0.0.1]",
        keywords=(),
        mechanisms=("LOGIN", "PLAIN"),
        login=("someone@x.test", "simulated"),
        size_limit=53477376,
        welcome="235 Authentication Successful",
        wrong_password="535 Authentication Failed",
        login_missing="530 Authentication required",
        must_start_tls="530 Must issue a STARTTLS command first",
        sender_ok="250 Sender OK",
        recipient_ok="250 Recipient OK",
        data_ok="354 Ok Send data ending with <CRLF>.<CRLF>",
        taken="250 Message received",
        quota=(
            Refusal(
                "final_reply",
                "550 5.4.6 Unusual sending activity detected. Please try after sometime or visit "
                "https://mail.zoho.com/UnblockMe to unblock your account.",
            ),
        ),
        unverified=Refusal("final_reply", "553 Relaying disallowed as {sender}"),
        faults={"sender_blocked": Refusal("final_reply", "554 5.1.8 Sender Address Blocked")},
    ),
    "generic": Habits(
        greeting="220 mail.x.test ESMTP Postfix",
        ehlo_name="mail.x.test",
        keywords=("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING"),
        mechanisms=("PLAIN", "LOGIN"),
        login=("someone@x.test", "simulated"),
        size_limit=10240000,
        wrong_password="535 5.7.8 Error: authentication failed:",
        login_missing="530 5.7.0 Authentication required",
        quota=(
            Refusal("rcpt", "450 4.7.1 Error: too much mail from {user}: daily sending limit exceeded", is_guess=True),
        ),
        unverified=Refusal("rcpt", "553 5.7.1 <{sender}>: Sender address rejected: not owned by user {user}"),
        looks_at_from=False,
        faults={
            "greylisted": Refusal("rcpt", "450 4.2.0 <{recipients}>: Recipient address rejected: Greylisted"),
            "broken": Refusal("mail", "451 4.3.0 Error: queue file write error"),
            "login_broken": Refusal(
                "auth", "454 4.7.0 Temporary authentication failure: Connection lost to authentication server"
            ),
        },
    ),
}
