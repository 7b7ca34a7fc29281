"""Who asks: the browser by its session, and the person by a proxy's login or a typed name."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fraud_pipelines.decisions.review import MAX_REVIEWER_CHARACTERS, Naming
from fraud_pipelines.review.tokens import Tokens, new_session
from fraud_pipelines.web.guard import same_origin

SESSION_COOKIE: Final = "review_session"
NAME_COOKIE: Final = "review_name"
_YEAR: Final = 31_536_000


class Identity:
    """Names people, and ties forms to the browser that they were shown in.

    Args:
        header: in which a proxy with a login says who asks; empty where people type their names.
    """

    def __init__(self, header: str = "") -> None:
        self._header = header
        self._tokens = Tokens()

    @property
    def named_by(self) -> Naming:
        """Where names come from."""
        return "login" if self._header else "typed"

    def session(self, request: Request) -> str:
        """The session of the browser, a new one where it has none: `keep` it with the answer."""
        return request.cookies.get(SESSION_COOKIE, "") or new_session()

    def keep(self, answer: Response, request: Request, session: str) -> Response:
        """The answer, which lets the browser remember its session."""
        if not request.cookies.get(SESSION_COOKIE):
            # Lax and not Strict: a link in a message opens the case with the session that other tabs are in.
            answer.set_cookie(SESSION_COOKIE, session, httponly=True, samesite="lax")
        return answer

    def token(self, session: str, subject: str, seen: int = 0) -> str:
        """The token of a form about a subject."""
        return self._tokens.token(session, subject, seen)

    def is_valid(self, request: Request, token: str, subject: str, seen: int = 0) -> bool:
        """Whether the form was shown to this browser, by this page.

        Raises:
            HTTPException: another site's page sent it.
        """
        if not same_origin(request.headers):
            raise HTTPException(403, "The form did not come from this page.")
        return self._tokens.is_valid(token, request.cookies.get(SESSION_COOKIE, ""), subject, seen)

    def asking(self, request: Request) -> dict[str, Any]:
        """What a form shows of the person: the name, and whether it can be typed."""
        typed = unquote(request.cookies.get(NAME_COOKIE, ""))
        return {
            "reviewer": request.headers.get(self._header, "") if self._header else typed,
            "named_by_login": bool(self._header),
            "longest_reviewer": MAX_REVIEWER_CHARACTERS,
        }

    def reviewer(self, request: Request, form: Mapping[str, str]) -> str:
        """The name of who sent a form; empty where it isn't told."""
        told = request.headers.get(self._header, "") if self._header else form.get("reviewer", "")
        return " ".join(told.split())

    @property
    def if_missing(self) -> str:
        """What to say to somebody without a name."""
        return "The proxy before this page did not say who you are." if self._header else "Fill in your name."

    def remember(self, answer: Response, reviewer: str) -> Response:
        """The answer, which lets the browser remember a name that was typed."""
        if not self._header:
            answer.set_cookie(NAME_COOKIE, quote(reviewer), max_age=_YEAR, httponly=True, samesite="lax")
        return answer
