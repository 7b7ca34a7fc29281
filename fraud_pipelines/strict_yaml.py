"""YAML of people's files: plain data, no key twice, no deeper than anybody writes."""

from collections.abc import Hashable
from typing import Any, Final

import yaml

DEEPEST: Final = 100
"""Levels of a file. Deeper ones end the parser, which calls itself."""


class StrictLoader(yaml.SafeLoader):
    """Plain data only, and no key twice: the first of two would be lost without a word."""

    deepest = DEEPEST

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self._depth == self.deepest:
            raise yaml.composer.ComposerError(problem="it is nested too deeply")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if repeated := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{repeated[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)

    def construct_scalar_or_text(self, node: yaml.ScalarNode) -> object:
        """The value of a date or a number; where it only looks like one, its text, so that its field is told."""
        try:
            return yaml.SafeLoader.yaml_constructors[node.tag](self, node)
        except ValueError:
            return node.value


for _tag in ("timestamp", "int", "float"):
    StrictLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", StrictLoader.construct_scalar_or_text)


def load(text: str) -> Any:
    """The content of a YAML text.

    Raises:
        yaml.YAMLError: it is no YAML, has a key twice, or is nested too deeply.
    """
    return yaml.load(text, Loader=StrictLoader)
