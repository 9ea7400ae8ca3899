"""The command `s6`. A subcommand imports what it needs when it runs, so that `s6 --help` is quick."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

Options = argparse.Namespace
Run = Callable[[Options], int | None]
if TYPE_CHECKING:  # the class is generic only for the type checker
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns the exit code: 0 success, 1 the command found something wrong, 2 it could not run as asked.
    """
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.passes_on:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return int(options.run(options) or 0)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="s6", description="S6 Position Manager. The settings come from the environment (see docs/settings.md)."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_up(commands)
    _add(commands, "web", _web, "serve the API and the panel")
    _add(commands, "listener", _listener, "read the streams: results, market, features, configuration")
    _add_passing_on(commands, "paper", _paper, "S1, S4, S10 and S12 on paper (its own --help)")
    _add_passing_on(commands, "replay", _replay, "a position's life from its snapshots (its own --help)")
    _add(commands, "doctor", _doctor, "check the settings and everything they point to")
    _add(commands, "init-store", _init_store, "create the store's collections and indexes")
    prune = _add(commands, "prune", _prune, "delete old history; what is open or stands is kept")
    prune.add_argument("--older-than-days", type=int, default=365, metavar="N", help="(365)")
    _add(commands, "version", _version, "print the version")
    return parser


def _add(commands: Commands, name: str, run: Run, help: str, *, add_help: bool = True) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=help, add_help=add_help)
    parser.set_defaults(run=run, passes_on=False)
    return parser


def _add_passing_on(commands: Commands, name: str, run: Run, help: str) -> None:
    _add(commands, name, run, help, add_help=False).set_defaults(passes_on=True)


def _add_up(commands: Commands) -> None:
    add = _add(commands, "up", _up, "start the whole system on embedded parts, in the foreground").add_argument
    add("--data", type=Path, default=Path("var"), metavar="DIR", help="where Redis and the store keep their data (var)")
    add("--port", type=int, metavar="N", help="of the web process (PORT, else 8000, else a free one)")
    add("--candles", action="append", default=[], metavar="[SYMBOL=]FILE", help="candle CSV for the paper market")
    add("--speed", type=float, metavar="N", help="market seconds per second of the paper market (60)")
    add("--seed", type=int, metavar="N", help="of the paper market's random walk")
    add("--paper", action=argparse.BooleanOptionalAction, default=True, help="start paper neighbours (yes)")
    add("--flower", action=argparse.BooleanOptionalAction, default=True, help="start Flower (yes)")


def _up(options: Options) -> int:
    from s6.settings import SettingsError
    from s6.standalone.redis_server import EmbeddedError
    from s6.standalone.up import UpError, up

    with _one_line_errors(UpError, EmbeddedError, SettingsError, OSError):
        return up(options)


def _web(options: Options) -> None:
    from s6.settings import settings_or_exit
    from web.server import serve

    settings = settings_or_exit()
    with _one_line_errors(OSError):
        serve(settings)


def _listener(options: Options) -> int | None:
    from s6.listener import main as listen
    from tasks.hints import CeleryHints

    return listen(CeleryHints())


def _paper(options: Options) -> int:
    from s6.paper.main import main as paper

    arguments = list(options.rest)
    redis_url = os.environ.get("S6_REDIS_URL")
    if redis_url and not any(word.startswith("--redis-url") for word in arguments):
        arguments += ["--redis-url", redis_url]
    return paper(arguments)


def _replay(options: Options) -> int | None:
    from s6.replay import main as replay

    return replay(options.rest)


def _doctor(options: Options) -> int:
    from s6.health.doctor import examine
    from s6.settings import settings_or_exit

    return examine(settings_or_exit())


def _init_store(options: Options) -> None:
    from s6.settings import settings_or_exit
    from s6.store import StoreError
    from s6.store.admin import init_store

    url = settings_or_exit(need=()).store_url
    with _one_line_errors(StoreError, OSError):
        init_store(url)
    print("s6: the store is ready")


def _prune(options: Options) -> None:
    from s6.settings import settings_or_exit
    from s6.store import StoreError
    from s6.store.admin import prune

    url = settings_or_exit(need=()).store_url
    with _one_line_errors(StoreError, OSError):
        deleted = prune(url, options.older_than_days)
    print("s6: deleted " + ", ".join(f"{count} of {name}" for name, count in sorted(deleted.items())))


def _version(options: Options) -> None:
    from importlib.metadata import version

    print(f"s6 {version('s6')}")


@contextmanager
def _one_line_errors(*errors: type[Exception]) -> Iterator[None]:
    """End the program with one line on stderr for ``errors``, whose causes lie outside it."""
    try:
        yield
    except errors as error:
        print(f"s6: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    sys.exit(main())
