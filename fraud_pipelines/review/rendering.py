"""Rendering: templates become answers, with what every page shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from fraud_pipelines.decisions.payment_filters import linked_columns
from fraud_pipelines.pages import case_path
from fraud_pipelines.plan.plan import Plan
from fraud_pipelines.review.links import case_of_path, cases_path, entity_path, payments_path, queue_path

FOLDER: Final = Path(__file__).parent


class Renderer:
    """Turns a template and values into an answer; whatever text a value holds is escaped."""

    def __init__(self, plan: Plan) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["words"] = lambda name: str(name).replace("_", " ")
        self._templates.globals |= {
            "case_path": case_path,
            "case_of_path": case_of_path,
            "cases_path": cases_path,
            "entity_path": entity_path,
            "payments_path": payments_path,
            "queue_path": queue_path,
            "linked": linked_columns(plan),
            "searched": "",
        }

    def page(
        self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> HTMLResponse:
        """The page that ``template`` makes of ``values``."""
        return HTMLResponse(self._templates.get_template(template).render(values), status, headers)

    def busy(
        self,
        form: Mapping[str, str] | None = None,
        *,
        action: str = "",
        noun: str = "",
        shown: Mapping[str, str] | None = None,
    ) -> HTMLResponse:
        """That the warehouse is busy. A form can be sent again as it was, and shows what it holds.

        Args:
            action, noun: where it is sent, and what it is called.
            shown: of its content, by name.
        """
        values = {"form": form, "action": action, "noun": noun, "shown": shown or {}}
        return self.page("busy.html", status=503, headers={"Retry-After": "5"}, **values)

    def expired(self, transaction_id: str = "") -> HTMLResponse:
        """That a form was not shown to this browser since the server was started."""
        return self.message(
            403,
            "This form has expired.",
            "The page was open since before the server was started last, or cookies are turned off. Nothing was "
            "stored. Open it again.",
            transaction_id=transaction_id,
        )

    def message(self, status: int, title: str, text: str, *, transaction_id: str = "") -> HTMLResponse:
        """A page that says one thing, with a way back."""
        return self.page("message.html", status=status, title=title, text=text, transaction_id=transaction_id)
