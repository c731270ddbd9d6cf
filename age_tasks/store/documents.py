"""JSON documents that stages and runs hand to each other: typed, versioned, checked when they are read."""

from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from age_tasks.errors import DamagedError, StoreError
from age_tasks.store.base import to_json


class FileDigest(BaseModel):
    """What a file in the store must contain: sha256 of its content, 64 hex digits, and its size in bytes."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int


class Document(BaseModel):
    """One kind of document. Files written before there were versions have none, and are of version 1.

    Fields that this version does not know are kept: a newer version may have written them.

    Attributes:
        if_lost: what a person does who can't restore a damaged file of this kind, for messages.
    """

    if_lost: ClassVar[str] = "run the stage that wrote it, with --again"

    model_config = ConfigDict(frozen=True, extra="allow")

    schema_version: int = 1

    @classmethod
    def parse(cls, data: bytes, where: str) -> Self:
        """The document in a file.

        Args:
            where: the file's address, for the error.

        Raises:
            DamagedError: the content is not such a document.
            StoreError: it is of a version that is not known here.
        """
        try:
            document = cls.model_validate_json(data)
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(map(str, problem["loc"])) or "content"
            raise DamagedError(
                f"{where} is not a valid {cls.__name__}: {field}: {problem['msg']}; restore the file, or {cls.if_lost}"
            ) from None
        newest = cls.model_fields["schema_version"].default
        if document.schema_version > newest:
            raise StoreError(
                f"{where} has schema version {document.schema_version}; this version of age-tasks reads "
                f"up to {newest}: update it"
            )
        return document

    def to_bytes(self) -> bytes:
        """The document as indented JSON."""
        return to_json(self.model_dump(mode="json"))
