"""The token that a verdict needs, and the name of the browser that it belongs to."""

import hashlib
import hmac
import secrets


class Tokens:
    """Tokens that tie a verdict to one browser, one transaction, and the verdicts that were seen beside it.

    They hold as long as this server runs.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def token(self, session: str, transaction_id: str, seen: int) -> str:
        """The token of a form."""
        message = "\0".join((session, str(seen), transaction_id)).encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()

    def is_valid(self, token: str, session: str, transaction_id: str, seen: int) -> bool:
        """Whether ``token`` was made for just this."""
        expected = self.token(session, transaction_id, seen)
        return bool(session) and hmac.compare_digest(token.encode(), expected.encode())


def new_session() -> str:
    """A name for a browser that nobody can guess."""
    return secrets.token_urlsafe(24)
