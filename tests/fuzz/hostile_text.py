"""Every public function that reads text of strangers, shapes that such text could have, and what each costs.

`python -m tests.fuzz.hostile_text` prints for each function the shape with the worst ratio of 64 KiB to 32 KiB, the
minimum of ten runs each, and ends with 1 where one is 3 or more: work in proportion to the text doubles. `make fuzz`
runs it.
"""

import contextlib
import os
import smtplib
import sys
import time
from collections.abc import Callable, Iterator

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()

from reliable_email import values
from reliable_email.backends.reading import option_values
from reliable_email.backends.reading.email_url import parse_urls
from reliable_email.backends.reading.quotas import quotas
from reliable_email.classification import classify, classify_exception
from reliable_email.classification.hints import retry_hint, window_hint
from reliable_email.classification.pasted import read_reply
from reliable_email.classification.words import embedded_status, told_stage, with_marks, words
from reliable_email.delivery.content.building import envelope_address
from reliable_email.delivery.content.stored_mime import stored_mime
from reliable_email.delivery.report import address_key, bare_address
from reliable_email.delivery.telling.floods import fingerprint
from reliable_email.delivery.telling.log_records import words_of
from reliable_email.delivery.transports.filters import is_allowed
from reliable_email.diagnosis import addresses
from reliable_email.diagnosis.dns.dkim import read_key
from reliable_email.diagnosis.dns.dmarc import names_to_ask, read_policy
from reliable_email.diagnosis.dns.routes import domain_of
from reliable_email.diagnosis.dns.spf_record import TermError, merged, parse
from reliable_email.outbox.operations.letters import letter
from reliable_email.smtp.driver.hello import is_full_name
from reliable_email.smtp.dsn import original_recipient, xtext
from reliable_email.smtp.protocol.redaction import Redactor
from reliable_email.smtp.protocol.wire_content import BytesContent, has_long_line, header_section, normal
from reliable_email.smtp.syntax import paths
from reliable_email.smtp.syntax.charsets import decoded
from reliable_email.smtp.syntax.mime import encoded
from reliable_email.smtp.syntax.replies import Reply, ReplyError, ReplyParser, parse_reply
from reliable_email.smtp.tls.pins import parse_pin
from reliable_email.store.sql.texts import escaped
from reliable_email.templatetags.mail_words import said
from reliable_email.views.parts.preview import preview, warnings

HALF, WHOLE = 32 * 1024, 64 * 1024
RUNS = 10
WORST_RATIO = 3.0
# Below this a difference is noise. A quadratic pattern takes seconds.
UNMEASURABLE_SECONDS = 0.02
# fmt: off
SHAPES = [
    "a", "a  ", "a@", "@", "a.", ".", "1", "1.", "1:", ":", "::1 ", "[", "(", "<", "<a@", '"', '"a', '"a"@', "'",
    "\\'", " ", "\t", "é", "信", "信箱 ", "\u0301", "ﷺ", "\u202e", "\x00", "-", "_", "5.7.1 ", "550 ", "550-", "%20",
    "=", "retry ", "retry in ", "again after 1", "Mon, 25 Aug ", "per ", "password=", "(550, '", '(550, b"a', "a,",
    "user unknown ", "{{", "${a", "\r", "\n", "%41", "%", "%4", "%25", "%41 ", "a%", "+", "/", "QUFB", "bearer ",
    "Bearer a", "auth=Bearer ", "s3cr", "&amp;", "&#115;", "\\u0073", "cid:", "cid:a ", "=?utf-8?q?",
    "=?utf-8?b?QQ==?= ",
    ";", "a=", "a=b;", "v=DMARC1;", "include:a ", "ip4:1 ", "p=", "a: b\r\n", "a\r\n", "a\n", "\r\r\n", ".\r\n", "--",
    "--a\r\n", "xn--", "ß", "\u200d", "\\", "\\a", '\\"', "<>", "><", "),(", "smtp://", "smtp(", "a,b@", "0x1", "'a'",
]
# fmt: on
SECRETS = ("s3cret-pass/word", "ya29.token_of-some+length", "abc")


