"""What generated messages are made of: every kind of subject, name, text, charset, file, header and part."""

from django.utils.functional import lazystr

SUBJECTS = (
    "",
    "Hello",
    "Grüße aus Köln",
    "日本語の件名",
    "a" * 70,
    "a" * 200,
    "word " * 40 + "end",
    "ü" * 120,
    "Re: [#12] 50% off!",
    "two  spaces",
    " leading",
    "trailing ",
    'quotes "and" <brackets>',
    "emoji 🎉 party",
    "tab\tinside",
    "=?utf-8?q?raw?=",
    "a =?utf-8?b?w7w=?= word",
    "?= =?",
    "comma, semicolon; colon:",
    "\u200bzero width",
    "nbsp\u00a0here",
    "é́ combining",
    "mixed ascii und größer " * 8,
    "x" * 900,
    "Привет",
    "line\u2009thin",
    lazystr("lazy subject"),
    "100 € – “quoted”",
)
NAMES = (
    "",
    "Ann",
    "Ann Lee",
    "Jörg Müller",
    "Doe, John",
    'The "Boss"',
    "o'Neill",
    "名前 太郎",
    "a.b",
    "J. R. (Bob) Dobbs",
    "A" * 90,
    "Ö" * 60,
    "Team @ Work",
    "semi;colon",
    "back\\slash",
    "=?utf-8?q?x?=",
    "Ann  Two",
    'Zoë "Z" O\'Hara, Jr.',
    "x" * 60 + " ü",
)
ADDRESSES = (
    "a@example.com",
    "first.last@example.com",
    "user+tag@example.co.uk",
    "u@bücher.example",
    '"quoted local"@example.com',
    "UPPER@EXAMPLE.COM",
    "o'neill@example.com",
    "a_b-c=d@sub.example.com",
    "x" * 60 + "@example.com",
    "u@xn--bcher-kva.example",
)
BODIES = (
    "",
    "Hello.",
    "Hello.\n",
    "two\nlines\n",
    "two\r\nlines\r\n",
    "bare\rcarriage\r",
    "Grüße,\nJörg\n",
    "日本語\n",
    "x" * 2000,
    "ü" * 1200,
    "word " * 400,
    ".\n.hidden dot\n..\n",
    "From here on\nFrom there\n>From quoted\n",
    "trailing  \nspaces \t\n",
    "\n\nleading",
    "end\n\n\n",
    "= equals =3D\n",
    "emoji 🎉\n",
    "a" * 998 + "\n",
    "a" * 999 + "\n",
    "\t tab\n",
    "mixed\r\nends\nhere\r",
    "-- \nSignature\n",
    "form\x0cfeed\n",
    "next\x85line\u2028separator\n",
    "é" * 499 + "\n",
    "http://example.com/?a=1&b=2\n",
    "soft=\nbreak\n",
    lazystr("lazy body"),
)
LATIN = ("Hello.\n", "Grüße,\nJörg\n", "x" * 2000, "ü" * 1200, ".dot\n", "déjà vu\n")
ENCODINGS: dict[str, tuple[str, ...]] = {
    "iso-8859-1": LATIN,
    "utf-8": BODIES,
    "us-ascii": ("Hello.\n", "x" * 1200),
    "koi8-r": ("Привет\n",),
    "iso-2022-jp": ("日本語です\n",),
    "windows-1252": (*LATIN, "100 € – “q”\n"),
    "utf-16": ("Grüße\n",),
    "UTF-8": BODIES,
    "iso-8859-15": ("100 €\n",),
    "euc-jp": ("日本語\n",),
}
FILE_NAMES = (
    "a.pdf",
    "with space.pdf",
    "Grüße.pdf",
    "日本.bin",
    'q"uote.bin',
    "semi;colon.bin",
    "x" * 120 + ".bin",
    "ü" * 80 + ".pdf",
    None,
    "",
    "a'b.bin",
    "back\\slash.bin",
    "(paren).bin",
    "per%20cent.bin",
    "dots..bin",
    ".hidden",
    "a,b.bin",
    "=?utf-8?q?x?=.bin",
)
KINDS = (
    "application/pdf",
    "application/octet-stream",
    "image/png",
    "application/json",
    "audio/wav",
    "application/vnd.ms-excel",
    "font/woff2",
    "application/x-tar; x=y",
    "APPLICATION/PDF",
)
DATA = (b"", b"\0\1\2\xff" * 100, b"plain", b"%PDF-1.7\n" * 400, b"\r\n.\r\n" * 20, b"x" * 60_000, b"last line\n")
HEADERS = (
    ("X-Order", "12345"),
    ("X-Long", "word " * 50 + "end"),
    ("X-Unicode", "Grüße " * 12 + "Ende"),
    ("X-Number", 7),
    ("Reply-To", "r@example.org"),
    ("List-Unsubscribe", "<https://example.org/u?id=" + "x" * 90 + ">, <mailto:u@example.org>"),
    ("References", " ".join(f"<{n}.{'r' * 40}@example.org>" for n in range(9))),
    ("In-Reply-To", "<1@example.org>"),
    ("Date", "Fri, 09 Nov 2001 01:08:47 -0000"),
    ("Message-ID", "<fixed.1@example.org>"),
    ("X-Url", "https://example.org/" + "p" * 300),
    ("From", "Other <other@example.org>"),
    ("From", "Größe <g@example.org>"),
    ("To", "undisclosed@example.org"),
    ("Cc", "list <l@example.org>"),
    ("Sender", "s@example.org"),
    ("Subject", "from the headers"),
    ("subject", "lower"),
    ("MIME-Version", "1.0"),
    ("X-Empty", ""),
    ("X-Space", "a  b"),
    ("X-Raw", "=?utf-8?b?w7w=?="),
    ("Precedence", "bulk"),
    ("Auto-Submitted", "auto-generated"),
    ("X-Json", '{"a": 1, "b": ["c", "d"]}'),
    ("Importance", "high"),
    ("message-id", "<lower.1@example.org>"),
    ("X-Tab", "a\tb"),
    ("Resent-From", "Jörg <j@example.org>"),
    ("Content-Language", "de"),
    ("List-Id", "News für alle <news.example.org>"),
    ("Feedback-ID", "1:2:3:4"),
    ("X-Lazy", lazystr("lazy")),
    ("Disposition-Notification-To", "Jörg <j@example.org>"),
    ("Return-Path", "<b@example.org>"),
    ("Comments", "x" * 1100),
    ("X-Emoji", "🎉" * 30),
    ("Thread-Topic", "Größe, (und) mehr"),
)
FORWARDED = (
    b"Subject: inner\r\nFrom: i@example.org\r\n\r\nPlain text.\r\n",
    b"DKIM-Signature: v=1; c=simple/simple; b="
    + b"x" * 90
    + b"\r\nSubject: "
    + b"long " * 30
    + b"end\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbcn  \r\n"
    b"\r\nFrom here\r\n",
    b"Received: from a\r\n\tby b; Fri\r\nsubject:  odd   spaces\r\nX-Tab:\tvalue\r\n\r\nText\r\n.\r\n..x\r\n",
    (
        b"Subject: =?iso-8859-1?q?Gr=FC=DFe?=\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe=\r\n\r\n"
    ),
    (
        b'Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary="in ner"\r\n'
        b"\r\npreamble\r\n--in ner\r\n\r\none\r\n--in ner\r\n"
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n"
        b"--in ner--\r\nepilogue\r\n"
    ),
    b"Subject: bare ends\n\nOne\ntwo\n",
    (
        b"Subject: latin\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n"
        b"\r\nGr\xfcn\r\n"
    ),
)
SIGNED_INNER = (
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe  \r\n",
    b"Content-Type: text/plain\r\nX-Long: " + b"word " * 30 + b"end\r\n\r\nFrom the top\r\n.dot\r\n",
    (
        b'Content-Type: multipart/alternative; boundary="i"\r\n\r\n--i\r\nContent-Type: text/plain\r\n\r\nA\r\n'
        b"--i\r\nContent-Type: text/html\r\n\r\n<p>A</p>\r\n--i--\r\n"
    ),
)
