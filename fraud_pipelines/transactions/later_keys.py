"""Keys of a mapping that came later: they don't change what tells apart the mappings that were there before."""

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class LaterKeys(BaseModel):
    """A part of a mapping that is dumped without the keys that it leaves at their defaults.

    So a key that is added has no part in the fingerprint of the mappings that were there before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        dumped: dict[str, object] = dump(self)
        unset = {
            name
            for name, field in type(self).model_fields.items()
            if name not in self.dumped_always() and getattr(self, name) == field.get_default(call_default_factory=True)
        }
        return {name: value for name, value in dumped.items() if name not in unset}

    @classmethod
    def dumped_always(cls) -> frozenset[str]:
        """The keys that were there when the first fingerprints were taken."""
        return frozenset()
