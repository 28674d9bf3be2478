"""The catalogue of providers, by name or by host; reads each data file once, when it is first asked for."""

import json
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from reliable_email.patterns import pattern
from reliable_email.providers.provider import DNSRecord, Endpoint, Provider, Quota
from reliable_email.smtp.options import TLSMode

_FOLDER = Path(__file__).parent / "data"
_REGION = pattern(r"[a-z0-9-]{1,40}\Z")
# Spellings that people type; the right side is a data file's name.
_ALIASES = {
    "google": "gmail",
    "googlemail": "gmail",
    "gsuite": "google-workspace",
    "workspace": "google-workspace",
    "amazon-ses": "ses",
    "aws-ses": "ses",
    "amazon": "ses",
    "m365": "microsoft365",
    "o365": "microsoft365",
    "office365": "microsoft365",
    "microsoft-365": "microsoft365",
    "outlook": "microsoft365",
    "exchange-online": "microsoft365",
    "sendinblue": "brevo",
    "twilio-sendgrid": "sendgrid",
    "smtp": "generic",
}


class UnknownProvider(ValueError, LookupError):
    """No provider of that name, or no such region of it; the text lists what there is."""


@cache
def names() -> tuple[str, ...]:
    """The names that `get` knows, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def get(name: str, region: str | None = None) -> Provider:
    """The provider of that name, at that region or its default one. Case, "_" and spaces do not matter.

    Raises:
        UnknownProvider: no such provider, or no such region.
    """
    key = canonical_name(name)
    if key is None:
        wanted = _spelled(name)
        close = get_close_matches(wanted, [*names(), *_ALIASES], n=1, cutoff=0.6)
        hint = f" Did you mean {_ALIASES.get(close[0], close[0])!r}?" if close else ""
        raise UnknownProvider(f"There is no provider {name!r}.{hint} Known are: {', '.join(names())}.")
    return _build(key, None if region is None else region.strip().lower())


def canonical_name(name: str) -> str | None:
    """The catalogue's name for what a person typed, or None where it has none."""
    wanted = _spelled(name)
    wanted = _ALIASES.get(wanted, wanted)
    return wanted if wanted in names() else None


@cache
def for_host(host: str) -> Provider | None:
    """The provider that a host name belongs to, at the region that the name shows; None for an unknown host."""
    wanted = host.strip().rstrip(".").lower()
    for name in names():
        if any(_is_like(wanted, one) for one in _hosts(name)):
            return _build(name, _region_of(_data(name), wanted))
    return None


def read() -> None:
    """Read all files now, for a process that must not read them later."""
    for name in names():
        _content(name)


def _spelled(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _region_of(data: dict[str, Any], host: str) -> str | None:
    for region, regional in data.get("regions", {}).items():
        if regional == host:
            return str(region)
    if "{region}" in data["host"]:
        before, _, after = data["host"].partition("{region}")
        if host.startswith(before) and host.endswith(after):
            return host[len(before) : len(host) - len(after)]
    return None


def _is_like(host: str, known: str) -> bool:
    """Return whether a host fits a pattern; most need none of fnmatch's regular expressions to tell."""
    before, star, _ = known.partition("*")
    return host == known or (bool(star) and host.startswith(before) and fnmatchcase(host, known))


def _hosts(name: str) -> list[str]:
    """The patterns of `hosts`; a file that has them in one line, as all of ours do, is not parsed for them."""
    line, _, _ = _content(name).partition(b"\nhosts = ")[2].partition(b"\n")
    found: list[str]
    try:
        found = json.loads(line)  # TOML writes a list of texts as JSON does
    except ValueError:
        found = _data(name)["hosts"]
    return found


@cache
def _content(name: str) -> bytes:
    return (_FOLDER / f"{name}.toml").read_bytes()


@cache
def _data(name: str) -> dict[str, Any]:
    import tomllib  # for sites whose mail goes to a known provider: what is needed for no other host

    return tomllib.loads(_content(name).decode())


@cache
def _build(name: str, region: str | None) -> Provider:
    data = dict(_data(name))
    regional: dict[str, str] = data.pop("regions", {})
    region = _checked_region(name, region, data.pop("default_region", None), regional, data["host"])
    host = regional[region] if region in regional else data["host"].replace("{region}", region or "")
    alternatives = tuple(
        Endpoint(host=one.get("host", host), port=one["port"], tls=TLSMode(one["tls"]))
        for one in data.pop("alternatives", ())
    )
    quotas = tuple(Quota(**one) for one in data.pop("quotas", ()))
    records = tuple(DNSRecord(**one) for one in data.pop("dns", ()))
    links = MappingProxyType(data.pop("links", {}))
    del data["host"]
    tls = TLSMode(data.pop("tls"))
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    return Provider(
        name=name,
        host=host,
        tls=tls,
        region=region,
        regions=tuple(regional),
        alternatives=alternatives,
        quotas=quotas,
        dns=records,
        links=links,
        **values,
    )


def _checked_region(
    name: str,
    region: str | None,
    default: str | None,
    regional: dict[str, str],
    host: str,
) -> str | None:
    if region is None or region == default:
        return default
    if region in regional or ("{region}" in host and _REGION.match(region)):
        return region
    if regional:
        raise UnknownProvider(f"{name} has no region {region!r}. Known are: {', '.join(regional)}.")
    if "{region}" in host:
        raise UnknownProvider(f"{region!r} is not the name of a region of {name}, like {default!r}.")
    raise UnknownProvider(f"{name} has no regions; leave `region` out.")
