"""What a mapping says of a file before its columns: encoding, header, delimiter, sheet, list of records."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Name = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]
"""A column's name; YAML reads some as numbers."""


class FileRule(BaseModel):
    """How to read a file of records. What is not given is recognised, and the report of the import says what was.

    Attributes:
        encoding: of text, under a name that Python knows (``latin-1``, ``cp1252``, ``utf-16``). By default UTF-8;
            UTF-16 and Windows-1252, which includes Latin-1, are recognised.
        delimiter: between the fields of CSV. By default a comma, in ``.tsv`` a tab; a semicolon, tab or bar is
            recognised.
        header_line: the line that names the columns, counted from 1; in a workbook the row. What stands before it is
            passed over.
        header: the names of the columns, for a file that doesn't name them.
        one_line_one_row: a line end always ends the row of CSV, also within quotes. By default a quoted field may hold
            line breaks (RFC 4180).
        sheet: of a workbook, by its name or its number, counted from 1; by default the first.
        records: where the list of records stands in a JSON document, as a dotted path; by default the document is the
            list, or holds one only.
        max_gigabytes: a file that holds more, decompressed, is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoding: str | None = None
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    header_line: int = Field(default=1, ge=1, le=10_000)
    header: tuple[Name, ...] | None = Field(default=None, min_length=1)
    one_line_one_row: bool = False
    sheet: str | int | None = None
    records: str | None = Field(default=None, min_length=1)
    max_gigabytes: float = Field(default=100.0, gt=0, le=100_000)

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str | None) -> str | None:
        if encoding is None:
            return None
        try:
            "".encode(encoding)
        except (LookupError, UnicodeError) as error:
            raise ValueError(f"{encoding!r} is no encoding of text that Python knows") from error
        return encoding

    @field_validator("delimiter")
    @classmethod
    def _separates(cls, delimiter: str | None) -> str | None:
        if delimiter in {'"', "\n", "\r"}:
            raise ValueError("a quote or a line end can't separate fields")
        return delimiter

    @field_validator("header")
    @classmethod
    def _are_names(cls, header: tuple[str, ...] | None) -> tuple[str, ...] | None:
        twice = [name for name in header or () if (header or ()).count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands there twice")
        if any(not name.strip() for name in header or ()):
            raise ValueError("a name is blank")
        return header

    @model_validator(mode="after")
    def _has_one_header(self) -> "FileRule":
        if self.header is not None and "header_line" in self.model_fields_set:
            raise ValueError("a file has a header_line, or it is given a header; keep one of them")
        return self
