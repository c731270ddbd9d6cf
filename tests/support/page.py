"""A page as its reader finds it."""

from bs4 import BeautifulSoup, Tag


class Page:
    """Verdict, cards, headings, paragraphs, table rows and images of an HTML page; texts in one line each."""

    def __init__(self, html: str):
        self.html = html
        self.soup = BeautifulSoup(html, "html.parser")
        for style in self.soup.find_all("style"):
            style.decompose()
        self.text = text_of(self.soup)
        self.tags = {element.name for element in self.soup.find_all()}
        attributes = {name for element in self.soup.find_all() for name in element.attrs}
        self.handlers = {name for name in attributes if name.startswith("on") or name == "autofocus"}
        self.addresses = [
            element[name]
            for element in self.soup.find_all()
            for name in ("src", "href", "action", "srcdoc")
            if name in element.attrs
        ]
        self.alternatives = [image["alt"] for image in self.soup.find_all("img")]
        self.headings = self.texts("h2")
        self.paragraphs = self.texts("p")

    @property
    def verdict(self) -> str:
        """The text of the only verdict."""
        (verdict,) = self.texts("p.verdict")
        return verdict

    @property
    def cards(self) -> list[str]:
        """The texts of the large numbers."""
        return self.texts("div.number")

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that a CSS selector finds."""
        return [text_of(element) for element in self.soup.select(selector)]

    def row(self, first: str, cells: int | None = None) -> list[str] | None:
        """The first table row that starts with the cell `first`, of so many cells if a number is given."""
        for row in self.soup.find_all("tr"):
            texts = [text_of(cell) for cell in row.find_all(["th", "td"])]
            if texts and texts[0] == first and cells in (None, len(texts)):
                return texts
        return None


def text_of(element: Tag) -> str:
    """The text of an element, as it is read."""
    return " ".join(element.get_text(" ").split())
