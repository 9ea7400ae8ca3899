"""Embedded servers: private, durable, one to a folder, and gone with whoever started them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from redis.exceptions import AuthenticationError

from s6.adapters.redis_client import connect
from s6.standalone import redis_server as server
from s6.standalone.free_ports import is_free
from s6.standalone.redis_server import EmbeddedError
from s6.standalone.redis_single import EmbeddedRedis
from tests.support.procs import ROOT
from tests.support.waiting import wait_for


def test_the_data_survives_a_kill_and_another_start(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as first, connect(first.url(3)) as client:
        client.set("kept", "yes")
        first.kill()
    with EmbeddedRedis(tmp_path) as second, connect(second.url(3)) as client:
        assert client.get("kept") == "yes"
        assert second.password == first.password


def test_it_keeps_its_password_to_itself(own_redis: EmbeddedRedis) -> None:
    for name in ("redis.password", "redis.conf"):
        assert stat.S_IMODE((own_redis.folder / name).stat().st_mode) == 0o600
    with connect(f"redis://:wrong@{own_redis.address}") as client, pytest.raises(AuthenticationError):
        client.ping()
    assert own_redis.password not in Path(f"/proc/{own_redis.pid}/cmdline").read_text()
    with own_redis.client() as admin:
        assert admin.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert admin.config_get("appendonly")["appendonly"] == "yes"
        assert admin.config_get("bind")["bind"] == "127.0.0.1"


def test_a_folder_serves_one_server_at_a_time(own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOP_S", -1.5)
    with pytest.raises(EmbeddedError, match="another Redis server is using"):
        EmbeddedRedis(own_redis.folder).start()


def test_a_port_that_is_taken_is_a_clear_error(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"ended at once: .*in use"):
        EmbeddedRedis(tmp_path / "other", port=own_redis.port).start()


def test_nothing_outlives_an_owner_killed_with_sigkill(tmp_path: Path) -> None:
    """Not even a grandchild that hears no SIGTERM."""
    script = f"""
import time
from pathlib import Path
from s6.standalone.redis_single import EmbeddedRedis
from s6.standalone.guardian import guardian
redis = EmbeddedRedis(Path({str(tmp_path)!r})).start()
child = guardian().popen(["/bin/sh", "-c", "sleep 600 & echo $! > {tmp_path}/grandchild; wait"])
while not (grandchild := Path("{tmp_path}/grandchild")).exists() or not grandchild.read_text():
    time.sleep(0.01)
print(redis.port, redis.pid, child.pid, grandchild.read_text(), flush=True)
time.sleep(600)
"""
    owner = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        port, *pids = map(int, owner.stdout.readline().split())
        os.kill(owner.pid, signal.SIGKILL)
    assert len(pids) == 3
    wait_for(lambda: not any(_lives(pid) for pid in pids), 15, "the end of all children")
    assert is_free(port)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
