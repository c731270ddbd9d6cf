"""HTML pages: rendered from templates, self-contained, with a common style."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

_PAGES = Environment(
    loader=PackageLoader("age_tasks.reports", "templates"),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters["years"] = lambda value: f"{value:.2f}"
_PAGES.filters["signed"] = lambda value: f"{value:+z.2f}"  # z: no minus before zero
_PAGES.filters["percent"] = lambda value: f"{100 * value:.1f} %"
_PAGES.filters["seconds"] = lambda value: f"{value:g} second{'' if value == 1 else 's'}"
_PAGES.filters["when"] = lambda iso: f"{iso[:10]} {iso[11:16]} UTC"


def render(template: str, **context: Any) -> str:
    """Render `templates/<template>`; in HTML every value is escaped.

    Raises:
        jinja2.UndefinedError: a value that the template uses is missing.
    """
    return _PAGES.get_template(template).render(**context)


def duration(seconds: float) -> str:
    """Seconds as people say them, such as `3 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def plain(value: Any) -> str:
    """A value of a stage's summary as text for people."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case None:
            return "none"
        case dict() if all(type(each) is int for each in value.values()):
            return "; ".join(f"{each} × {name}" for name, each in value.items()) or "none"
        case dict():
            return "; ".join(f"{in_words(name)}: {plain(each)}" for name, each in value.items())
        case list():
            return "; ".join(plain(each) for each in value) or "none"
    return str(value)


def in_words(name: str) -> str:
    """The name of a number in a stage's summary, for people."""
    return name.replace("_", " ").replace("mae", "MAE").replace("cs5", "CS@5")


def markdown_text(text: str) -> str:
    """A text that others wrote, in one line without what Markdown would take for a sign of its own."""
    return "".join(f"\\{letter}" if letter in "\\`*[]<>|!#" else letter for letter in " ".join(text.split()))


_PAGES.filters["markdown"] = markdown_text
_PAGES.filters["duration"] = duration
_PAGES.filters["plain"] = plain
_PAGES.filters["in_words"] = in_words


def png_uri(path: Path) -> str:
    """A PNG file as a data URI, to embed it in a page."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
