"""Great Expectations' Data Docs, complete without the network.

Its pages load stylesheets, scripts, icons and a logo from some ten hosts. Here those references go, one small
stylesheet gives the same classes a look, and the index, which is nothing without its scripts, becomes a list of links.
"""

import re
import shutil
from pathlib import Path

from age_tasks.reports.html import render

_OUTSIDE = re.compile(
    r"""<link\b[^>]*>"""
    r"""|<script\b[^>]*src=["']https?://[^>]*>\s*</script>"""
    r"""|<img\b[^>]*src=["']https?://[^>]*>"""
    r"""|<(?:footer|iframe)\b.*?</(?:footer|iframe)>""",
    re.DOTALL | re.IGNORECASE,
)
_OUTSIDE_LINK = re.compile(r"""<a\b[^>]*href=["']https?://[^>]*>(.*?)</a>""", re.DOTALL | re.IGNORECASE)
_HANDLER = re.compile(r'(<[^>]*?)\son[a-z]+="[^"]*"', re.IGNORECASE)
_NAMELESS = re.compile(r"\s*Data asset: None<br>")  # a table in memory has no name there
_SCRIPT = re.compile(r"<script\b(?![^>]*application/json).*?</script>", re.DOTALL | re.IGNORECASE)
_STYLE = (Path(__file__).parent / "templates" / "data_docs.css").read_text()


def make_offline(site: Path) -> None:
    """Rewrite the pages of a Data Docs site in place; nothing outside `site` is referred to afterwards."""
    shutil.rmtree(site / "static", ignore_errors=True)
    pages = [path for path in sorted(site.rglob("*.html")) if path.name != "index.html"]
    for path in pages:
        path.write_text(without_outside(path.read_text()))
    links = [(_title(path.relative_to(site)), path.relative_to(site).as_posix()) for path in pages]
    (site / "index.html").write_text(render("data_docs_index.html.j2", links=links))


def without_outside(html: str) -> str:
    """A page without references to other hosts and without scripts, styled by our stylesheet."""
    html = _OUTSIDE.sub("", html)
    html = _OUTSIDE_LINK.sub(r"\1", html)
    html = _SCRIPT.sub("", html)
    html = _HANDLER.sub(r"\1", html)
    html = _NAMELESS.sub("", html)
    return html.replace("</head>", f"<style>\n{_STYLE}</style>\n</head>", 1)


def _title(path: Path) -> str:
    kind, suite = path.parts[0], path.parts[1].removesuffix(".html")
    return f"What was found: {suite}" if kind == "validations" else f"What is expected: {suite}"
