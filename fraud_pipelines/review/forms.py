"""What the page's forms send."""

from typing import Final
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request

MAX_FORM_BYTES: Final = 32_768


def count(text: str) -> int | None:
    """A number that a page of ours can have sent."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


async def read_form(request: Request, *, most_fields: int = 20) -> dict[str, str]:
    """The fields of a form, at most ``most_fields``, the first value of each.

    Raises:
        HTTPException: it is no form, or larger than one of ours can be.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "A verdict is sent as a form.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            raise HTTPException(413, "The form is too large.")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=most_fields, errors="strict")
    except ValueError as error:
        raise HTTPException(400, "The form can't be read.") from error
    return {name: values[0] for name, values in fields.items()}
