"""The pages of lists: who is allowed, blocked or watched, and for whom a rule is silent."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fraud_pipelines.decisions.configuration import rules_in_force
from fraud_pipelines.decisions.entity_lists import DAYS, LISTS, MAX_CHARACTERS, ListEntry, list_columns
from fraud_pipelines.decisions.hard_rules import HardRules
from fraud_pipelines.decisions.payment_filters import day_of
from fraud_pipelines.decisions.rule_promotions import rules_of_day
from fraud_pipelines.errors import InvalidInput, WarehouseBusy
from fraud_pipelines.review.desk import Desk
from fraud_pipelines.review.forms import read_form
from fraud_pipelines.review.identity import Identity
from fraud_pipelines.review.rendering import Renderer
from fraud_pipelines.settings import Settings

SUBJECT: Final = "lists"
"""What the token of these forms is about."""
_PLACES: Final = ("/case?", "/cases/case?", "/entity?", "/lists")
"""Where a form may lead back to."""


class Listing:
    """The handlers."""

    def __init__(self, desk: Desk, renderer: Renderer, identity: Identity, settings: Settings) -> None:
        self._desk = desk
        self._renderer = renderer
        self._identity = identity
        self._settings = settings

    def lists(self, request: Request) -> Response:
        ended = bool(request.query_params.get("ended"))
        entries = self._desk.list_entries(ended=ended)
        session = self._identity.session(request)
        page = self._renderer.page(
            "lists.html",
            entries=entries,
            ended=ended,
            today=datetime.now(UTC).date(),
            list_form=self.form(request, session, back="/lists"),
        )
        return self._identity.keep(page, request, session)

    def form(
        self, request: Request, session: str, *, back: str, values: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """What the form for a new entry shows; with ``values`` it is about one of these columns."""
        return {
            "lists": LISTS,
            "columns": list_columns(self._desk.plan),
            "values": values,
            "rules": [rule.name for rule in self._rules().rules],
            "expires": datetime.now(UTC).date() + timedelta(days=DAYS),
            "longest": MAX_CHARACTERS,
            "token": self._identity.token(session, SUBJECT),
            "back": back,
            **self._identity.asking(request),
        }

    async def add(self, request: Request) -> Response:
        form = await read_form(request)
        return await self._changed(request, form, "/lists/add", self._add)

    async def remove(self, request: Request) -> Response:
        form = await read_form(request)
        return await self._changed(request, form, "/lists/remove", self._remove)

    def _rules(self) -> HardRules:
        """Those that decide today, and no others: what is in shadow is not for reviewers."""
        rules = rules_in_force(self._settings)
        if not rules.in_shadow:
            return rules
        with self._desk.reading() as warehouse:
            return rules_of_day(warehouse, rules, datetime.now(UTC).date())

    def _add(self, form: Mapping[str, str], author: str) -> ListEntry:
        column, _, value = form.get("about", "").partition(":")
        return self._desk.add_to_list(
            list_name=form.get("list", ""),
            column=column or form.get("column", ""),
            value=value or form.get("value", ""),
            reason=form.get("reason", ""),
            expires=day_of("expires", form["expires"]) if form.get("expires") else None,
            rule=form.get("rule", "") if form.get("list") == "snooze" else "",
            rules=self._rules(),
            author=author,
            named_by=self._identity.named_by,
        )

    def _remove(self, form: Mapping[str, str], author: str) -> ListEntry:
        return self._desk.take_off_list(form.get("entry_id", ""), author=author)

    async def _changed(self, request: Request, form: dict[str, str], action: str, change: Any) -> Response:
        """What ``change`` makes of the form, if it was shown to this browser and says who sends it."""
        if not self._identity.is_valid(request, form.get("token", ""), SUBJECT):
            return self._renderer.expired()
        author = self._identity.reviewer(request, form)
        if not author:
            return self._renderer.message(400, "Who says so?", self._identity.if_missing)
        try:
            await run_in_threadpool(change, form, author)
        except WarehouseBusy:
            shown = {
                name.replace("_", " "): form[name]
                for name in ("list", "about", "column", "value", "reason")
                if form.get(name)
            }
            return self._renderer.busy(form, action=action, noun="change to a list", shown=shown)
        except InvalidInput as error:
            return self._renderer.message(400, "The list can't be changed.", str(error))
        back = form.get("back", "")
        answer = RedirectResponse(back if back.startswith(_PLACES) else "/lists", status_code=303)
        return self._identity.remember(answer, author)
