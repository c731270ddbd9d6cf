"""JSON documents: what is not one is refused in one line; what other versions wrote is read, or refused."""

import pytest

from age_tasks.errors import StoreError
from age_tasks.store.documents import Document


class Note(Document):
    text: str
    count: int = 0


def test_a_document_is_read_back_as_written():
    note = Note(text="größer", count=3)
    assert Note.parse(note.to_bytes(), "note.json") == note
    assert "größer" in note.to_bytes().decode()


def test_a_file_without_a_version_is_of_version_1():
    assert Note.parse(b'{"text": "old"}', "note.json").schema_version == 1


def test_unknown_fields_are_kept():
    note = Note.parse(b'{"text": "new", "colour": "red"}', "note.json")
    assert b'"colour": "red"' in note.to_bytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "content: Invalid JSON"),
        (b"\xff\xfe", "content: Invalid JSON"),
        (b"[]", "content: Input should be an object"),
        (b"{}", "text: Field required"),
        (b'{"text": "a", "count": "many"}', "count: Input should be a valid integer"),
    ],
)
def test_what_is_no_such_document_is_refused_by_field(content: bytes, reason: str):
    with pytest.raises(StoreError) as refused:
        Note.parse(content, "s3://age/note.json")
    assert str(refused.value).startswith(f"s3://age/note.json is not a valid Note: {reason}")
    assert "\n" not in str(refused.value)


def test_a_document_of_a_newer_version_is_refused():
    with pytest.raises(StoreError, match=r"note.json has schema version 2; .* update it"):
        Note.parse(b'{"text": "a", "schema_version": 2}', "note.json")
