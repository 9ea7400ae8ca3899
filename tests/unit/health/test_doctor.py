"""``s6 doctor``: one line for each thing, and a code that says whether all is well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s6.health.doctor import examine
from s6.settings import Settings, load_settings
from s6.standalone.redis_single import EmbeddedRedis
from s6.store import open_store
from tests.support.http_server import HttpServer, Reply

NEIGHBOURS = ("s1", "s4", "s10", "s12")


@pytest.fixture
def neighbours() -> Iterator[HttpServer]:
    """One server that plays all neighbours."""
    with HttpServer(lambda asked: Reply(body=b"fine")) as server:
        yield server


@pytest.fixture
def settings(redis_url: str, broker_url: str, neighbours: HttpServer, tmp_path: Path) -> Callable[..., Settings]:
    """Settings under which all is well, with some of them changed."""
    store_url = f"sqlite:///{tmp_path}/s6.db"
    store = open_store(store_url)
    store.init()
    store.close()

    def made(**changed: str) -> Settings:
        env = {"S6_REDIS_URL": redis_url, "S6_BROKER_URL": broker_url, "S6_STORE_URL": store_url}
        env |= {f"S6_{name.upper()}_URL": f"{neighbours.url}/{name}" for name in NEIGHBOURS}
        return load_settings(env | changed)

    return made


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The verdict on each thing by its name, with the whole line."""
    rows = capsys.readouterr().out.splitlines()
    return {row.split()[1]: row for row in rows}


def test_all_is_well(
    settings: Callable[..., Settings], neighbours: HttpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examine(settings()) == 0
    found = lines(capsys)
    assert list(found) == ["redis", "broker", "store", *NEIGHBOURS]
    assert {row.split()[0] for row in found.values()} == {"ok"}
    assert sorted(asked.path for asked in neighbours.asked) == sorted(f"/{name}/health" for name in NEIGHBOURS)


def test_each_trouble_is_told_beside_what_is_well(
    settings: Callable[..., Settings], neighbours: HttpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    neighbours.respond = lambda asked: Reply(503 if "/s4/" in asked.path else 200)
    nowhere = {"S6_S10_URL": "http://127.0.0.1:9", "S6_BROKER_URL": "redis://127.0.0.1:9/1"}
    assert examine(settings(**nowhere)) == 1
    found = lines(capsys)
    failed = {name for name, row in found.items() if row.startswith("FAIL")}
    assert failed == {"s4", "s10", "broker"}
    assert "GET /health answered 503" in found["s4"]
    assert "out of reach" in found["s10"]


def test_a_redis_that_may_drop_what_is_live_is_unwell(
    settings: Callable[..., Settings], own_redis: EmbeddedRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    with own_redis.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    assert examine(settings(S6_REDIS_URL=own_redis.url())) == 1
    row = lines(capsys)["redis"]
    assert row.startswith("FAIL") and "allkeys-lru" in row


def test_secrets_are_not_shown(settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(settings(S6_BROKER_URL="redis://user:hidden@127.0.0.1:9/1")) == 1
    assert "hidden" not in capsys.readouterr().out
