"""Where `s6 up` puts things."""

from __future__ import annotations

import argparse
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from s6.settings import NEIGHBOUR_URLS, load_settings
from s6.standalone import environment
from s6.standalone.environment import LocalSetup, UpError, make_environment, paper_arguments
from s6.standalone.free_ports import free_port


@pytest.fixture(autouse=True)
def _own_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_PORT", "PAPER_PORT", "WEB_PORT", "FLOWER_PORT"):
        monkeypatch.setattr(environment, name, free_port())
    for name in (
        "S6_REDIS_URL",
        "S6_BROKER_URL",
        "S6_STORE_URL",
        "S6_API_TOKENS",
        "PORT",
        "FLOWER_PORT",
        *NEIGHBOUR_URLS.values(),
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield int(listening.getsockname()[1])


def options(folder: Path, **given: object) -> argparse.Namespace:
    defaults: dict[str, object] = {
        "data": folder,
        "port": None,
        "candles": [],
        "speed": None,
        "seed": None,
        "paper": True,
        "flower": True,
    }
    return argparse.Namespace(**{**defaults, **given})


def test_every_setting_is_given_and_good(tmp_path: Path) -> None:
    place = LocalSetup(options(tmp_path))
    settings = load_settings(make_environment(place, {}), need=NEIGHBOUR_URLS.values())
    assert place.redis is not None
    assert settings.redis.password == place.redis.password
    assert settings.port == environment.WEB_PORT
    assert settings.neighbours["s4"] == f"http://127.0.0.1:{environment.PAPER_PORT}/s4"
    assert {token.scope for token in settings.api_tokens} == {"ops", "treasury"}
    assert place.notes == []


def test_the_token_and_the_password_stay_and_are_private(tmp_path: Path) -> None:
    first, second = (make_environment(LocalSetup(options(tmp_path)), {}) for _ in range(2))
    assert first["S6_API_TOKENS"] == second["S6_API_TOKENS"]
    assert first["S6_REDIS_URL"] == second["S6_REDIS_URL"]
    for name in ("token", "env.sh", "redis/redis.password"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_taken_default_gives_way_and_says_so(tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "WEB_PORT", taken)
    place = LocalSetup(options(tmp_path))
    assert place.port != taken
    assert place.notes == [f"port {taken} is taken: PORT uses {place.port}"]


def test_a_taken_port_that_was_asked_for_is_an_error(tmp_path: Path, taken: int) -> None:
    with pytest.raises(UpError, match=f"PORT={taken}: something else is listening there"):
        LocalSetup(options(tmp_path, port=taken))


def test_what_is_given_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "S6_REDIS_URL": "redis://:secret@10.0.0.1/3",
        "S6_API_TOKENS": "me:ops:mine",
        "S6_STORE_URL": "sqlite:///x",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    place = LocalSetup(options(tmp_path))
    made = make_environment(place, given)
    assert {name: made[name] for name in given} == given
    assert place.redis is None
    assert place.notes == ["S6_REDIS_URL is set: using redis://***@10.0.0.1/3"]
    assert "secret" not in "".join(place.summary(made, healthy=True))


def test_without_paper_the_neighbours_are_left_as_they_are(tmp_path: Path) -> None:
    made = make_environment(LocalSetup(options(tmp_path, paper=False)), {"S6_S4_URL": "http://s4"})
    assert made["S6_S4_URL"] == "http://s4"
    assert "S6_S1_URL" not in made


def test_candles_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "btc.csv").touch()
    monkeypatch.chdir(tmp_path)
    place = LocalSetup(options(tmp_path / "var", candles=["BTCUSDT=btc.csv", "btc.csv"], speed=90.0, seed=3))
    file = str(tmp_path / "btc.csv")
    assert paper_arguments(place)[3:] == [
        *("--state", str(place.data / "paper.db")),
        *("--candles", f"BTCUSDT={file}", "--candles", file),
        *("--speed", "90.0", "--seed", "3"),
    ]


def test_the_box_says_where_everything_is(tmp_path: Path) -> None:
    place = LocalSetup(options(tmp_path, flower=False))
    box = "\n".join(place.summary(make_environment(place, {}), healthy=True))
    assert place.token() in box
    assert f"http://127.0.0.1:{place.port}/docs" in box
    assert "Ctrl-C" in box
    assert "Flower" not in box
