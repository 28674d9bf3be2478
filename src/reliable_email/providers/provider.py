"""The data about one provider."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from reliable_email.records import dataclass, field
from reliable_email.smtp.options import TLSMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One way to reach a provider."""

    host: str
    port: int
    tls: TLSMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A limit: at most `limit` recipients or messages in any window of `window_seconds`."""

    window_seconds: int
    limit: int
    unit: Literal["recipients", "messages"] = "recipients"


@dataclass(frozen=True, slots=True, kw_only=True)
class DNSRecord:
    """A record that the sender's domain needs for this provider.

    Attributes:
        purpose: what it makes good.
        name: below the domain.
        type: TXT, CNAME or MX.
        value: with `{domain}`, `{dashed}` (the domain with its dots as dashes) and `{region}` to be filled in. What
            stands in angle brackets, here and in `name`, is the account's own, and shown in the provider's console.
    """

    purpose: Literal["dkim", "return_path"]
    name: str
    type: Literal["TXT", "CNAME", "MX"]
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """The habits of one provider. A limit that is None or empty is not documented; that does not mean that none exists.

    Attributes:
        name: the key, as in OPTIONS["provider"].
        title: the name for people.
        as_of: year and month in which all this was looked up.
        host, port, tls: the endpoint to use unless told otherwise; `host` is "" for `generic`.
        alternatives: other endpoints, for networks that block the first.
        auth: mechanisms in the order to try, as in `ConnectionOptions.mechanism`.
        username: the fixed user name where the provider has one ("apikey").
        username_is_password: whether one token serves as both.
        region: the region that `host` belongs to, None where there are none.
        regions: the known regions; empty where there are none or any name is taken (AWS).
        max_message_bytes: of the content as sent, encoded.
        max_recipients_per_message: RCPTs of one transaction.
        max_connections: open at once for one account.
        messages_per_connection: after so many a fresh connection is needed.
        idle_seconds: a connection that was idle for longer is probably closed by the server.
        quotas: see `Quota`; defaults, the provider's own words win.
        reply_id: pattern (re) of its final reply, whose group is the id by which its events name the message.
        idempotency_header: a header whose value makes a second copy harmless, honoured on SMTP.
        idempotency_seconds: how long the provider remembers it.
        spf_include: the domain that belongs into the SPF record of the domain in MAIL FROM.
        spf_alternatives: patterns (fnmatch) of other includes that do as well.
        dkim_selectors: usual selectors of the sender domain's keys; empty where each account has its own.
        dkim_targets: patterns (fnmatch) of what a key's CNAME leads to, where keys are delegated to the provider.
        return_path: what it makes of MAIL FROM: keeps the sender's ("sender"), puts the account's address there
            ("account"), a bounce address in the domain that was set up ("domain"), or one in a domain of its own unless
            a subdomain is set up for it ("provider").
        return_path_label: the usual name of that subdomain; "" where each account has its own.
        free_domains: where everybody may have an account, which sends for that domain alone.
        dns: records that the sender's domain needs; see `DNSRecord`.
        hosts: patterns (fnmatch) of host names that belong to it.
        from_rewritten: what it does with a From address that is not the account's.
        notes: what its users stumble over.
        links: help pages by title.
    """

    name: str
    title: str
    as_of: str
    host: str
    port: int
    tls: TLSMode
    alternatives: tuple[Endpoint, ...] = ()
    auth: tuple[str, ...] = ("plain", "login")
    username: str | None = None
    username_is_password: bool = False
    region: str | None = None
    regions: tuple[str, ...] = ()
    max_message_bytes: int | None = None
    max_recipients_per_message: int | None = None
    max_connections: int | None = None
    messages_per_connection: int | None = None
    idle_seconds: int | None = None
    quotas: tuple[Quota, ...] = ()
    reply_id: str = ""
    idempotency_header: str | None = None
    idempotency_seconds: int | None = None
    spf_include: str | None = None
    spf_alternatives: tuple[str, ...] = ()
    dkim_selectors: tuple[str, ...] = ()
    dkim_targets: tuple[str, ...] = ()
    return_path: Literal["sender", "account", "domain", "provider"] = "sender"
    return_path_label: str = ""
    free_domains: tuple[str, ...] = ()
    dns: tuple[DNSRecord, ...] = ()
    hosts: tuple[str, ...] = ()
    from_rewritten: str = ""
    notes: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __hash__(self) -> int:
        return hash((self.name, self.host, self.port))
