"""What django-anymail would post for a message: each provider's own backend, and a network that only writes down."""

import contextlib
import email
import email.policy
import json
import re
import sys
import types
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import requests
from anymail.exceptions import AnymailError
from django.core.mail import EmailMessage

PROVIDERS = {
    "sendgrid": {"api_key": "key", "generate_message_id": False},
    "mailgun": {"api_key": "key", "sender_domain": "example.org"},
    "postmark": {"server_token": "key", "generate_message_id": False},
    "brevo": {"api_key": "key"},
    "resend": {"api_key": "key"},
    "amazon_ses": {},
}
_FRESH = re.compile(rb"^(?:Date|Message-ID): .*\r?\n(?:[ \t].*\r?\n)*", re.M | re.I)
_BOUNDARY = re.compile(rb'boundary="?([^"\r\n;]+)"?')


class Network(requests.adapters.BaseAdapter):
    """Takes every request for an acceptance."""

    def __init__(self, posts: list[Any]) -> None:
        super().__init__()
        self._posts = posts

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Write it down."""
        body = request.body or b""
        data = body.encode() if isinstance(body, str) else body
        kind = str(request.headers.get("Content-Type", ""))
        if boundary := _BOUNDARY.search(kind.encode()):
            data = data.replace(boundary[1], b"boundary")
            kind = ""
        found: Any = data
        with contextlib.suppress(ValueError):
            found = json.loads(data)
        self._posts.append((request.method, request.url, kind, found))
        answer = requests.Response()
        # What each provider says to a message that it takes.
        said: dict[str, Any] = {"id": "1", "messageId": "1", "message": "Queued. Thank you."}
        said |= {"ErrorCode": 0, "Message": "OK", "MessageID": "1"}
        if isinstance(found, dict):
            said["To"] = found.get("To", "")
        answer.status_code, answer._content, answer.request = 200, json.dumps(said).encode(), request
        return answer

    def close(self) -> None:
        """Nothing to close."""


def install_boto() -> None:
    """The little of boto3 that anymail uses."""
    if "boto3" in sys.modules:
        return
    names = {"boto3": {}, "botocore": {}, "botocore.client": {"Config": dict}}
    errors = {name: type(name, (Exception,), {}) for name in ("BotoCoreError", "ClientError", "ConnectionError")}
    for name, content in {**names, "botocore.exceptions": errors}.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module


class SESClient:
    """Its client."""

    def __init__(self, posts: list[Any]) -> None:
        self._posts = posts

    def __getattr__(self, name: str) -> Any:
        def call(**params: Any) -> dict[str, str]:
            if "Raw" in params.get("Content", {}):
                params["Content"] = said(params["Content"]["Raw"]["Data"])
            self._posts.append((name, params))
            return {"MessageId": "1"}

        return call


def said(data: bytes) -> Any:
    """A MIME message without what is new at each writing."""
    data = _FRESH.sub(b"", data)
    for number, boundary in enumerate(dict.fromkeys(_BOUNDARY.findall(data))):
        # Where it stands as one: a caller's own may be a single letter.
        data = re.sub(rb'(--|boundary="?)' + re.escape(boundary), rb"\1boundary%d" % number, data)
    return email.message_from_bytes(data, policy=email.policy.compat32).as_bytes()


def posts_of(provider: str, message: EmailMessage) -> list[Any]:
    """What is posted for it."""
    posts: list[Any] = []
    with _backend(provider, posts) as backend, contextlib.suppress(AnymailError):
        backend.send_messages([message])
    return posts


@contextlib.contextmanager
def _backend(provider: str, posts: list[Any]) -> Iterator[Any]:
    if provider == "amazon_ses":
        install_boto()
    base = import_module(f"anymail.backends.{provider}").EmailBackend

    class Backend(base):  # type: ignore[misc, valid-type]
        def create_session(self) -> requests.Session:
            session = super().create_session()
            session.mount("https://", Network(posts))
            return session  # type: ignore[no-any-return]

    backend = Backend(ignore_unsupported_features=True, **PROVIDERS[provider])
    if provider == "amazon_ses":
        backend.client = SESClient(posts)
    yield backend
