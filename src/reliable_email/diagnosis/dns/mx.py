"""MX (RFC 5321 section 5.1, RFC 7505): does the domain exist, and can its mail be answered?"""

from reliable_email.diagnosis.dns.findings import Finding, Level, Record, Topic, unasked
from reliable_email.diagnosis.dns.lookup import AnswerKind, Ask


def examine_mx(ask: Ask, domain: str) -> tuple[Finding, ...]:
    """Return the findings about the servers that receive mail for a domain; BAD if the domain does not exist."""
    answer = ask(domain, "MX")
    if answer.is_unasked:
        return (unasked(Topic.MX, answer),)
    if answer.kind is AnswerKind.MISSING:
        text = f"there is no domain {domain}"
        advice = "Receivers refuse mail from it. Check the spelling of DEFAULT_FROM_EMAIL; the domain may have expired."
        return (Finding(topic=Topic.DOMAIN, level=Level.BAD, text=text, advice=advice),)
    hosts = sorted((int(number), host.rstrip(".")) for number, host in (one.split() for one in answer.values))
    if any(not host for _, host in hosts):
        text = f"{domain} accepts no mail (null MX)"
        advice = (
            "Many receivers refuse a sender that accepts no mail, and bounces are lost. Replace the record with the "
            "domain's mail server, or send from a domain that accepts mail."
        )
        record = Record(name=domain, type="MX", value="10 <your mail exchanger>.")
        return (
            Finding(topic=Topic.MX, level=Level.WARNING, text=text, advice=advice, records=(record,), replaces=True),
        )
    if hosts:
        names = ", ".join(host for _, host in hosts)
        return (Finding(topic=Topic.MX, level=Level.GOOD, text=f"mail to {domain} goes to {names}"),)
    addresses = ask(domain, "A")
    addresses = ask(domain, "AAAA") if addresses.is_void else addresses
    if addresses.is_unasked:
        return (unasked(Topic.MX, addresses),)
    record = Record(name=domain, type="MX", value="10 <your mail exchanger>.")
    if addresses.values:
        text = f"{domain} has no MX; mail to it goes to its own address, {addresses.values[0]}"
        advice = "That works only if a mail server runs there. Add a record for the server that receives mail:"
        return (Finding(topic=Topic.MX, level=Level.NOTE, text=text, advice=advice, records=(record,)),)
    text = f"{domain} has neither an MX record nor an address: recipients cannot answer, and bounces are lost"
    advice = "Many receivers refuse such a sender. Add a record for the server that receives mail:"
    return (Finding(topic=Topic.MX, level=Level.WARNING, text=text, advice=advice, records=(record,)),)
