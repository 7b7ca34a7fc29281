"""A YAML file as plain values, with the line that each key stands on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from fraud_pipelines.plan.problems import InvalidDeclarations, Key, Problem, written_key

MAX_BYTES: Final = 1_000_000
_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
)
MAX_VALUES: Final = 50_000
"""Of values in a file. An alias that stands for a list of aliases, and so on, would multiply without end."""


@dataclass
class Source:
    """A declarations file that is YAML and a mapping, and what was found to be wrong with it so far."""

    name: str
    content: dict[str, Any]
    lines: dict[Key, int]
    problems: list[Problem] = field(default_factory=list)
    unreadable: set[Key] = field(default_factory=set)
    """Keys whose value could not be read, which is reported already."""

    def line(self, key: Key) -> int:
        """The line of ``key``, or of what it would stand in."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def report(self, key: Key, message: str) -> None:
        """Note a problem at ``key``, unless its value, or what it stands in, could not even be read."""
        if any(key[:depth] in self.unreadable for depth in range(len(key) + 1)):
            return
        self.problems.append(Problem(self.name, self.line(key), written_key(key), message))

    def place(self, key: Key) -> str:
        """Where ``key`` stands, for a message about another place."""
        return f"{self.name}:{self.line(key)}"


def read_source(path: Path, name: str | None = None) -> Source:
    """Read a YAML file whose top is a mapping.

    Args:
        path: of the file.
        name: of the file in messages; by default the path.

    Raises:
        InvalidDeclarations: the file can't be read, is no YAML, is empty or no mapping.
    """
    name = name or str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDeclarations([Problem(name, 1, "", f"can't be read: {error}")]) from error
    if len(raw) > MAX_BYTES:
        raise InvalidDeclarations([Problem(name, 1, "", f"is larger than {MAX_BYTES:,} bytes")])
    return source_of(text, name)


def source_of(text: str, name: str) -> Source:
    """`read_source` of a text that is in memory."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        detail = " ".join(str(each) for each in (error.context, error.problem) if each)
        raise InvalidDeclarations([Problem(name, line, "", f"is no valid YAML: {detail}")]) from error
    except (yaml.YAMLError, RecursionError) as error:
        detail = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise InvalidDeclarations([Problem(name, 1, "", f"is no valid YAML: {detail}")]) from error
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"):
        raise InvalidDeclarations([Problem(name, 1, "", "is empty; declare attributes, entities or features")])
    reader = _Reader(name)
    content = reader.value(node, (), ())
    if not isinstance(content, dict):
        line = node.start_mark.line + 1
        message = "is no mapping; expected the keys attributes, entities and features"
        raise InvalidDeclarations([Problem(name, line, "", message)])
    return Source(name, content, reader.lines, reader.problems, reader.unreadable)


class _Reader:
    """Turns nodes into plain values, and notes their lines."""

    def __init__(self, name: str) -> None:
        self.lines: dict[Key, int] = {}
        self.problems: list[Problem] = []
        self.unreadable: set[Key] = set()
        self._name = name
        self._constructor = yaml.constructor.SafeConstructor()
        self._values = 0

    def value(self, node: yaml.Node, key: Key, above: tuple[yaml.Node, ...]) -> Any:
        self._values += 1
        self.lines.setdefault(key, node.start_mark.line + 1)
        if self._values > MAX_VALUES:
            problem = Problem(self._name, self.lines[key], written_key(key), f"is beyond {MAX_VALUES:,} values")
            raise InvalidDeclarations([problem])
        if node in above:
            self._report(node, key, "stands within itself", unreadable=True)
            return None
        if node.tag not in _TAGS:
            self._report(node, key, f"the tag {node.tag} has no meaning here", unreadable=True)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, (*above, node))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*key, place), (*above, node)) for place, child in enumerate(node.value)]
        return self._scalar(node, key)

    def _mapping(self, node: yaml.MappingNode, key: Key, above: tuple[yaml.Node, ...]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        last = None
        for name, child in self._entries(node, key):
            # In `{description: far, abroad}` the second word is no key: the comma belongs to the text.
            if _has_no_colon(node, child) and isinstance(mapping.get(last or ""), str):
                mapping[last or ""] += f", {name}"
            else:
                mapping[name] = self.value(child, (*key, name), above)
                last = name
        return mapping

    def _entries(self, node: yaml.MappingNode, key: Key) -> Iterator[tuple[str, yaml.Node]]:
        first: dict[str, int] = {}
        for name_node, child in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                self._report(name_node, key, "a key must be a name")
                continue
            name, line = name_node.value, name_node.start_mark.line + 1
            if name_node.tag == "tag:yaml.org,2002:merge":
                self.unreadable.add(key)
                message = "<< can't be used here; write the keys out"
                self.problems.append(Problem(self._name, line, written_key((*key, name)), message))
            elif name_node.tag != "tag:yaml.org,2002:str":
                # Such as `no`, which is YAML's word for false, or a number.
                self._report(name_node, (*key, name), f"{name!r} is no text to YAML; put it in quotes")
            elif name in first:
                self._report(name_node, (*key, name), f"the key {name!r} stands twice, first on line {first[name]}")
            else:
                first[name] = line
                self.lines[*key, name] = line
                yield name, child

    def _scalar(self, node: yaml.Node, key: Key) -> Any:
        try:
            return self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            detail = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
            self._report(node, key, f"is no valid value: {detail}", unreadable=True)
            return None

    def _report(self, node: yaml.Node, key: Key, message: str, *, unreadable: bool = False) -> None:
        if unreadable:
            self.unreadable.add(key)
        self.problems.append(Problem(self._name, node.start_mark.line + 1, written_key(key), message))


def _has_no_colon(mapping: yaml.MappingNode, value: yaml.Node) -> bool:
    """Whether a word in braces stands without a colon, which YAML reads as a key that has no value."""
    if not mapping.flow_style or not isinstance(value, yaml.ScalarNode) or value.value or value.style:
        return False
    before = value.start_mark.buffer[: value.start_mark.pointer] if value.start_mark.buffer else ""
    return not before.rstrip().endswith(":")