def exception_about(text: str) -> object:
    """What a foreign backend's refusal with that text means."""
    return classify_exception(smtplib.SMTPDataError(550, text.encode("utf-8", "surrogatepass")))


def parsed(text: str) -> object:
    """The reply that a server makes of the text, in lines as long as it may send."""
    parser = ReplyParser()
    raw = text.encode("utf-8", "surrogatepass").replace(b"\n", b" ")
    for start in range(0, len(raw), 4096):
        parser.feed(b"550-" + raw[start : start + 4096] + b"\r\n")
    parser.feed(b"550 end\r\n")
    return parser.next_reply()


def in_lines(text: str) -> Reply:
    """A reply of many lines."""
    return Reply(550, tuple(text[i : i + 512] for i in range(0, len(text), 512)))


def mail(text: str, header: str = "Subject") -> bytes:
    """A message with the text in a header and in its body."""
    flat = " ".join(text.split())
    return f"{header}: {flat}\r\nContent-Type: text/html\r\n\r\n{text}\r\n".encode("utf-8", "replace")


def multipart(text: str) -> bytes:
    """A message whose parts are parted by a line of which the text is full."""
    return b'Content-Type: multipart/mixed; boundary="a"\r\n\r\n' + text.encode("utf-8", "replace")


REDACTOR = Redactor(SECRETS, username="ana@example.com")
FUNCTIONS: dict[str, Callable[[str], object]] = {
    "masked": values.masked,
    "printable": values.printable,
    "shown": values.shown,
    "closest": lambda text: values.closest(text, ["host", "password", "final_reply_timeout"]),
    "boolean": values.boolean,
    "integer": values.integer,
    "seconds": values.seconds,
    "choice": lambda text: values.choice(text, ["auto", "plain"]),
    "strings": values.strings,
    "text": values.text,
    "secret": values.secret,
    "existing_file": values.existing_file,
    "quotas": lambda text: quotas(f"1{text}"),
    "host_name": option_values.host_name,
    "certificate_name": option_values.certificate_name,
    "ehlo_name": option_values.ehlo_name,
    "header_name": option_values.header_name,
    "pins": option_values.pins,
    "address": option_values.address,
    "address_patterns": option_values.address_patterns,
    "dsn": option_values.dsn,
    "parse_pin": parse_pin,
    "parse_urls": parse_urls,
    "words": words,
    "with_marks": lambda text: with_marks(words(text), text),
    "told_stage": told_stage,
    "embedded_status": embedded_status,
    "retry_hint": retry_hint,
    "window_hint": window_hint,
    "classify": lambda text: classify(Reply(550, (text,)), sender_domain="example.com"),
    "classify_lines": lambda text: classify(in_lines(text)),
    "classify_exception": exception_about,
    "read_reply": read_reply,
    "parse_reply": lambda text: parse_reply(f"550 {text}"),
    "ReplyParser": parsed,
    "decoded": lambda text: decoded(text.encode("utf-8", "surrogatepass") + b"\xff"),
    "decoded_gbk": lambda text: decoded(b"\xc7\xeb\xca\xb9" + text.encode("gb18030", "replace")),
    "Redactor.text": REDACTOR.text,
    "Redactor.reply": lambda text: REDACTOR.reply(in_lines(text)),
    "forward_path": paths.forward_path,
    "forward_path_domain": lambda text: paths.forward_path(f"a@{text}"),
    "forward_path_local": lambda text: paths.forward_path(f"{text}@example.com"),
    "forward_path_quoted": lambda text: paths.forward_path(f'"{text}"@example.com'),
    "reverse_path": paths.reverse_path,
    "identity": paths.identity,
    "identity_domain": lambda text: paths.identity(f"a@{text}"),
    "domain_identity": paths.domain_identity,
    "with_ascii_domain": lambda text: paths.with_ascii_domain(text, "a@example.com"),
    "older_spellings": paths.older_spellings,
    "deduplicate": lambda text: paths.deduplicate(text.split(" ")),
    "xtext": xtext,
    "original_recipient": original_recipient,
    "is_full_name": is_full_name,
    "encoded": lambda text: encoded(text.encode("utf-8", "replace"), max_line_bytes=998, opens_messages=True),
    "normal": lambda text: normal(text.encode("utf-8", "replace")),
    "header_section": lambda text: header_section(text.encode("utf-8", "replace")),
    "has_long_line": lambda text: has_long_line(text.encode("utf-8", "replace")),
    "BytesContent": lambda text: BytesContent.from_bytes(text.encode("utf-8", "replace")),
    "stored_mime": lambda text: stored_mime(mail(text)),
    "letter": lambda text: letter(mail(text)),
    "letter_type": lambda text: letter(mail(text, "Content-Disposition")),
    "letter_parts": lambda text: letter(multipart(text)),
    "preview": lambda text: preview(letter(mail(text))),
    "preview_tag": lambda text: preview(letter(mail(f"<a {text}"))),
    "preview_style": lambda text: preview(letter(mail(f"<style>{text}"))),
    "preview_warnings": lambda text: warnings(letter(mail(text, "From")), preview(letter(mail(text)))),
    "envelope_address": envelope_address,
    "address_key": address_key,
    "bare_address": bare_address,
    "is_allowed": lambda text: is_allowed(text, ["example.com", "a@example.net"]),
    "fingerprint": fingerprint,
    "words_of": words_of,
    "said": said,
    "escaped": lambda text: escaped(text, ("latin1",)),
    "problem_of": addresses.problem_of,
    "people": addresses.envelope_of,
    "domain_of": domain_of,
    "read_key": lambda text: read_key(text, selector="s", domain="example.com"),
    "read_policy": lambda text: read_policy(f"v=DMARC1; {text}", at="example.com", domain="example.com"),
    "names_to_ask": lambda text: list(names_to_ask(text)),
    "spf_record": lambda text: parse(f"v=spf1 {text}"),
    "merged": lambda text: merged((f"v=spf1 {text}", "v=spf1 a -all")),
}


