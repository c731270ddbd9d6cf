"""Great Expectations' Data Docs, sanitised: without scripts, and without references to other hosts.

The original pages load stylesheets, scripts, icons and a logo from some ten hosts. Only their markup is kept, styled by
one small stylesheet, and the index, which needs its scripts, is replaced by a list of links.
"""

import importlib.resources
import re
import shutil
from pathlib import Path

import nh3
from markupsafe import Markup

from age_tasks.reports.html import render

# Elements of text and layout: nothing that loads, runs or sends anything.
_TAGS = {"a", "b", "br", "code", "div", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "label", "li", "nav", "ol", "p"}
_TAGS |= {"pre", "section", "small", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "u", "ul"}
_ATTRIBUTES = {
    "*": {"class", "data-toggle", "id"},
    "a": {"href"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
}
_REMOVED_WITH_CONTENT = {"button", "footer", "iframe", "noscript", "object", "script", "style", "svg", "title"}
_LOCAL = re.compile(r"[\w.#][^:\\]*")
_STATUS = re.compile(r'<span class="h6">Status:</span>\s*<i class="[^"]*"></i>\s*(?:Failed|Succeeded)')
_PERCENTAGE = ("Success Percent", "Expectations that hold for every row")
_UNNAMED_ASSET = "Data asset: None<br>"  # a table in memory has no name


def make_offline(site: Path, verdict: str) -> None:
    """Rewrite the pages of a Data Docs site in place; afterwards they refer to nothing outside `site`.

    Args:
        verdict: on the labels, in words. Great Expectations calls a suite failed as soon as one row fails one of its
            expectations, and results would contradict the validation page.
    """
    shutil.rmtree(site / "static", ignore_errors=True)
    pages = [path for path in sorted(site.rglob("*.html")) if path.name != "index.html"]
    links = []
    for path in pages:
        title = _title(path.relative_to(site))
        results = path.relative_to(site).parts[0] == "validations"
        path.write_text(sanitised(path.read_text(), title, verdict if results else ""))
        links.append((title, path.relative_to(site).as_posix()))
    (site / "index.html").write_text(render("data_docs_index.html.j2", links=links))


def sanitised(html: str, title: str, verdict: str = "") -> str:
    """The page with harmless elements and relative links only, styled by our stylesheet.

    Args:
        verdict: takes the place of Great Expectations' own status; empty: there is none.
    """
    body = nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        clean_content_tags=_REMOVED_WITH_CONTENT,
        attribute_filter=_only_local_links,
        link_rel=None,
    )
    style = (importlib.resources.files("age_tasks.reports") / "templates" / "data_docs.css").read_text()
    body = _STATUS.sub("", body.replace(_UNNAMED_ASSET, "")).replace(*_PERCENTAGE)
    return render("data_docs_page.html.j2", title=title, style=Markup(style), body=Markup(body), verdict=verdict)


def _only_local_links(element: str, attribute: str, value: str) -> str | None:
    """The value, or None to drop the attribute: an address with a host or a scheme."""
    return value if attribute != "href" or _LOCAL.fullmatch(value) else None


def _title(path: Path) -> str:
    kind, suite = path.parts[0], path.parts[1].removesuffix(".html")
    return f"Results: {suite}" if kind == "validations" else f"Expectations: {suite}"
