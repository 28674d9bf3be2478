"""A visitor without a browser: reads pages, presses buttons, fills in forms; cookies are kept."""

import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar


@dataclass(slots=True, kw_only=True)
class Form:
    """A form of a page.

    Attributes:
        within: ids of the headings of the parts that it stands in.
        buttons: what can be pressed.
    """

    action: str
    within: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self.rows: list[list[str]] = []
        self._within: list[str] = []
        self._form: Form | None = None
        self._text: list[str] | None = None
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag in ("article", "section"):
            self._within.append(told.get("aria-labelledby", ""))
        elif tag == "form":
            self._form = Form(action=told.get("action", ""), within=" ".join(self._within))
            self.found.append(self._form)
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "button", "textarea"):
            self._text = []
        if self._form is None:
            return
        if tag == "input" and told.get("name"):
            self._form.fields[told["name"]] = told.get("value", "")
        elif tag == "textarea":
            self._form.fields[told["name"]] = ""
        elif tag == "select":
            self._select = told["name"]
        elif tag == "option" and self._select not in self._form.fields:
            self._form.fields[self._select] = told["value"]

    def handle_data(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def handle_endtag(self, tag: str) -> None:
        text = "".join(self._text or []).strip()
        if tag in ("article", "section"):
            self._within.pop()
        elif tag == "form":
            self._form = None
        elif tag == "td":
            self.rows[-1].append(text)
        elif tag == "button" and self._form is not None:
            self._form.buttons.append(text)
        elif tag == "textarea" and self._form is not None:
            self._form.fields[list(self._form.fields)[-1]] = text
        if tag in ("td", "button", "textarea"):
            self._text = None


class Visitor:
    """See the module."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.page = ""
        self.status = 0
        self.headers: dict[str, str] = {}
        self._address = site
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
        )

    def visit(self, path: str = "/") -> str:
        """Open a page."""
        return self._open(urllib.parse.urljoin(self.site, path))

    def rows(self) -> list[list[str]]:
        """The cells of the page's tables."""
        return [row for row in self._read().rows if row]

    def forms(self) -> list[Form]:
        """The page's forms."""
        return self._read().found

    def press(self, button: str, *, within: str = "", **filled: str) -> str:
        """Fill in the form of a button, and press it."""
        forms = [one for one in self.forms() if button in one.buttons and within in one.within]
        assert len(forms) == 1, f"{len(forms)} forms with a button {button!r} in {within!r}:\n{self.page}"
        return self.submit(forms[0], **filled)

    def submit(self, form: Form, **filled: str) -> str:
        """Send a form."""
        fields = urllib.parse.urlencode(form.fields | filled).encode()
        return self._open(urllib.parse.urljoin(self._address, form.action), fields)

    def _read(self) -> _Forms:
        parser = _Forms()
        parser.feed(self.page)
        return parser

    def _open(self, address: str, fields: bytes | None = None) -> str:
        request = urllib.request.Request(address, data=fields, headers={"Referer": self._address})
        try:
            answer = self._opener.open(request, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            self.page = answer.read().decode()
            self.status = answer.status or 0
            self.headers = dict(answer.headers.items())
            self._address = answer.url
        return self.page
