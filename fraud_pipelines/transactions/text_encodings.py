"""Encodings of text: what a file says or shows of its own, as UTF-8 with line feeds."""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_UNDEFINED: Final = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_HIGH: Final = re.compile(rb"[\x80-\xff]+")
_LETTERS_1252: Final = frozenset(
    byte
    for byte in range(0x80, 0x100)
    if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) and (chr(byte).isalpha() or bytes([byte]).decode("cp1252").isalpha())
)
_SIGNS_1252: Final = frozenset("€£¥§°–—‘’“”„…•®©™ªº«»¿¡ \xa0´".encode("cp1252"))
_SAMPLE_BYTES: Final = 1 << 20
_NAMES: Final = {"cp1252": "Windows-1252 (Latin-1)", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}

codecs.register_error("keep_broken", lambda error: ("\udcff", getattr(error, "end", 1)))


class Text:
    """The content of a text file as UTF-8, read once.

    Args:
        blocks: the content in pieces.
        encoding: as the mapping has it, None to recognise it.

    Attributes:
        told: what was recognised, in a sentence; empty for UTF-8 with line feeds.
        head: the beginning, decoded: up to a megabyte.

    What can't be decoded becomes bytes that are no UTF-8, so that its line is set aside.
    """

    def __init__(self, blocks: Iterable[bytes], encoding: str | None = None) -> None:
        iterator = iter(blocks)
        first = next(iterator, b"")
        mark, marked = next(((mark, name) for mark, name in _MARKS if first.startswith(mark)), (b"", ""))
        found = encoding or marked or _recognised(first[:_SAMPLE_BYTES])
        if encoding and codecs.lookup(encoding).name in ("utf-16", "utf-32"):
            mark = b""  # these read the mark themselves
        elif encoding and mark and codecs.lookup(encoding).name != codecs.lookup(marked).name:
            mark = b""
        self._blocks = chain([first[len(mark) :]], iterator)
        self._encoding = "utf-8" if codecs.lookup(found).name == "utf-8" else found
        told = []
        if not encoding and self._encoding != "utf-8":
            told.append(f"Recognised as {_NAMES.get(self._encoding, self._encoding)}")
        start = b"".join(self._utf8([first[len(mark) :][:_SAMPLE_BYTES]], final=False))
        self._returns_alone = b"\r" in start and b"\n" not in start
        self.told = tuple(told)
        self.head = start.replace(b"\r", b"\n") if self._returns_alone else start

    def blocks(self) -> Iterator[bytes]:
        """All of it; where only carriage returns end the lines, line feeds in their place."""
        for block in self._utf8(self._blocks, final=True):
            yield block.replace(b"\r", b"\n") if self._returns_alone else block

    def _utf8(self, blocks: Iterable[bytes], *, final: bool) -> Iterator[bytes]:
        if self._encoding == "utf-8":
            yield from blocks
            return
        decoder = codecs.getincrementaldecoder(self._encoding)("keep_broken")
        for block in blocks:
            yield decoder.decode(block).encode("utf-8", "surrogateescape")
        if final:
            yield decoder.decode(b"", final=True).encode("utf-8", "surrogateescape")


def _recognised(sample: bytes) -> str:
    """UTF-8, unless the bytes speak for another encoding.

    UTF-16 without a mark has a zero in every second byte of plain text. Text that is no UTF-8, not even in any part of
    it, and whose bytes beyond ASCII are letters or signs of Windows-1252 beside other text, is taken as that.
    """
    even, odd = sample[0:2_000:2], sample[1:2_000:2]
    if len(odd) >= 2:
        zeros = even.count(0) / len(even), odd.count(0) / len(odd)
        if zeros[1] > 0.7 and zeros[0] < 0.1:
            return "utf-16-le"
        if zeros[0] > 0.7 and zeros[1] < 0.1:
            return "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252" if _is_windows_1252(sample) else "utf-8"
    return "utf-8"


def _is_windows_1252(sample: bytes) -> bool:
    if _UNDEFINED.search(sample) or b"\x00" in sample:
        return False
    for run in _HIGH.finditer(sample):
        text = run.group()
        if len(text) > 1 and _is_utf8(text):
            return False
        letters = [byte for byte in text if byte in _LETTERS_1252]
        if len(letters) + sum(byte in _SIGNS_1252 for byte in text) < len(text):
            return False
        beside = sample[max(run.start() - 1, 0) : run.start()] + sample[run.end() : run.end() + 1]
        if letters and (len(text) > 2 or not re.search(rb"[A-Za-z]", beside)):
            return False
    return True


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
