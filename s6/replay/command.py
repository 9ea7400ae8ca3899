"""The command line of `s6 replay`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

from s6.adapters.redis_client import connect
from s6.ports import StateUnavailable
from s6.replay.fold import Doc, UnreadableSnapshot, fold
from s6.replay.life import Life, lives
from s6.replay.proof import Proof, prove, read_live
from s6.settings import Settings, settings_or_exit
from s6.store import Store, StoreError, open_store
from s6.urls import mask_url

PAGE: Final = 500


def main(arguments: Sequence[str]) -> int:
    """Run the command. ``arguments`` are those after ``s6 replay``.

    Returns the exit code: 0 shown or proven, 1 the proof failed, 2 unknown position, unreadable history or no
    connection.
    """
    options = _parser().parse_args(arguments)
    settings = settings_or_exit(need=())
    store = open_store(settings.store_url)
    try:
        return _run(options, settings, store)
    except (StoreError, StateUnavailable, UnreadableSnapshot, OSError) as error:
        return _refuse(str(error))
    finally:
        store.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="s6 replay",
        description="A position's life from its snapshots, as a table and a plot in the terminal by default.",
        epilog="It reads S6_STORE_URL, and with --check S6_REDIS_URL. Nothing is changed. Times are UTC.",
    )
    parser.add_argument("position_id", metavar="POSITION_ID")
    parser.add_argument("--life", type=int, metavar="N", help="only its N-th life (a position that was entered again)")
    parser.add_argument("--json", action="store_true", help="all of it as one JSON object")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with a chart, complete in one file")
    parser.add_argument(
        "--check", action="store_true", help="prove that the snapshots, folded, are the live state; exit code 1 if not"
    )
    return parser


def _run(options: argparse.Namespace, settings: Settings, store: Store) -> int:
    proof = _proof(options.position_id, settings, store) if options.check else None
    if proof is not None and proof.steps == 0:
        return _unknown(options.position_id, settings, live=proof.rev > 0)
    if proof is None or options.json or options.html:
        found = lives(fold(snapshots(store, options.position_id)))
        if not found:
            return _unknown(options.position_id, settings, live=False)
        chosen = [life for life in found if options.life in (None, life.number)]
        if not chosen:
            known = ", ".join(str(life.number) for life in found)
            return _refuse(f"{options.position_id} has no life {options.life}; it has {known}")
        _show(options, chosen, proof)
    if proof is None:
        return 0
    if not options.json:
        _print_proof(options.position_id, proof)
    return 0 if proof.holds else 1


def snapshots(store: Store, position_id: str) -> Iterator[Doc]:
    """Yield all of a position's snapshots by ``seq``, reading page by page."""
    cursor: str | None = None
    while True:
        page = store.snapshots(position_id=position_id, limit=PAGE, cursor=cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _proof(position_id: str, settings: Settings, store: Store) -> Proof:
    try:
        with connect(settings.redis) as redis:
            live = read_live(redis, position_id)
    except RedisError as error:
        raise StateUnavailable(f"Redis {settings.redis}: {error}") from error
    return prove(snapshots(store, position_id), live)


def _show(options: argparse.Namespace, chosen: list[Life], proof: Proof | None) -> None:
    if options.html:
        from s6.replay.page import page

        options.html.write_text(page(chosen), encoding="utf-8")
        print(f"s6: wrote {options.html}", file=sys.stderr)
    if options.json:
        from s6.replay.document import document

        print(document(chosen, proof))
    elif not options.html:
        from s6.replay.terminal import show

        show(chosen)


def _print_proof(position_id: str, proof: Proof) -> None:
    if proof.holds:
        since = f", and {proof.later_commits} commits since that hold nothing new" if proof.later_commits else ""
        waiting = f" ({proof.waiting} of them still on their way to the store)" if proof.waiting else ""
        print(
            f"{position_id}: {proof.steps} snapshots{waiting} with {proof.fills} fills fold into the live state: "
            f"seq {proof.seq}, rev {proof.rev}{since}"
        )
        return
    print(f"{position_id}: the snapshots do not fold into the live state:", file=sys.stderr)
    for fault in proof.faults:
        print(f"  {fault}", file=sys.stderr)


def _unknown(position_id: str, settings: Settings, *, live: bool) -> int:
    more = "; Redis knows it: have its snapshots been pruned?" if live else ""
    return _refuse(f"no snapshots of {position_id} in {mask_url(settings.store_url)}{more}")


def _refuse(text: str) -> int:
    print(f"s6: {text}", file=sys.stderr)
    return 2
