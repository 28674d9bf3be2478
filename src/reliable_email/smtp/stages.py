"""The stages of an SMTP submission: the key that every failure carries."""

from enum import StrEnum


class Stage(StrEnum):
    """The steps of one submission, in the order in which they happen."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    FINAL_REPLY = "final_reply"
    QUIT = "quit"
