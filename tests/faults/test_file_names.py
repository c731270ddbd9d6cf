"""Generated file names and tables for `predict`: each row names one file, that of its name, or is refused."""

import csv
import io
import random
import re
from pathlib import Path

import pytest
from hypothesis import strategies as st

from age_tasks.data.image_folder import ImageFolder, name_problem, normal_name
from age_tasks.data.probes import probe_images
from age_tasks.errors import LabelsError
from age_tasks.serving.found_images import find_images
from tests.faults.generated import SECRET, attempts, generated, outcome, texts
from tests.faults.mutated_bytes import mutated
from tests.faults.tally import Tally
from tests.faults.tokens import TOKENS

PARTS = ["a.jpg", "b.png", "s", "t", ".", "..", "", " ", "A.JPG", "00001.jpg", "1.jpg", "é.png", "e\u0301.png",
    "x y.png", "a%20b.png", "2024-05-01T15:14:15.jpg", "shot\u202fPM.png", "\u3000.png", "نام\u200cها.jpg",
    "C:", "file:", "https:", "s3:", "~", "\\", "a\\b.jpg", "\x00", "\n", "\x1b", "\u202e", "\ufeff", "x" * 300,
    "a.jpg ", " a.jpg", "labels.csv", "nul", "-rf", "*", "?", "[a]", "{x}", "%s"]  # fmt: skip
FILES = ["a.jpg", "b.png", "s/a.jpg", "s/t/b.png", "1.jpg", "é.png", "x y.png", "2024-05-01T15:14:15.jpg",
    "shot\u202fPM.png", "نام\u200cها.jpg", "\u3000.png", "*", "-rf"]  # fmt: skip
paths = st.one_of(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("/".join),
    st.sampled_from(FILES),
    texts(*FILES),
    st.tuples(
        st.sampled_from(["/", "//", "./", "{root}/", "file://{root}/", "../images/", "~/"]),
        st.sampled_from(FILES + PARTS),
    ).map("".join),
).filter(lambda name: SECRET not in name or bool(re.match("[A-Za-z0-9]+://", name)))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("names") / "images")


def filled(root: Path) -> Path:
    """A folder with these files, and one beside it that no name may reach."""
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"no image")
    (root.parent / "secret.jpg").write_bytes(b"outside")
    return root


def check_name(name: str, images: Path, tally: Tally) -> None:
    """A name of the labels: one file below the folder, or a reason; never a file outside, never another file."""
    with tally.attempt("file_names"):
        name = name.replace("{root}", str(images))
        folder = ImageFolder(str(images), images.parent / "cache")
        normal = normal_name(name)
        assert normal_name(normal) == normal
        (real,) = folder.real_names([normal]).values()
        problem = name_problem(real)
        assert "\n" not in problem
        if problem:
            assert not _is_plainly_there(name, images), (name, problem)
            _, refused = outcome(lambda: folder.path(real))
            assert isinstance(refused, LabelsError)
            return
        probes, _ = probe_images(folder, [real], images.parent / "cache")
        if probes[real].state == "missing":
            assert not _is_plainly_there(name, images), (name, probes[real].problem)
            assert str(images) in probes[real].problem
            assert not isinstance(outcome(lambda: folder.missing(real))[0], type(None))
            return
        path = folder.path(real)
        assert path.resolve().is_relative_to(images.resolve())
        assert path.read_bytes() == b"no image"
        assert _is_plainly_there(name, images) or _composed(name, path), (name, path)


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # its name is too long
        return False


def _is_plainly_there(name: str, images: Path) -> bool:
    """Whether the name, as a person reads it, is one of the files; absolute paths below the folder count."""
    for before in ("file://", ""):
        name = name.removeprefix(before)
    plain = name.removeprefix(f"{images}/") if name.startswith(f"{images}/") else name
    parts = [part for part in plain.split("/") if part not in {"", "."}]
    return not plain.startswith("/") and ".." not in parts and "/".join(parts) in FILES and "://" not in plain


def _composed(name: str, path: Path) -> bool:
    """Whether a name is that of the path in another form of Unicode, or with blanks around it."""
    import unicodedata

    def form(text: str) -> str:
        parts = [part.strip() for part in unicodedata.normalize("NFC", text).split("/")]
        return "/".join(part for part in parts if part not in {"", "."})

    return form(str(path)).endswith(form(name.removeprefix("file://")))


test_some_names, test_many_names = generated(15_000, name=paths)(check_name)

cells = st.one_of(paths, st.sampled_from(FILES), st.sampled_from(FILES))


def listed(table: Path) -> list[Path]:
    """The files that a table for `predict` lists."""
    return [Path(image.shown) for image in find_images([table], table.parent)]


def check_listed(
    rows: list[tuple[str, str]], separator: str, trailing: bool, encoding: str, images: Path, tally: Tally
) -> None:
    """A table for `predict`: the images that its rows name, in their order, or a refusal."""
    with tally.attempt("predict_tables"):
        rows = [(name.replace("{root}", str(images)), note) for name, note in rows]
        out = io.StringIO()
        csv.writer(out, delimiter=separator, lineterminator=f"{separator if trailing else ''}\n").writerows(
            [("note", "file_name"), *((note, name) for name, note in rows)]
        )
        table = images / "list.csv"
        try:
            table.write_bytes(out.getvalue().encode(encoding, "surrogatepass"))
            found, refused = outcome(lambda: listed(table), "list.csv")
            if refused is None:
                kept = [name for name, note in rows if name.strip() or note.strip()]
                assert len(found) == len(kept)
                for name, path in zip(kept, found, strict=True):
                    there = _is_plainly_there(name.strip(" \t\r\n"), images)
                    assert not is_file(path) or there or _composed(name, path), (name, path)
                    assert not there or is_file(path), (name, path)
                    assert path.resolve().is_relative_to(images.resolve()) or not is_file(path)
            else:
                assert isinstance(refused, LabelsError)
        finally:
            table.unlink(missing_ok=True)


test_some_lists, test_many_lists = generated(
    10_000,
    rows=st.lists(st.tuples(cells, texts("x", "1")), min_size=1, max_size=4),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    trailing=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)(check_listed)


def mutations(many: int, rng: random.Random, request: pytest.FixtureRequest, images: Path, tally: Tally) -> None:
    good = "file_name,real_age,note\n" + "".join(f"{name},{n},b.png\n" for n, name in enumerate(FILES))
    table = images / "mutated.csv"
    try:
        for _ in attempts(many, request):
            with tally.attempt("predict_tables"):
                data = mutated(good.encode(rng.choice(["utf-8", "utf-16"])), rng, TOKENS)
                table.write_bytes(data)
                found, refused = outcome(lambda: listed(table), "mutated.csv")
                assert refused is None or isinstance(refused, LabelsError)
                for path in found or []:
                    assert path.parent.resolve().is_relative_to(images.resolve()) or not is_file(path)
                assert table.read_bytes() == data
    finally:
        table.unlink(missing_ok=True)


def test_some_mutated_lists(rng: random.Random, request: pytest.FixtureRequest, images: Path, tally: Tally):
    mutations(0, rng, request, images, tally)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_many_mutated_lists(rng: random.Random, request: pytest.FixtureRequest, images: Path, tally: Tally):
    mutations(10_000, rng, request, images, tally)