def seconds_of(function: Callable[[str], object], text: str, runs: int = RUNS) -> float:
    """The least time of several runs: the one that was disturbed least."""
    least = float("inf")
    for _ in range(runs):
        started = time.thread_time()
        with contextlib.suppress(ValueError, ReplyError, TermError):  # an answer, too
            function(text)
        least = min(least, time.thread_time() - started)
        if least < UNMEASURABLE_SECONDS / 40:
            break
    return least


def costs(function: Callable[[str], object], length: int) -> Iterator[tuple[str, float, float]]:
    """(shape, seconds of a text of that length, seconds of the whole)."""
    for shape in SHAPES:
        text = shape * (WHOLE // len(shape))
        once = seconds_of(function, text[:length], 2), seconds_of(function, text, 2)
        if once[1] > UNMEASURABLE_SECONDS / 40 and once[1] > 2.2 * once[0]:
            once = seconds_of(function, text[:length]), seconds_of(function, text)
        for _ in range(3):  # a machine with other work disturbs also ten runs
            if once[1] < UNMEASURABLE_SECONDS / 40 or once[1] < WORST_RATIO * once[0]:
                break
            once = min(once[0], seconds_of(function, text[:length])), min(once[1], seconds_of(function, text))
        yield shape, *once


def main(names: list[str]) -> int:
    """Print the worst ratio of each function among those that can be measured; 1 where one is too high."""
    worst = 0.0
    for name in names or FUNCTIONS:
        found = [cost for cost in costs(FUNCTIONS[name], HALF) if cost[2] > UNMEASURABLE_SECONDS / 40]
        if not found:
            sys.stdout.write(f"{name:20} below half a millisecond with every shape\n")
            continue
        shape, short, long = max(found, key=lambda cost: cost[2] / cost[1])
        worst = max(worst, long / short)
        figures = f"{1e3 * short:8.3f} ms {1e3 * long:8.3f} ms, ratio {long / short:5.2f}"
        sys.stdout.write(f"{name:20} worst with {shape!r:22} {figures}\n")
    sys.stdout.write(f"worst ratio {worst:.2f}\n")
    return 0 if worst < WORST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
