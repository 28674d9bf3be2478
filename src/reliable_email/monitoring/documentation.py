"""The addresses of the documentation's pages: whoever installed the package has none of its files."""

from typing import Final

# Where `[project.urls]` of pyproject.toml has the documentation, without its first page.
DOCUMENTATION: Final = "https://github.com/django-reliable-email/django-reliable-email/blob/main/docs/"


def page_address(name: str) -> str:
    """Return the address of a page by its place below docs/: "how-to/growth"."""
    return f"{DOCUMENTATION}{name}.md"
