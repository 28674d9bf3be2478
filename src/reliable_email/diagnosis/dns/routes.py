"""The domains in each route's mail: the one that signs it, and the one in the MAIL FROM that receivers see."""

from collections.abc import Iterable
from email.utils import parseaddr
from fnmatch import fnmatchcase

from reliable_email import providers
from reliable_email.backends.building import provider_of, smtp_reading
from reliable_email.backends.reading.route_options import SMTPOptions
from reliable_email.backends.routes import Mailer, MailerKind
from reliable_email.diagnosis.dns.findings import Record
from reliable_email.providers import Provider, UnknownProvider
from reliable_email.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMail:
    """A route, as far as the DNS is concerned.

    Attributes:
        provider: None where it is not known; `generic` counts as that.
        account_domain: of the account that logs in, "" where its name is no address.
    """

    alias: str
    provider: Provider | None = None
    account_domain: str = ""

    @property
    def title(self) -> str:
        """The provider's name for people."""
        return self.provider.title if self.provider is not None else "its server"

    def signs_for(self, domain: str) -> bool:
        """Return whether it can have a key for that domain.

        Free accounts sign for their provider's domain alone, and nobody else signs for that.
        """
        if free_owner(domain) is not None:
            return self.owns(domain)
        return self.provider is None or self.account_domain not in self.provider.free_domains

    def owns(self, domain: str) -> bool:
        """Return whether the domain is the provider's own, as gmail.com is Gmail's: there is nothing to add then."""
        return self.provider is not None and domain in self.provider.free_domains

    def sending_domain(self, domain: str) -> str:
        """The domain that was set up at the provider: usually that of From; at Mailgun the login's own."""
        if self.provider is not None and self.provider.return_path == "domain" and self.account_domain:
            return self.account_domain
        return domain

    def return_path_domain(self, domain: str) -> str:
        """Return the domain whose SPF record receivers check; "" if it is not known here."""
        provider = self.provider
        if provider is None:
            return domain
        match provider.return_path:
            case "provider":
                return f"{provider.return_path_label}.{domain}" if provider.return_path_label else ""
            case "domain":
                return self.sending_domain(domain)
            case "sender":
                return domain
            case "account":
                is_own = not self.account_domain or _is_near(self.account_domain, domain)
                return domain if is_own else self.account_domain

    @property
    def include(self) -> str:
        """The name to include in the SPF record of `return_path_domain`; "" if none is known."""
        if self.provider is None or self.provider.return_path == "provider":
            return ""
        return self.provider.spf_include or ""

    def is_included(self, includes: Iterable[str]) -> bool:
        """Return whether these includes let the provider send."""
        assert self.provider is not None
        patterns = (self.include, *self.provider.spf_alternatives)
        return any(fnmatchcase(one, pattern) for one in includes for pattern in patterns)

    def records(self, purpose: str, domain: str) -> tuple[Record, ...]:
        """Return the records that the provider asks you to add."""
        if self.provider is None:
            return ()
        sending = self.sending_domain(domain)
        filled = {"domain": sending, "dashed": sending.replace(".", "-"), "region": self.provider.region or "<region>"}
        return tuple(
            Record(name=f"{one.name}.{sending}", type=one.type, value=one.value.format(**filled))
            for one in self.provider.dns
            if one.purpose == purpose
        )


def routes_mail(routes: Iterable[Mailer]) -> tuple[RouteMail, ...]:
    """Return the mail of these routes, from the settings; routes that deliver nothing are left out."""
    found: list[RouteMail] = []
    for route in routes:
        if route.kind.delivers_nothing or route.kind is MailerKind.MISSING:
            continue
        if route.kind is MailerKind.SMTP:
            options = smtp_reading(route).options
            if options is None:
                continue
            found.append(_smtp(options.route, options))
            if options.fallback is not None:
                found.append(_smtp("fallback", options.fallback))
        else:
            found.append(_foreign(route))
    return tuple(found)


def _smtp(alias: str, options: SMTPOptions) -> RouteMail:
    credentials = options.connection.credentials
    provider = options.provider if options.provider is None or options.provider.name != "generic" else None
    account = credentials.username if credentials is not None else ""
    return RouteMail(alias=alias, provider=provider, account_domain=domain_of(account))


def _foreign(route: Mailer) -> RouteMail:
    try:
        provider = providers.get(provider_of(route.backend) or "")
    except UnknownProvider:
        host = str(route.options.get("host") or "")
        provider = providers.for_host(host) if host else None  # type: ignore[assignment]
    return RouteMail(
        alias=route.alias, provider=provider, account_domain=domain_of(str(route.options.get("username") or ""))
    )


def domain_of(address: str) -> str:
    """The domain of an address, with or without a name; "" where it has none."""
    return parseaddr(str(address))[1].rpartition("@")[2].rstrip(".").lower() if "@" in address else ""


def free_owner(domain: str) -> Provider | None:
    """Return the free mail provider that the domain belongs to; None for a domain with an owner of its own."""
    every = (providers.get(name) for name in providers.names())
    return next((one for one in every if domain in one.free_domains), None)


def _is_near(one: str, other: str) -> bool:
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")
