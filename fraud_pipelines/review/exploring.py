"""The pages on which people look around: search, payments by filters, and all of a customer, merchant or device."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fraud_pipelines.decisions.entity_lists import list_columns
from fraud_pipelines.decisions.payment_filters import linked_columns, searched_columns
from fraud_pipelines.decisions.shared_entities import Standing
from fraud_pipelines.errors import InvalidInput
from fraud_pipelines.pages import case_path
from fraud_pipelines.review.choosing import ROWS, choice_of, form_of, pages_of
from fraud_pipelines.review.desk import Desk
from fraud_pipelines.review.identity import Identity
from fraud_pipelines.review.links import column_name, entity_path, payments_path
from fraud_pipelines.review.listing import Listing
from fraud_pipelines.review.network import draw_network
from fraud_pipelines.review.rendering import Renderer


class Exploring:
    """The handlers. They only read."""

    def __init__(self, desk: Desk, renderer: Renderer, identity: Identity, listing: Listing) -> None:
        self._desk = desk
        self._renderer = renderer
        self._identity = identity
        self._listing = listing

    def search(self, request: Request) -> Response:
        text = request.query_params.get("q", "").strip()
        try:
            matches = self._desk.search(text)
        except InvalidInput as error:
            return self._renderer.message(400, "That can't be searched for.", str(error))
        if matches.transaction:
            return RedirectResponse(case_path(matches.transaction), status_code=303)
        return self._renderer.page("search.html", matches=matches, searched=text)

    def payments(self, request: Request) -> Response:
        plan = self._desk.plan
        try:
            choice = choice_of(request.query_params, plan, waiting=False)
        except InvalidInput as error:
            return self._renderer.message(400, "The filters can't be used.", str(error))
        view = self._desk.payments(choice.chosen)
        if choice.page > 1 and not view.listed.payments:
            return RedirectResponse(payments_path(**choice.query), status_code=303)
        choice = replace(choice, chosen=replace(choice.chosen, filters=view.filters))
        return self._renderer.page(
            "payments.html",
            listed=view.listed,
            form=form_of(choice, plan, rules=view.rules, waiting=False),
            pages=pages_of(choice, view.listed.number),
            kept=choice.query,
            currency=view.currency,
        )

    def entity(self, request: Request) -> Response:
        column, value = request.query_params.get("column", ""), request.query_params.get("value", "")
        if column not in searched_columns(self._desk.plan):
            return self._renderer.message(404, "There is nothing to show.", f"{column!r} is no column to look up by.")
        value = self._desk.plan.stored(column, value)
        view = self._desk.entity(column, value, limit=ROWS)
        if not view.listed.number:
            return self._renderer.message(404, "There is nothing to show.", f"No payment has the {column} {value!r}.")
        listed, session = view.listed, self._identity.session(request)
        itself = Standing(column, value, listed.number, listed.alerts, listed.known_frauds)
        page = self._renderer.page(
            "entity.html",
            column=column,
            value=value,
            kind=linked_columns(self._desk.plan).get(column, column),
            view=view,
            listed=listed,
            network=draw_network(view.near, itself) if view.near and view.near.shared else None,
            asked={column_name(column): value},
            entries=view.entries,
            list_form=self._listing.form(request, session, back=entity_path(column, value), values={column: value})
            if column in list_columns(self._desk.plan)
            else None,
            currency=view.currency,
        )
        return self._identity.keep(page, request, session)
