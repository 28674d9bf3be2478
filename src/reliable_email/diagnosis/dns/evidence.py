"""The domains that SPF and DKIM prove for each route's mail, and the records that are missing for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from reliable_email.diagnosis.dns.alignment import Alignment, Proof
from reliable_email.diagnosis.dns.dkim import Key, find_key
from reliable_email.diagnosis.dns.dmarc import Policy, is_aligned, organisation_of
from reliable_email.diagnosis.dns.findings import Finding, Level, Record, Topic, unasked
from reliable_email.diagnosis.dns.key_findings import key_findings, no_key
from reliable_email.diagnosis.dns.lookup import Answer, Ask
from reliable_email.diagnosis.dns.routes import RouteMail, free_owner
from reliable_email.diagnosis.dns.spf import SPF, examine_spf
from reliable_email.diagnosis.dns.spf_record import merged, spf_records, with_includes


class Evidence:
    """One look at a domain; remembers the SPF records that several routes share."""

    def __init__(self, domain: str, ask: Ask, selectors: Mapping[str, Sequence[str]]) -> None:
        self._domain = domain
        self._ask = ask
        self._selectors = selectors
        self._spf: dict[str, SPF] = {}

    def _spf_of(self, domain: str) -> SPF:
        if domain not in self._spf:
            self._spf[domain] = examine_spf(self._ask, domain)
        return self._spf[domain]

    # SPF.

    def spf(self, routes: Sequence[RouteMail]) -> list[Finding]:
        """Return the SPF findings of From's domain, and of each domain in MAIL FROM that the operator has set up."""
        users: dict[str, list[RouteMail]] = {self._domain: []}
        for route in routes:
            at = route.return_path_domain(self._domain)
            is_providers = route.provider is not None and route.provider.return_path == "provider"
            if at and not is_providers:
                users.setdefault(at, []).append(route)
        # What belongs to a provider is the provider's to keep.
        users = {at: by for at, by in users.items() if free_owner(at) is None}
        return [finding for at, by in users.items() for finding in self._spf_findings(at, by)]

    def _spf_findings(self, at: str, by: list[RouteMail]) -> list[Finding]:
        found = self._spf_of(at)
        wanted = [route for route in by if route.include]
        if found.unasked and not found.records:
            return [unasked(Topic.SPF, found.unasked[0])]
        if not found.records:
            return [self._no_spf(at, by)]
        if len(found.records) > 1:
            text = f"{at} has {len(found.records)} SPF records, so receivers ignore them all"
            one = Record(
                name=at, type="TXT", value=_with_wanted(merged(found.records), [route.include for route in wanted])
            )
            advice = "Replace them with one record:"
            return [
                Finding(topic=Topic.SPF, level=Level.WARNING, text=text, advice=advice, records=(one,), replaces=True)
            ]
        findings = [
            Finding(
                topic=Topic.SPF, level=Level.WARNING, text=f"the SPF record of {at} is broken: {error}",
                advice=_advice_of(error, found),
            )
            for error in found.errors
        ]  # fmt: skip
        findings += [unasked(Topic.SPF, answer) for answer in found.unasked]
        findings += [
            Finding(topic=Topic.SPF, level=_level_of(note), text=f"the SPF record of {at}: {note}")
            for note in found.notes
        ]
        missing = [route for route in wanted if not route.is_included(found.includes) and not found.unasked]
        if missing and found.terms:
            value = with_includes(found.terms, [route.include for route in missing])
            findings += [
                Finding(
                    topic=Topic.SPF,
                    level=Level.WARNING,
                    route=route.alias,
                    text=f"the SPF record of {at} does not include {route.include}, which {route.title} needs",
                    advice="Replace the record with:",
                    records=(Record(name=at, type="TXT", value=value),),
                    replaces=True,
                )
                for route in missing
            ]
        if not findings or all(finding.level is Level.NOTE for finding in findings):
            by_name = ", ".join(route.title for route in wanted)
            names = f", with {by_name}" if by_name else ""
            text = f"one SPF record at {at}, {found.lookups} of 10 lookups{names}"
            findings.insert(0, Finding(topic=Topic.SPF, level=Level.GOOD, text=text))
        return findings

    def _no_spf(self, at: str, by: list[RouteMail]) -> Finding:
        includes = [route.include for route in by if route.include]
        value = with_includes((), includes) if includes else "v=spf1 a mx ~all"
        record = Record(name=at, type="TXT", value=value)
        if by:
            text = f"{at} has no SPF record, and the domain is in MAIL FROM of {', '.join(route.alias for route in by)}"
            return Finding(topic=Topic.SPF, level=Level.WARNING, text=text, advice="Add:", records=(record,))
        text = f"{at} has no SPF record; no route uses the domain in MAIL FROM, so receivers do not look it up"
        record = Record(name=at, type="TXT", value="v=spf1 mx ~all")
        return Finding(
            topic=Topic.SPF,
            level=Level.NOTE,
            text=text,
            advice="A record keeps others from using the domain:",
            records=(record,),
        )

    # One route.

    def route(self, route: RouteMail, policy: Policy | None) -> tuple[list[Finding], Alignment]:
        """Return the findings about a route's keys and return path, and its alignment."""
        title = route.provider.name if route.provider is not None else ""
        if route.owns(self._domain):
            yes = Alignment(route=route.alias, provider=title, spf=Proof.YES, dkim=Proof.YES)
            return [], yes
        findings, dkim = self._dkim(route, policy)
        more, spf = self._return_path(route, policy)
        if not route.return_path_domain(self._domain):
            # It is set up together with the key; where that is missing, MAIL FROM is the provider's.
            spf = Proof.NO if dkim is Proof.NO else Proof.UNKNOWN
        is_only_strictness = False
        if policy is not None and Proof.YES not in (spf, dkim):
            relaxed = replace(policy, is_dkim_strict=False, is_spf_strict=False)
            is_only_strictness = Proof.YES in (self._dkim(route, relaxed)[1], self._return_path(route, relaxed)[1])
        proof = Alignment(route=route.alias, provider=title, spf=spf, dkim=dkim, is_only_strictness=is_only_strictness)
        return [*findings, *more], proof

    def _organisation(self, policy: Policy | None) -> str:
        return policy.organisation if policy is not None else self._domain

    def _counts(self, identifier: str, policy: Policy | None, *, is_strict: bool) -> bool:
        organisation = self._organisation(policy)
        # Without a record above, what is above From's domain counts for it as well.
        if policy is None and self._domain.endswith(f".{identifier}"):
            return True
        if not is_aligned(identifier, self._domain, organisation, is_strict=is_strict):
            return False
        if policy is None or is_strict or identifier == self._domain:
            return True
        # A record with psd=n makes a part of the tree an organization of its own.
        return organisation_of(self._ask, identifier) in (organisation, "")

    def _dkim(self, route: RouteMail, policy: Policy | None) -> tuple[list[Finding], Proof]:
        if not route.signs_for(self._domain):
            return [], Proof.NO
        own = route.provider.dkim_selectors if route.provider is not None else ()
        given = (*self._selectors.get(route.alias, ()), *self._selectors.get("", ()))
        selectors = tuple(dict.fromkeys((*given, *own)))
        sending = route.sending_domain(self._domain)
        domains = [sending]
        if policy is not None and sending.endswith(f".{policy.organisation}"):
            domains.append(policy.organisation)
        keys: list[Key] = []
        silent: list[Answer] = []
        for at in domains:
            for selector in selectors:
                match find_key(self._ask, selector, at, route.provider):
                    case Key() as key:
                        keys.append(key)
                    case Answer() as answer:
                        silent.append(answer)
                    case None:
                        pass
            if keys:
                break
        findings = [finding for key in keys for finding in key_findings(route, key, self._domain)]
        usable = [key for key in keys if key.is_usable]
        if usable:
            is_strict = policy is not None and policy.is_dkim_strict
            counts = any(self._counts(key.domain, policy, is_strict=is_strict) for key in usable)
            return findings, Proof.YES if counts else Proof.NO
        if silent:
            return [*findings, unasked(Topic.DKIM, silent[0], route=route.alias)], Proof.UNKNOWN
        if keys:
            return findings, Proof.NO
        return [no_key(route, selectors, sending)], Proof.NO if selectors else Proof.UNKNOWN

    def _return_path(self, route: RouteMail, policy: Policy | None) -> tuple[list[Finding], Proof]:
        at = route.return_path_domain(self._domain)
        is_strict = policy is not None and policy.is_spf_strict
        if not at:
            return [], Proof.UNKNOWN
        if not self._counts(at, policy, is_strict=is_strict):
            return [], Proof.NO
        if route.provider is not None and route.provider.return_path == "provider":
            return self._own_return_path(route, at)
        found = self._spf_of(at)
        if not found.records and found.unasked:
            return [], Proof.UNKNOWN
        if not found.is_usable:
            return [], Proof.NO
        if not route.include:
            return [], Proof.UNKNOWN  # whether the record lets that server send is not evaluated
        if route.is_included(found.includes):
            return [], Proof.YES
        return [], Proof.UNKNOWN if found.unasked else Proof.NO

    def _own_return_path(self, route: RouteMail, at: str) -> tuple[list[Finding], Proof]:
        """The subdomain that takes the place of the provider's own domain in MAIL FROM."""
        answers = [self._ask(at, "TXT"), self._ask(at, "MX")]
        if any(spf_records(answer) for answer in answers if answer.type == "TXT"):
            text = f"bounces go to {at}, so SPF is aligned with {self._domain}"
            return [Finding(topic=Topic.SPF, level=Level.GOOD, route=route.alias, text=text)], Proof.YES
        silent = [answer for answer in answers if answer.is_unasked]
        if silent:
            return [unasked(Topic.SPF, silent[0], route=route.alias)], Proof.UNKNOWN
        text = f"{route.title} uses its own domain in MAIL FROM, because {at} is not set up: SPF is not aligned"
        return [
            Finding(
                topic=Topic.SPF,
                level=Level.NOTE,
                route=route.alias,
                text=text,
                advice="DKIM alone is enough for DMARC; both are better. Set up the return path there, and add:",
                records=route.records("return_path", self._domain),
            )
        ], Proof.NO


def _with_wanted(record: str, includes: Iterable[str]) -> str:
    words = record.split(" ")
    new = [f"include:{one}" for one in dict.fromkeys(includes) if f"include:{one}" not in words]
    return " ".join([*words[:-1], *new, words[-1]])


def _level_of(note: str) -> Level:
    return Level.WARNING if "+all" in note else Level.NOTE


def _advice_of(error: str, found: SPF) -> str:
    if "lookups, and receivers" in error and found.costs:
        costs = sorted(found.costs.items(), key=lambda one: -one[1])
        shown = ", ".join(f"{term} {cost}" for term, cost in costs)
        return f"Remove what none of your routes needs. Lookups: {shown}."
    return "Receivers ignore the whole record until this is corrected."
