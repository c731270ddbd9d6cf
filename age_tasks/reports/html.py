"""HTML pages: one look for all, complete without the network."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters["years"] = lambda value: f"{value:.2f}"
_PAGES.filters["percent"] = lambda value: f"{100 * value:.1f} %"
_PAGES.filters["when"] = lambda iso: f"{iso[:10]} {iso[11:16]} UTC"


def render(template: str, **context: Any) -> str:
    """The page made from `templates/<template>`; in HTML every value is escaped."""
    return _PAGES.get_template(template).render(**context)


def plain(value: Any) -> str:
    """A value of a stage's summary as people write it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case dict():
            return "; ".join(f"{plain(each)} × {name}" for name, each in value.items()) or "none"
        case list():
            return "; ".join(plain(each) for each in value) or "none"
    return str(value)


_PAGES.filters["plain"] = plain


def png_uri(path: Path) -> str:
    """A picture as a data URI, so that the page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
