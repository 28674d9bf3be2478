"""AUTH on the server's side (RFC 4954): PLAIN, LOGIN and XOAUTH2."""

import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING

from reliable_email.patterns import pattern

if TYPE_CHECKING:
    from reliable_email.testing.scripted.conversation import Conversation

_XOAUTH2 = pattern(rb"user=([^\x01]*)\x01auth=Bearer ([^\x01]*)\x01\x01")


def log_in(conversation: "Conversation", argument: bytes) -> str | None:
    """Hold the exchange that AUTH began; the user who is logged in after it, or None."""
    name, _, initial = argument.partition(b" ")
    mechanism = name.upper().decode("ascii", "replace")
    exchange = _EXCHANGES.get(mechanism) if mechanism in conversation.rules.mechanisms else None
    if exchange is None:
        conversation.answer("504 5.5.4 Unrecognized authentication type")
        return None
    try:
        username = exchange(conversation, initial)
    except (binascii.Error, ValueError):
        conversation.answer("501 5.5.2 Cannot decode response")
        return None
    return username if conversation.last_code == 235 else None


def _plain(conversation: "Conversation", initial: bytes) -> str:
    response = _decode(initial) if initial else _challenge(conversation, "")
    _, username, password = (part.decode() for part in response.split(b"\0"))
    conversation.at("auth", lambda: conversation.answer(conversation.rules.verify_password(username, password)))
    return username


def _login(conversation: "Conversation", initial: bytes) -> str:
    username = (_decode(initial) if initial else _challenge(conversation, "VXNlcm5hbWU6")).decode()
    password = _challenge(conversation, "UGFzc3dvcmQ6").decode()
    conversation.at("auth", lambda: conversation.answer(conversation.rules.verify_password(username, password)))
    return username


def _xoauth2(conversation: "Conversation", initial: bytes) -> str:
    response = _decode(initial) if initial else _challenge(conversation, "")
    match = _XOAUTH2.fullmatch(response)
    if match is None:
        raise ValueError("not an XOAUTH2 response")
    username, token = match[1].decode(), match[2].decode()

    def judge() -> None:
        verdict = conversation.rules.verify_token(username, token)
        if not verdict.startswith("235"):
            conversation.say(f"334 {conversation.rules.token_error()}")
            conversation.link.read_line()
        conversation.answer(verdict)

    conversation.at("auth", judge)
    return username


_EXCHANGES: dict[str, Callable[["Conversation", bytes], str]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "XOAUTH2": _xoauth2,
}


def _challenge(conversation: "Conversation", text: str) -> bytes:
    conversation.say(f"334 {text}")
    return _decode(conversation.link.read_line().rstrip(b"\r\n"))


def _decode(response: bytes) -> bytes:
    return b"" if response == b"=" else base64.b64decode(response, validate=True)
