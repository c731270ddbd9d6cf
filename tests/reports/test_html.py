import base64
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from PIL import Image

from age_tasks.reports import html as pages
from age_tasks.reports.html import duration, png_uri, render

TEMPLATES = Path(pages.__file__).parent / "templates"


def test_values_are_escaped():
    page = render("data_docs_index.html.j2", links=[("<script>x.jpg", 'a" onclick="b')])
    assert "<script>" not in page
    assert "&lt;script&gt;x.jpg" in page
    assert 'href="a&#34; onclick=&#34;b"' in page


def test_a_missing_value_is_an_error():
    with pytest.raises(UndefinedError, match="links"):
        render("data_docs_index.html.j2")


def test_an_image_becomes_a_data_uri(tmp_path: Path):
    path = tmp_path / "red.png"
    Image.new("RGB", (3, 2), "red").save(path)
    kind, _, content = png_uri(path).partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content, validate=True) == path.read_bytes()


@pytest.mark.parametrize("template", sorted(path.name for path in TEMPLATES.iterdir()))
def test_no_template_refers_to_another_host_or_skips_escaping(template: str):
    source = (TEMPLATES / template).read_text()
    assert not re.findall(r"https?://|//\w+\.|@import|url\(|<script|<link|<iframe|\| *safe", source)


def test_pages_support_light_and_dark_with_enough_contrast():
    page = render("data_docs_index.html.j2", links=[])
    assert "prefers-color-scheme: dark" in page
    colours = re.findall(r":root \{(.*?)\}", page)
    light, dark = (dict(re.findall(r"--(\w+): (#\w+)", colour)) for colour in colours)
    assert light.keys() == dark.keys()
    assert _contrast(light["ink"], light["paper"]) > 7
    for colours_of in (light, dark):
        for text in ("soft", "good", "bad", "warn"):
            assert _contrast(colours_of[text], colours_of["panel"]) > 4.5, text  # WCAG 2.1, 1.4.3, level AA


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21, as WCAG 2.1 defines it."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("template", sorted(path.name for path in TEMPLATES.glob("*.html.j2")))
def test_tables_have_captions_and_their_headings_a_scope(template: str):
    """For readers of a screen reader, who hear a table cell by cell."""
    text = (TEMPLATES / template).read_text()
    assert len(re.findall(r"<table\b", text)) == len(re.findall(r"<table\b[^>]*>\s*<caption", text))
    assert re.findall(r"<th\b(?![^>]*\bscope=)[^>]*>", text) == []


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (99, "99 s"), (130, "2 min"), (7200, "2.0 h")])
def test_durations(seconds: float, said: str):
    assert duration(seconds) == said
