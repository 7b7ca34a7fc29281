"""The errors that a person has to act on; each message names the cause and the remedy."""


class FraudPipelinesError(Exception):
    """Base of every error this project raises on purpose."""

    def __str__(self) -> str:
        # The name of a file may be no text, and then neither a terminal nor a database takes it.
        return super().__str__().encode("utf-8", "backslashreplace").decode()


class InvalidInput(FraudPipelinesError):
    """A file, a mapping, a row or a parameter can't be used as it is."""


class InaccessibleFile(InvalidInput):
    """The file system doesn't give a file out, which says nothing about what is in it."""


class MissingData(FraudPipelinesError):
    """What a step needs has not been stored yet: a day without transactions, features or a model."""


class WarehouseBusy(FraudPipelinesError):
    """Another process held the DuckDB file for longer than the wait."""


class NotPublished(FraudPipelinesError):
    """The file that people open could not be made new; what was stored is in the live one."""


class RegistryUnavailable(FraudPipelinesError):
    """The MLflow tracking server can't be reached, or refuses to answer."""


class ArtifactRejected(FraudPipelinesError):
    """A stored model is damaged, was tampered with, or doesn't fit this version of the code."""


class ShardFailed(FraudPipelinesError):
    """A part of a day that was computed by itself failed; nothing of the day was stored."""
