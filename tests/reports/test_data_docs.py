import pytest
from bs4 import BeautifulSoup

from age_tasks.reports.data_docs import sanitised

PAGE = """<html><head><title>Theirs</title><link rel="icon" href="static/icon.ico"><style>a {}</style>
<script src="https://cdn.example/x.js"></script></head><body>
<label class="btn" onclick="show()">All</label> Data asset: None<br> <b id="status">Status</b>
<script>run()</script><script type="application/json">{}</script><a href="https://example.org/">docs</a>
<img src="https://example.org/logo.png"><footer>theirs</footer>%s</body></html>"""


def body(addition: str = "") -> BeautifulSoup:
    return BeautifulSoup(sanitised(PAGE % addition, "Results: rows"), "html.parser").body


def test_text_classes_and_anchors_are_kept():
    kept = body('<a href="#status">up</a><a href="../../index.html">home</a>')
    assert kept.find("label")["class"] == ["btn"]
    assert kept.find("b", id="status").text == "Status"
    assert [link.get("href") for link in kept.find_all("a")] == [None, "#status", "../../index.html"]
    assert "Data asset" not in kept.text


def test_nothing_loads_or_runs():
    page = sanitised(PAGE % "", "Results: rows")
    soup = BeautifulSoup(page, "html.parser")
    assert {element.name for element in soup.head.find_all()} == {"meta", "title", "style"}
    assert soup.title.text == "Results: rows"
    assert not soup.find_all(["script", "link", "img", "iframe", "footer"])
    assert "onclick" not in page
    assert "example" not in page
    assert "theirs" not in soup.text


@pytest.mark.parametrize(
    "attack",
    [
        "<b onmouseover='alert(1)'>x</b>",
        "<b onmouseover=alert(1)>x</b>",
        "<svg onload=alert(1)><script>alert(1)</script></svg>",
        '<a href="javascript:alert(1)">x</a>',
        '<a href=" java\tscript:alert(1)">x</a>',
        '<a href="//evil.example/alert(1)">x</a>',
        '<a href="/\\evil.example/alert(1)">x</a>',
        '<form action="https://evil.example/alert(1)"><input autofocus onfocus=alert(1)></form>',
        '<div style="background: url(https://evil.example/alert(1))">x</div>',
        '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
        "<scr<script>ipt>alert(1)</scr</script>ipt>",
        '<meta http-equiv="refresh" content="0; url=https://evil.example/alert(1)">',
    ],
)
def test_markup_of_an_attacker_has_no_effect(attack: str):
    found = body(attack)
    assert not found.find_all(["script", "svg", "form", "input", "iframe", "meta", "object"])
    for element in found.find_all():
        assert set(element.attrs) <= {"class", "data-toggle", "id", "href"}
        assert "alert" not in str(element.get("href"))


def test_the_verdict_takes_the_place_of_the_status_of_great_expectations():
    status = '<span class="h6">Status:</span> <i class="fas fa-times text-danger"></i> Failed'
    page = sanitised(
        PAGE % f"{status}<table><tr><td>Success Percent</td></tr></table>", "Results", "Accepted & <used>."
    )
    assert "Accepted &amp; &lt;used&gt;." in page
    assert "Failed" not in page
    assert "Success Percent" not in page
    assert "quarantined" not in sanitised(PAGE % "", "Expectations: rows")
