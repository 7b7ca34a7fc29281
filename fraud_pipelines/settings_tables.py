"""The tables of settings in the docs, written from their declarations.

``python -m fraud_pipelines.settings_tables`` writes them into README.md and docs/streaming.md.
"""

from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from fraud_pipelines.environment import variables
from fraud_pipelines.settings import ENVIRONMENT_PREFIX, Settings
from fraud_pipelines.streaming.settings import KAFKA_PREFIX, PREFIX, KafkaSettings, StreamSettings

_ROOT: Final = Path(__file__).parents[1]
PAGES: Final = (_ROOT / "README.md", _ROOT / "docs" / "streaming.md")

TABLES: Final[dict[str, tuple[type[BaseModel], str]]] = {
    "settings": (Settings, ENVIRONMENT_PREFIX),
    "settings of the stream": (StreamSettings, PREFIX),
    "settings of Kafka": (KafkaSettings, KAFKA_PREFIX),
}
"""Name → declaration and prefix. A page holds a table between ``<!-- NAME -->`` and ``<!-- end -->``."""


def with_tables(page: Path) -> str:
    """The page, its tables of settings made anew."""
    text = page.read_text(encoding="utf-8")
    for name, (model, prefix) in TABLES.items():
        begin, end = f"<!-- {name} -->\n", "\n<!-- end -->"
        before, marked, rest = text.partition(begin)
        if marked:
            text = before + begin + settings_table(model, prefix) + end + rest.partition(end)[2]
    return text


def settings_table(model: type[BaseModel], prefix: str) -> str:
    """The table of one declaration, as Markdown; its links lead from the root of the project."""
    return "\n".join(["| variable | default | what it means |", "|---|---|---|", *_rows(model, prefix)])


def _rows(model: type[BaseModel], prefix: str) -> list[str]:
    return [f"| `{name}` | {_default(field)} | {field.description} |" for name, field in variables(model, prefix)]


def _default(field: FieldInfo) -> str:
    if isinstance(field.json_schema_extra, dict) and "default" in field.json_schema_extra:
        return str(field.json_schema_extra["default"])
    value: Any = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if isinstance(value, (int, float)):
        return f"{value:g}" if value < 1e5 else f"{value:.0f}"
    return f"`{value}`" if value else "none"


if __name__ == "__main__":
    for written in PAGES:
        written.write_text(with_tables(written), encoding="utf-8")
