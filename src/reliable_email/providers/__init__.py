"""The habits of each provider, as data: hosts, ports, login, limits, help. No code knows a provider by name."""

from reliable_email.providers.catalogue import UnknownProvider, canonical_name, for_host, get, names
from reliable_email.providers.provider import DNSRecord, Endpoint, Provider, Quota

__all__ = [
    "DNSRecord",
    "Endpoint",
    "Provider",
    "Quota",
    "UnknownProvider",
    "canonical_name",
    "for_host",
    "get",
    "names",
]
