"""The container files against the program they carry: process types, settings, ports, queues, and no secret."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from s6.adapters.redis_client import RedisClient
from s6.health.heartbeat import send_heartbeat
from s6.settings import load_settings
from tests.support.http_server import HttpServer, Reply
from tests.support.procs import ROOT, procfile

DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
EXAMPLE = dict(re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", (DOCKER / ".env.example").read_text(), re.MULTILINE))
S6 = [name for name, service in SERVICES.items() if "S6_REDIS_URL" in service.get("environment", {})]
LASTING = [name for name in SERVICES if name not in ("init-store", "contract")]


def documented_settings() -> set[str]:
    page = (ROOT / "docs/settings.md").read_text()
    return set(re.findall(r"`(S6_[A-Z0-9_]+|PORT|FLOWER_PORT)`", page))


def interpolated() -> set[str]:
    return set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", (DOCKER / "compose.yaml").read_text()))


# --- compose ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(procfile()))
def test_every_process_type_has_a_service(kind: str) -> None:
    assert SERVICES[kind]["command"][0] == kind
    assert "profiles" not in SERVICES[kind]


def test_two_beats() -> None:
    assert SERVICES["beat"]["deploy"]["replicas"] == "${S6_BEATS:-2}"


@pytest.mark.parametrize("name", S6)
def test_only_settings_that_there_are(name: str) -> None:
    assert set(SERVICES[name]["environment"]) <= documented_settings()


def test_the_settings_are_valid_with_the_example_filled_in() -> None:
    given = {name: value or "a1" for name, value in EXAMPLE.items()} | {"S6_API_TOKENS": "me:ops:secret"}
    given |= {"S6_NOTIFY_URLS": ""}

    def fill(match: re.Match[str]) -> str:
        return given.get(match[1]) or (match[2] or "").removeprefix("-").removeprefix(":-")

    environment = SERVICES["web"]["environment"]
    pattern = re.compile(r"\$\{([A-Z0-9_]+)(:[-?][^}]*)?\}")
    settings = load_settings({name: pattern.sub(fill, str(value)) for name, value in environment.items()})
    assert (settings.port, settings.flower_port) == (8000, 5555)
    assert settings.redis.nodes[0].host == "redis"
    assert settings.store_url == "arango+http://root:a1@arangodb:8529/s6"
    assert settings.neighbours["s4"] == "http://paper:8900/s4"


def test_the_example_names_what_compose_asks_for_and_holds_no_secret() -> None:
    assert interpolated() == set(EXAMPLE)
    secret = [name for name in EXAMPLE if re.search(r"PASSWORD|TOKEN|SECRET|KEY|NOTIFY", name)]
    assert len(secret) >= 4
    assert [name for name in secret if EXAMPLE[name]] == []
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_restarted(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", S6)
def test_s6_runs_with_little_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["init"] is True
    assert int(service["stop_grace_period"].removesuffix("s")) > 10


def test_redis_keeps_everything() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "redis:/data" in SERVICES["redis"]["volumes"]


def test_data_is_in_named_volumes() -> None:
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {name for name in named if not name.startswith("./")} == set(COMPOSE["volumes"])


def test_what_has_no_sign_in_is_on_loopback() -> None:
    for name in ("flower", "prometheus"):
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])
    for name in ("redis", "arangodb", "paper", "worker"):
        assert "ports" not in SERVICES[name]


def test_profiles() -> None:
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "paper": ["paper"],
        "contract": ["ci"],
    }
    assert "S6_TEST_ARANGO_URL" in SERVICES["contract"]["environment"]
    assert SERVICES["contract"]["command"] == ["pytest", "tests/contract"]


def test_prometheus_asks_web() -> None:
    config = yaml.safe_load((DOCKER / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"web:{SERVICES['web']['environment']['PORT']}"]}]
    mounted = {volume.split(":")[0] for volume in SERVICES["prometheus"]["volumes"]}
    assert {"./prometheus.yml", *(f"./{name}" for name in config["rule_files"])} <= mounted


def test_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        tag = service["image"].rpartition(":")[2]
        assert tag and tag != "latest", name


# --- the image ----------------------------------------------------------------------------------------------------


def test_the_image_is_small_and_unprivileged() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert last.startswith("python:${PYTHON} AS runtime")
    assert re.search(r"^ARG PYTHON=3\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["10001:10001"]
    assert "apt-get" not in last
    assert "HEALTHCHECK" in last
    for install in re.findall(r"pip install [^\n\\]*", DOCKERFILE):
        assert re.search("--constraint constraints.txt|--no-deps", install)


def test_the_image_has_all_that_the_procfile_starts() -> None:
    copied = {word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]}
    for name in ("s6", "tasks", "web", "Procfile", "celeryconfig.py", "constraints.txt"):
        assert name in copied
    kept = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    for name in copied - {"--from=build", "/opt/venv", "/app"}:
        assert f"!{name}" in kept, name
        assert (ROOT / name).exists(), name


def test_the_image_holds_bytecode_for_all_it_runs() -> None:
    """Where nothing may be written later, each start would compile everything anew."""
    build, runtime = DOCKERFILE.split(" AS build\n")[1].split("\nFROM ")[0], DOCKERFILE.rpartition("\nFROM ")[2]
    [compiled] = re.findall(r"python -m compileall .*unchecked-hash (.+)$", build, re.MULTILINE)
    assert compiled.split() == ["/opt/venv/lib", "s6", "tasks", "web", "celeryconfig.py"]
    assert build.index("compileall") > build.rindex("pip install")
    assert "PYTHONDONTWRITEBYTECODE=1" in runtime


def test_ports_agree() -> None:
    settings = load_settings({})
    assert f"EXPOSE {settings.port} {settings.flower_port}" in DOCKERFILE
    for name, port in (("PORT", settings.port), ("FLOWER_PORT", settings.flower_port)):
        assert f"{name}={port}" in DOCKERFILE
        assert SERVICES["web"]["environment"][name] == str(port)


# --- entrypoint and health check ----------------------------------------------------------------------------------


def entrypoint(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it where every program only tells how it was called."""
    for name in ("celery", "s6"):
        program = folder / name
        program.write_text('#!/bin/sh\necho "$(basename "$0")" "$@" in "$(pwd -P)"\n')
        program.chmod(0o755)
    env = {"PATH": f"{folder}:/usr/bin:/bin", "TMPDIR": str(folder)}
    return subprocess.run(
        [DOCKER / "entrypoint", *words], env=env, cwd="/", capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("kind", sorted(procfile()))
def test_a_process_type_runs_by_its_line(kind: str, tmp_path: Path) -> None:
    ended = entrypoint(tmp_path, kind, "-Q", "two words")
    assert ended.stdout == f"{procfile()[kind]} -Q two words in {ROOT}\n"
    assert (tmp_path / "s6-process-type").read_text() == kind


def test_anything_else_is_a_command(tmp_path: Path) -> None:
    assert entrypoint(tmp_path, "s6", "init-store").stdout == "s6 init-store in /\n"
    assert not (tmp_path / "s6-process-type").exists()
    assert "name a process type" in entrypoint(tmp_path).stderr


def healthcheck(tmp_path: Path, kind: str, **env: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "s6-process-type").write_text(kind)
    command = [sys.executable, str(DOCKER / "healthcheck.py")]
    whole = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), **env}
    return subprocess.run(command, env=whole, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", ["worker", "beat", "listener"])
def test_a_process_is_well_while_its_heart_beats(
    kind: str, tmp_path: Path, redis_url: str, redis_client: RedisClient
) -> None:
    ended = healthcheck(tmp_path, kind, S6_REDIS_URL=redis_url)
    assert (ended.returncode, "no heartbeat" in ended.stdout) == (1, True), ended.stderr
    send_heartbeat(redis_client, kind, 1)  # type: ignore[arg-type]
    assert healthcheck(tmp_path, kind, S6_REDIS_URL=redis_url).returncode == 0


def test_no_process_is_blamed_for_redis(tmp_path: Path) -> None:
    ended = healthcheck(tmp_path, "worker", S6_REDIS_URL="redis://127.0.0.1:9/0")
    assert (ended.returncode, "Redis can't be asked" in ended.stdout) == (0, True)


@pytest.mark.parametrize(("kind", "variable"), [("web", "PORT"), ("flower", "FLOWER_PORT")])
def test_any_answer_of_a_server_is_a_sign_of_life(kind: str, variable: str, tmp_path: Path) -> None:
    with HttpServer(lambda asked: Reply(503)) as server:
        port = server.url.rpartition(":")[2]
        assert healthcheck(tmp_path, kind, **{variable: port}).returncode == 0
    assert healthcheck(tmp_path, kind, **{variable: port}).returncode == 1


def test_a_command_of_its_own_has_no_health() -> None:
    ended = subprocess.run([sys.executable, str(DOCKER / "healthcheck.py"), "s6"], check=False)
    assert ended.returncode == 0
