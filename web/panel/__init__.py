"""The panel for people at ``/``: it shows what S6 sees and does, and takes people's decisions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

from flask import Blueprint, Flask, Response, current_app, flash, make_response, redirect, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from s6.model.types import POSITION_ID, SYMBOL
from s6.settings import Scope
from s6.store import StoreError
from web import archive
from web.auth import Caller
from web.panel import history, session, words
from web.panel.overview import Watch
from web.panel.positions import rows_of
from web.problems import Problem, as_problem, not_found
from web.services import Services, services

log = logging.getLogger(__name__)

blueprint = Blueprint("panel", __name__)

_ACTIONS = ("EVAL", "PAUSE", "RESUME", "EXIT", "WRITE_OFF")
_LONGEST_NOTE = 500


def install(app: Flask) -> None:
    """Add the panel to the app."""
    app.session_interface = session.PanelSessions()
    app.extensions["s6.watch"] = Watch(app.extensions["s6"])
    words.install(app)
    app.register_blueprint(blueprint)


@blueprint.get("/")
def overview() -> AnyResponse | str:
    caller = session.current()
    if caller is None:
        return render_template("panel/sign_in.html")
    return _overview("panel/overview.html", caller)


@blueprint.get("/panel/overview")
def overview_part() -> AnyResponse | str:
    """Return the self-updating part of the first page."""
    return _overview("panel/_overview.html", _signed_in())


@blueprint.get("/panel/positions/<position_id>")
def position(position_id: str) -> AnyResponse | str:
    caller = session.current()
    if caller is None:
        return redirect("/", 303)
    return _position("panel/position.html", caller, position_id)


@blueprint.get("/panel/positions/<position_id>/part")
def position_part(position_id: str) -> AnyResponse | str:
    """Return the self-updating part of a position's page."""
    return _position("panel/_position.html", _signed_in(), position_id)


@blueprint.post("/panel/sign-in")
def sign_in() -> AnyResponse | str:
    session.refuse_foreign()
    if session.sign_in(request.form.get("token", "")) is None:
        return make_response(render_template("panel/sign_in.html", wrong=True), 401)
    return redirect("/", 303)


@blueprint.post("/panel/sign-out")
def sign_out() -> AnyResponse:
    session.acting("read")
    session.sign_out()
    return redirect("/", 303)


@blueprint.post("/panel/positions/<position_id>/manage")
def manage(position_id: str) -> AnyResponse:
    def act(known_services: Services, caller: Caller) -> str:
        action = request.form.get("action", "")
        if action not in _ACTIONS:
            raise Problem(422, "INVALID", "choose one of the actions")
        loaded = known_services.state.load(position_id) if POSITION_ID.fullmatch(position_id) else None
        if loaded is None:
            raise not_found(f"there is no position {position_id[:80]}")
        known = loaded.position
        known_services.commands.execute(position_id, known.symbol, known.market, action, caller.name, _note("reason"))
        return {
            "EVAL": "Governed once.",
            "PAUSE": "Paused: the stop stays, risk is still reduced.",
            "RESUME": "Resumed.",
            "EXIT": "Closing at market.",
            "WRITE_OFF": "Written off: the books are closed at the mark.",
        }[action]

    return _act("ops", act, f"/panel/positions/{position_id}")


@blueprint.post("/panel/alerts/<alert_id>/ack")
def acknowledge(alert_id: str) -> AnyResponse:
    def act(known_services: Services, caller: Caller) -> str:
        if known_services.commands.acknowledge(alert_id, by=caller.name, note=_note("note")) is None:
            raise not_found("this alert is gone")
        return "Acknowledged."

    return _act("ops", act, "/")


@blueprint.post("/panel/transfers/<transfer_id>/<any(approve,reject):decision>")
def decide(transfer_id: str, decision: str) -> AnyResponse:
    def act(known_services: Services, caller: Caller) -> str:
        if decision == "approve":
            known_services.treasury.approve(transfer_id, caller.name, _note("note"))
            return "Approved."
        known_services.treasury.reject(transfer_id, caller.name, _note("note"))
        return "Rejected."

    return _act("treasury", act, "/")


@blueprint.errorhandler(Exception)
def failed(error: Exception) -> AnyResponse:
    """Return a page for an error."""
    if isinstance(error, HTTPException) and (error.code is None or error.code < 400):
        return error.get_response()
    problem = as_problem(error)
    page = render_template("panel/error.html", problem=problem, caller=session.current(), csrf=session.csrf_token())
    return Response(page, problem.status, dict(problem.headers))


def _act(scope: Scope, act: Callable[[Services, Caller], str], back: str) -> AnyResponse:
    """Carry out a form's action, and redirect to the page with its outcome."""
    caller = session.acting(scope)
    try:
        flash(act(services(), caller), "done")
    except Exception as error:  # the page shows any error
        flash(_sentence(as_problem(error)), "refused")
    _watch().forget()
    return redirect(back, 303)


def _sentence(problem: Problem) -> str:
    text = problem.detail[:1].upper() + problem.detail[1:]
    wait = problem.headers.get("Retry-After")
    return f"{text}. Try again in {wait} s." if wait else f"{text}."


def _note(field: str) -> str:
    text = " ".join(request.form.get(field, "").split())
    if len(text) > _LONGEST_NOTE:
        raise Problem(422, "INVALID", f"a note may have {_LONGEST_NOTE} characters at most")
    return text


def _signed_in() -> Caller:
    caller = session.current()
    if caller is None:
        raise Problem(401, "UNAUTHORIZED", "you are not signed in")
    return caller


def _overview(template: str, caller: Caller) -> str:
    asked = request.args.get("symbol", "").strip().upper()
    symbol = asked if SYMBOL.fullmatch(asked) else ""
    return render_template(
        template,
        look=_watch().overview(symbol),
        symbol=symbol,
        unknown=asked if asked and not symbol else "",
        caller=caller,
        csrf=session.csrf_token(),
    )


def _position(template: str, caller: Caller, position_id: str) -> str:
    known_services = services()
    loaded = archive.find(known_services, position_id)
    if loaded is None:
        raise not_found(f"there is no position {position_id[:80]}")
    try:
        snapshots = history.newest(known_services, position_id)
    except StoreError as error:
        log.warning("the panel misses the timeline of %s: %s", position_id, error)
        snapshots = None
    return render_template(
        template,
        row=rows_of(known_services, [loaded])[0],
        snapshots=snapshots,
        chart=history.chart(snapshots or ()),
        caller=caller,
        csrf=session.csrf_token(),
        at_ms=known_services.clock.now_ms(),
    )


def _watch() -> Watch:
    return cast(Watch, current_app.extensions["s6.watch"])
