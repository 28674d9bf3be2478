"""Events of six providers as they post them, each signed as its documentation says.

Postmark and Brevo sign nothing, and anymail does not look at the signature of Amazon SNS: what proves those is the
secret in the URL, as those providers' pages recommend.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SECRET = "hook:secret"
MAILGUN_KEY = "key-for-tests"
RESEND_KEY = base64.b64encode(b"r" * 24).decode()
SENDGRID_KEY = ec.generate_private_key(ec.SECP256R1())
ANYMAIL = {
    "WEBHOOK_SECRET": SECRET,
    "MAILGUN_WEBHOOK_SIGNING_KEY": MAILGUN_KEY,
    "RESEND_SIGNING_SECRET": f"whsec_{RESEND_KEY}",
    "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": base64.b64encode(
        SENDGRID_KEY.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).decode(),
}
_NAMES = {"ses": "amazon_ses"}
_IDS = {
    "postmark": "0a129aee-e1cd-480d-b08d-4f48548ff48d",
    "ses": "0102018f0c2b7c1a-6f0f7a2e-4b5f-4a8e-9d0b-1d2c3b4a5f6e-000000",
    "resend": "56761188-7520-42d8-8898-ff6fc54ce618",
}
PROVIDERS = ("sendgrid", "ses", "mailgun", "postmark", "brevo", "resend")
SIGNED = ("sendgrid", "mailgun", "resend")


@dataclass(frozen=True)
class Post:
    """One request of a provider."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def provider_id(provider: str) -> str:
    """The id by which the provider names the message, where it is another than our Message-ID."""
    return _IDS.get(provider, "")


def event(provider: str, kind: str, message_id: str, recipient: str) -> Post:
    """What the provider posts when a message was delivered, or bounced for good."""
    told: Any = {
        "sendgrid": _sendgrid,
        "ses": _ses,
        "mailgun": _mailgun,
        "postmark": _postmark,
        "brevo": _brevo,
        "resend": _resend,
    }[provider](kind, message_id, recipient)
    body = json.dumps(told).encode()
    return Post(f"/anymail/{_NAMES.get(provider, provider)}/tracking/", body, _headers(provider, told, body))


def forged(post: Post, provider: str) -> Post:
    """By somebody who knows the address and the form, and not the secret."""
    if provider == "sendgrid":
        stranger = ec.generate_private_key(ec.SECP256R1())
        return replace(post, headers={**post.headers, **_sendgrid_headers(post.body, stranger)})
    if provider == "mailgun":
        told = json.loads(post.body)
        told["signature"]["signature"] = "0" * 64
        return replace(post, body=json.dumps(told).encode())
    if provider == "resend":
        return replace(post, headers={**post.headers, "svix-signature": f"v1,{base64.b64encode(b'x' * 32).decode()}"})
    return replace(post, headers={**post.headers, "authorization": _basic("hook:guess")})


def changed(post: Post, old: str, new: str) -> Post:
    """Another content under the signature of this one."""
    return replace(post, body=post.body.replace(old.encode(), new.encode()))


def _basic(secret: str) -> str:
    return f"Basic {base64.b64encode(secret.encode()).decode()}"


def _headers(provider: str, told: Any, body: bytes) -> dict[str, str]:
    common = {"authorization": _basic(SECRET)}
    match provider:
        case "sendgrid":
            return common | _sendgrid_headers(body, SENDGRID_KEY)
        case "resend":
            # https://docs.svix.com/receiving/verifying-payloads/how-manual
            ident, stamp = f"msg_{hashlib.sha256(body).hexdigest()[:24]}", str(int(time.time()))
            signed = f"{ident}.{stamp}.".encode() + body
            signature = base64.b64encode(hmac.digest(base64.b64decode(RESEND_KEY), signed, "sha256")).decode()
            return common | {"svix-id": ident, "svix-timestamp": stamp, "svix-signature": f"v1,{signature}"}
        case "ses":
            return common | {"x-amz-sns-message-type": told["Type"], "x-amz-sns-message-id": told["MessageId"]}
        case _:
            return common


def _sendgrid_headers(body: bytes, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    # https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
    stamp = str(int(time.time()))
    signature = key.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": stamp,
    }


def _sendgrid(kind: str, message_id: str, recipient: str) -> list[dict[str, Any]]:
    more = {
        "delivered": {"event": "delivered", "response": "250 2.0.0 OK"},
        "bounced": {"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 no such user"},
    }[kind]
    return [
        {
            "email": recipient,
            "timestamp": 1790000000,
            "smtp-id": message_id,
            "category": ["orders"],
            "sg_event_id": f"event-{kind}-{recipient}",
            "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
            **more,
        }
    ]


