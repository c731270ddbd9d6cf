import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from age_tasks.cli.app import main
from age_tasks.errors import LabelsError
from age_tasks.registry.promotions import VERSIONS, champion
from age_tasks.runs.run import Workspace
from age_tasks.serving.found_images import find_images
from age_tasks.store.files import FileStore
from tests.support.settings import point_at


@pytest.fixture
def model(finished: Workspace, sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """A store with the finished run's version, and nothing else."""
    point_at(monkeypatch, tmp_path, sample.labels)
    root = Path(finished.store.where("registry"))
    shutil.copytree(root, tmp_path / "store" / "registry")
    return FileStore(tmp_path / "store")


def test_ages_equal_those_of_the_run_s_evaluation(model: FileStore, finished: Workspace, sample, capsys):
    tested = pd.read_csv(finished.input("evaluate", "predictions.csv")).head(5)
    images = [str(sample.images / name) for name in tested["file_name"]]
    assert main(["predict", "--json", *images]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["version"] == "v1"
    for row, age in zip(result["images"], tested["finetune"], strict=True):
        assert row["age"] == pytest.approx(age, abs=0.1)
        assert 0 <= row["low"] <= row["age"] <= row["high"]


def test_a_folder_is_predicted_into_a_table(model: FileStore, sample, tmp_path: Path):
    folder, out = tmp_path / "new", tmp_path / "ages.csv"
    folder.mkdir()
    for image in sorted(sample.images.glob("0000*.jpg"))[:4]:
        shutil.copy(image, folder)
    (folder / "page.jpg").write_text("<!doctype html>")
    assert main(["predict", str(folder), "--out", str(out)]) == 0
    table = pd.read_csv(out, keep_default_na=False).set_index("file")
    assert len(table) == 5
    assert table.loc[str(folder / "page.jpg"), "problem"].startswith("not an image: an HTML page")
    assert (table["age"] != "").sum() == 4


def test_no_age_and_no_end_of_an_interval_is_below_zero(
    model: FileStore, sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As the head `regression` may compute it for a newborn."""
    computed = np.array([[-400.0], [-0.8], [2.0]], "float32")
    monkeypatch.setattr("age_tasks.training.prefix_engine.FrozenNetwork", lambda *_: lambda _: [computed])
    images = sorted(map(str, sample.images.glob("0000*.jpg")))[:3]
    assert main(["predict", *images, "--out", str(tmp_path / "ages.csv")]) == 0
    table = pd.read_csv(tmp_path / "ages.csv")
    assert table["age"].tolist() == [0, 0, 2]
    assert (table["low"] == 0).all()
    assert (table["high"] > table["age"]).all()


def test_images_can_be_listed_in_a_csv(model: FileStore, sample, capsys):
    listed = sample.images / "list.csv"
    listed.write_text("file_name,note\n00003.jpg,x\nnone.jpg,y\n")
    assert main(["predict", str(listed)]) == 0
    first, second, model_line = capsys.readouterr().out.splitlines()
    assert "00003.jpg: " in first
    assert "90 % interval" in first
    assert second.endswith(f"none.jpg: no such file in the images folder {sample.images}")
    assert "cropped like the training images" in model_line
    listed.unlink()


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "a/../../x.jpg"])
def test_a_csv_lists_no_images_outside_its_folder(name: str, tmp_path: Path):
    listed = tmp_path / "list.csv"
    listed.write_text(f"file_name\n00003.jpg\n{name}\n")
    with pytest.raises(LabelsError, match=rf"list\.csv line 3: '{name}': the file name leaves"):
        find_images([listed], tmp_path)


def _paths(place: Path) -> list[Path]:
    return [Path(image.shown) for image in find_images([place], place.parent)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "andre\u0301.jpg"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", b"file_name,note\na.jpg,b.jpg,\n"),  # pandas takes the first cell for an index
        ("list.csv", b"note,file_name\nb.jpg,a.jpg,,\n"),
        ("list.csv", b"file_name,\na.jpg,\n"),
        ("list.csv", b"sep=;\nfile_name;note\na.jpg;b.jpg;\n"),
        ("list.csv", b"file_name;note\na.jpg;b.jpg\n"),
        ("list.csv", b' "file_name", note\n a.jpg ,b.jpg\n'),
        ("list.csv", "file_name\na.jpg\n".encode("utf-16")),
        ("list.CSV", "\ufeff\ufefffile_name\n./a.jpg\n".encode()),
        ("list.txt", "file_name\tnote\r\na.jpg\tb.jpg\r\n".encode("utf-16")),
        ("list.tsv", b"file_name\tnote\na.jpg\tb.jpg\n"),
    ],
)
def test_a_table_lists_the_images_that_its_rows_name(name: str, content: bytes, folder: Path):
    (folder / name).write_bytes(content)
    assert _paths(folder / name) == [folder / "a.jpg"]


def test_a_table_may_write_names_in_another_form_or_with_their_whole_path(folder: Path):
    (folder / "list.csv").write_text(f"file_name\nandr\xe9.jpg\n{folder}/b.jpg\nnone.jpg\n")
    names = ["andre\u0301.jpg", "b.jpg", "none.jpg"]
    assert _paths(folder / "list.csv") == [folder / name for name in names]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"file_name\n", "has a header but no rows; add a line such as 'image.jpg'"),
        ("file_name\n\xe9.jpg\n".encode("latin-1"), "line 2: byte 0xe9 is not UTF-8"),
        (b"image\na.jpg\n", "line 1: no column 'file_name' among image; expected 'file_name'"),
        (b"file_name,note\na.jpg,x,b.jpg\n", "line 2: 3 values where the header has 2"),
        (b"file_name\na\0.jpg\n", "a NUL character"),
        (b"file_name,note\n,x\n", "line 2: '': no file name"),
        (b"file_name\nsub\\x.jpg\n", "has a backslash; write sub/x.jpg"),
    ],
)
def test_a_bad_table_is_refused_as_labels_are(content: bytes, says: str, folder: Path, capsys):
    (folder / "list.csv").write_bytes(content)
    assert main(["predict", str(folder / "list.csv")]) == LabelsError.exit_code
    told = capsys.readouterr().err
    assert says in told
    assert told.startswith(f"predict: {folder}/list.csv ")
    assert told.count("\n") == 1


def test_an_empty_folder_and_a_name_too_long_have_a_reason(tmp_path: Path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".DS_Store").touch()
    with pytest.raises(LabelsError, match="new: no image in this folder or below it"):
        find_images([tmp_path / "new"], tmp_path)
    with pytest.raises(LabelsError, match="File name too long"):
        find_images([tmp_path / ("x" * 300)], tmp_path)


@given(data=st.binary(max_size=50) | st.text(max_size=30).map(lambda text: f"file_name,note\n{text}".encode()))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_as_a_table_list_images_below_it_or_are_refused_in_one_line(data: bytes, folder: Path):
    (folder / "list.csv").write_bytes(data)
    try:
        paths = _paths(folder / "list.csv")
    except LabelsError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert all(folder in path.parents and ".." not in path.parts for path in paths)


def test_a_changed_byte_is_refused_by_name(model: FileStore, sample, capsys: pytest.CaptureFixture[str]):
    file = Path(model.where(f"{VERSIONS}{champion(model).version}/model.keras"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert main(["predict", str(sample.images / "00003.jpg")]) == 76
    assert "model.keras is not what its manifest says" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jpg"], "nothing.jpg: no such image, folder or table"),
        (["{images}/00003.jpg", "--version", "9"], "no version '9' has been promoted; choose one of v1"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    model: FileStore, sample, arguments, message, capsys: pytest.CaptureFixture[str]
):
    assert main(["predict", *(word.format(images=sample.images) for word in arguments)]) != 0
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_prediction_needs_a_promoted_model(place: Path, sample, capsys: pytest.CaptureFixture[str]):
    assert main(["predict", str(sample.images / "00003.jpg")]) == 74
    assert "no model has been promoted yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("images/a.jpg", "there is a.jpg: leave out images/"),
        ("c.jpg", "there is sub/c.jpg: write sub/ before it"),
        ("a.jpeg", "there is a.jpg: its extension is .jpg"),
        ("A.JPG", "there is a.jpg: upper and lower case differ"),
        ("sub/C.jpg", "there is sub/c.jpg: upper and lower case differ"),
        ("nothing.jpg", ""),
    ],
)
def test_the_likely_cause_of_a_missing_image_is_named(name: str, cause: str, folder: Path):
    (folder / "sub").mkdir()
    (folder / "sub" / "c.jpg").write_text("c")
    (folder / "list.csv").write_text(f"file_name\n{name}\n")
    (image,) = find_images([folder / "list.csv"], folder)
    with pytest.raises(LabelsError, match=rf"^no such file in the images folder {folder}.*{cause}$"):
        image.file()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"file_name\n\n\na.jpg\n../x.jpg\n", 5),
        (b"sep=,\nfile_name\n../x.jpg\n", 3),
        (b'file_name,note\na.jpg,"two\nlines"\n../x.jpg,\n', 4),
    ],
)
def test_lines_are_those_that_an_editor_shows(content: bytes, line: int, folder: Path):
    (folder / "list.csv").write_bytes(content)
    with pytest.raises(LabelsError, match=rf"list\.csv line {line}: '\.\./x\.jpg'"):
        find_images([folder / "list.csv"], folder)