def _ses(kind: str, message_id: str, recipient: str) -> dict[str, Any]:
    # https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html
    mail = {
        "timestamp": "2026-09-21T14:13:20.000Z",
        "source": "shop@example.org",
        "sendingAccountId": "123456789012",
        "messageId": _IDS["ses"],
        "destination": [recipient],
        "headersTruncated": False,
        "headers": [{"name": "Message-ID", "value": message_id}, {"name": "To", "value": recipient}],
        "tags": {"ses:configuration-set": ["ConfigSet"]},
    }
    if kind == "delivered":
        told = {
            "eventType": "Delivery",
            "mail": mail,
            "delivery": {
                "timestamp": "2026-09-21T14:13:21.000Z",
                "processingTimeMillis": 1000,
                "recipients": [recipient],
                "smtpResponse": "250 2.6.0 Message received",
                "reportingMTA": "mta.example.com",
            },
        }
    else:
        told = {
            "eventType": "Bounce",
            "mail": mail,
            "bounce": {
                "bounceType": "Permanent",
                "bounceSubType": "General",
                "bouncedRecipients": [
                    {
                        "emailAddress": recipient,
                        "action": "failed",
                        "status": "5.1.1",
                        "diagnosticCode": "smtp; 550 5.1.1 user unknown",
                    }
                ],
                "timestamp": "2026-09-21T14:13:21.000Z",
                "feedbackId": "01000157c44f053b-61b59c11-9236-11e6-8f96-7be8aexample-000000",
                "reportingMTA": "dsn; mta.example.com",
            },
        }
    return {
        "Type": "Notification",
        "MessageId": f"sns-{kind}-{recipient}",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:events",
        "Subject": "Amazon SES Email Event Notification",
        "Message": json.dumps(told),
        "Timestamp": "2026-09-21T14:13:22.000Z",
        "SignatureVersion": "1",
        "Signature": base64.b64encode(b"signature").decode(),
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0000.pem",
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
    }


def _mailgun(kind: str, message_id: str, recipient: str) -> dict[str, Any]:
    # https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
    stamp, token = str(int(time.time())), hashlib.sha256(f"{kind}{recipient}".encode()).hexdigest()[:50]
    signature = hmac.new(MAILGUN_KEY.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    more: dict[str, Any] = {
        "delivered": {"event": "delivered", "delivery-status": {"code": 250, "message": "OK", "attempt-no": 1}},
        "bounced": {
            "event": "failed",
            "severity": "permanent",
            "reason": "bounce",
            "delivery-status": {"code": 550, "message": "5.1.1 no such user", "attempt-no": 1},
        },
    }[kind]
    return {
        "signature": {"timestamp": stamp, "token": token, "signature": signature},
        "event-data": {
            "id": f"event-{kind}-{recipient}",
            "timestamp": 1790000000.123,
            "recipient": recipient,
            "log-level": "info",
            "message": {"headers": {"to": recipient, "message-id": message_id.strip("<>"), "from": "shop@example.org"}},
            "user-variables": {},
            "tags": [],
            **more,
        },
    }


def _postmark(kind: str, message_id: str, recipient: str) -> dict[str, Any]:
    # https://postmarkapp.com/developer/webhooks/webhooks-overview
    common = {"MessageStream": "outbound", "MessageID": _IDS["postmark"], "ServerID": 23, "Tag": "orders"}
    if kind == "delivered":
        more = {
            "RecordType": "Delivery",
            "Recipient": recipient,
            "DeliveredAt": "2026-09-21T14:13:21Z",
            "Details": "OK",
        }
    else:
        more = {
            "RecordType": "Bounce",
            "ID": 4323372036854775807,
            "Type": "HardBounce",
            "TypeCode": 1,
            "Name": "Hard bounce",
            "Description": "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
            "Details": "smtp;550 5.1.1 no such user",
            "Email": recipient,
            "From": "shop@example.org",
            "BouncedAt": "2026-09-21T14:13:21Z",
            "Inactive": True,
            "CanActivate": True,
            "Subject": "Your order",
        }
    return common | more


def _brevo(kind: str, message_id: str, recipient: str) -> dict[str, Any]:
    # https://developers.brevo.com/docs/transactional-webhooks
    return {
        "event": {"delivered": "delivered", "bounced": "hard_bounce"}[kind],
        "email": recipient,
        "id": 26224,
        "date": "2026-09-21 13:33:20",
        "ts": 1790000000,
        "ts_event": 1790000000,
        "ts_epoch": 1790000000000,
        "message-id": message_id,
        "subject": "Your order",
        "reason": {"delivered": "sent", "bounced": "550 5.1.1 no such user"}[kind],
    }


def _resend(kind: str, message_id: str, recipient: str) -> dict[str, Any]:
    # https://resend.com/docs/dashboard/webhooks/event-types
    data: dict[str, Any] = {
        "created_at": "2026-09-21T14:13:20.894719+00:00",
        "email_id": _IDS["resend"],
        "message_id": message_id,
        "from": "shop@example.org",
        "to": [recipient],
        "subject": "Your order",
    }
    if kind == "bounced":
        data["bounce"] = {
            "message": "The recipient's email provider sent a hard bounce message, but didn't specify the reason.",
            "subType": "General",
            "type": "Permanent",
        }
    return {"type": f"email.{kind}", "created_at": "2026-09-21T14:13:21.126Z", "data": data}
