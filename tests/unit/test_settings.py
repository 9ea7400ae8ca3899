"""Settings: defaults, every address form, and faults in one line without secrets."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.connection import Connection

from s6.settings import NEIGHBOUR_URLS, ApiToken, Settings, SettingsError, load_settings, settings_or_exit
from s6.urls import Node, parse_redis

URLS = {name: f"http://127.0.0.1:{9000 + index}/" for index, name in enumerate(NEIGHBOUR_URLS.values())}


def load(**env: str) -> Settings:
    return load_settings(env)


def fault(**env: str) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings(env)
    line = str(refused.value)
    assert "\n" not in line
    return line


def test_defaults() -> None:
    settings = load()
    assert settings.redis.nodes == (Node("127.0.0.1", 6379),)
    assert (settings.redis.kind, settings.redis.db, settings.redis.password) == ("single", 0, None)
    assert (settings.broker.url, settings.broker.options) == ("redis://127.0.0.1:6379/1", {})
    assert settings.store_url == "sqlite:///var/s6.db"
    assert (settings.manage_tick_s, settings.treasury_tick_s, settings.config_poll_s) == (10, 300, 30)
    assert settings.closed_keep_s == 86_400
    assert (settings.port, settings.flower_port, settings.worker_threads) == (8000, 5555, 16)
    assert settings.api_tokens == ()
    assert settings.notify_urls == ()
    assert (settings.log_level, settings.log_format) == ("INFO", "text")


def test_an_empty_value_counts_as_not_set() -> None:
    empty = load_settings(
        dict.fromkeys(("S6_REDIS_URL", "S6_BROKER_URL", "PORT", "S6_MANAGE_TICK_S", *NEIGHBOUR_URLS.values()), "")
    )
    assert (empty.port, empty.manage_tick_s, str(empty.redis)) == (8000, 10, "redis://127.0.0.1:6379/0")


def test_neighbours_are_base_urls_without_trailing_slash() -> None:
    settings = load_settings(URLS, need=NEIGHBOUR_URLS.values())
    assert (settings.neighbours["s1"], settings.neighbours["s12"]) == ("http://127.0.0.1:9000", "http://127.0.0.1:9003")
    assert load(S6_S4_URL="https://u:p@s4.example/api/").neighbours["s4"] == "https://u:p@s4.example/api"


@pytest.mark.parametrize("missing", NEIGHBOUR_URLS.values())
def test_a_missing_neighbour_is_named(missing: str) -> None:
    with pytest.raises(SettingsError, match=f"^{missing} is not set; allowed is the base URL"):
        load_settings({name: url for name, url in URLS.items() if name != missing}, need=NEIGHBOUR_URLS.values())


@pytest.mark.parametrize(
    ("url", "kind", "nodes", "service", "db", "tls"),
    [
        ("redis://h", "single", [("h", 6379)], "", 0, False),
        ("redis://:pw@h:7000/3", "single", [("h", 7000)], "", 3, False),
        ("rediss://user:p%40w@h:7000", "single", [("h", 7000)], "", 0, True),
        ("redis://[::1]:7000/0", "single", [("::1", 7000)], "", 0, False),
        ("redis+cluster://u:pw@h1:1,h2:2", "cluster", [("h1", 1), ("h2", 2)], "", 0, False),
        ("redis+sentinel://:pw@h1:1,h2/main/2", "sentinel", [("h1", 1), ("h2", 26379)], "main", 2, False),
        ("redis+sentinel://h1:1/main", "sentinel", [("h1", 1)], "main", 0, False),
    ],
)
def test_redis_urls(url: str, kind: str, nodes: list[tuple[str, int]], service: str, db: int, tls: bool) -> None:
    target = parse_redis(url)
    assert (target.kind, list(target.nodes), target.service, target.db, target.tls) == (kind, nodes, service, db, tls)


def test_redis_credentials_are_decoded_and_never_shown() -> None:
    settings = load(S6_REDIS_URL="rediss://us%3Aer:p%40w@h:7000/2?ssl_ca_certs=/etc/ca.pem")
    assert (settings.redis.username, settings.redis.password) == ("us:er", "p@w")
    assert settings.redis.tls_options == {"ssl_ca_certs": "/etc/ca.pem"}
    assert str(settings.redis) == "rediss://h:7000/2"
    assert "p@w" not in repr(settings)
    assert "p%40w" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://h:1",
        "redis://",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:port",
        "redis://h/x",
        "redis://h/-1",
        "redis://h1:1,h2:2/0",
        "redis+cluster://h1:1,h2:2/1",
        "redis+cluster://h1:1,",
        "redis+sentinel://h1:1",
        "redis+sentinel://h1:1/service/x",
        "redis://h:1/0?colour=red",
        "redis://[::1",
    ],
)
def test_bad_redis_urls_are_refused_with_what_is_allowed(url: str) -> None:
    assert fault(S6_REDIS_URL=url).startswith(f"S6_REDIS_URL={url!r} is not allowed; allowed is redis://")


def test_broker_of_a_single_redis_is_database_1_with_its_credentials() -> None:
    assert load(S6_REDIS_URL="redis://u:p%40w@h:7000/0").broker.url == "redis://u:p%40w@h:7000/1"
    assert load(S6_REDIS_URL="redis://:pw@[::1]:7000").broker.url == "redis://:pw@[::1]:7000/1"


def test_broker_over_tls_checks_certificates_unless_told_otherwise() -> None:
    checked = Connection(load(S6_REDIS_URL="rediss://h:7000").broker.url)
    lax = Connection(load(S6_REDIS_URL="rediss://h:7000?ssl_cert_reqs=none").broker.url)
    assert checked.ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    assert lax.ssl == {"ssl_cert_reqs": ssl.CERT_NONE}


def test_broker_of_a_sentinel_is_in_celerys_form() -> None:
    url = "redis+sentinel://:pw@h1:1,h2:2/main/4?sentinel_password=spw"
    broker = load(S6_REDIS_URL=url).broker
    assert broker.url == "sentinel://:pw@h1:1/1;sentinel://:pw@h2:2/1"
    assert broker.options == {"master_name": "main", "sentinel_kwargs": {"password": "spw"}}
    connection = Connection(broker.url, transport_options=dict(broker.options))
    assert [connection.hostname, connection.port, connection.virtual_host] == ["h1", 1, "1"]
    own = load(S6_BROKER_URL="redis+sentinel://h1:1/other/3").broker
    assert (own.url, own.options) == ("sentinel://h1:1/3", {"master_name": "other"})


def test_a_cluster_needs_a_broker_of_its_own() -> None:
    cluster = "redis+cluster://h1:1,h2:2"
    assert fault(S6_REDIS_URL=cluster).startswith("S6_BROKER_URL is not set and S6_REDIS_URL is a cluster; allowed is")
    assert load(S6_REDIS_URL=cluster, S6_BROKER_URL="amqp://g:g@mq//").broker.url == "amqp://g:g@mq//"
    assert fault(S6_REDIS_URL=cluster, S6_BROKER_URL=cluster).startswith("S6_BROKER_URL='redis+cluster://h1:1,h2:2' is")


@pytest.mark.parametrize("url", ["h:6379", "memory://", "sentinel://h:1", "amqp://", "redis://h/x"])
def test_bad_broker_urls_are_refused(url: str) -> None:
    assert fault(S6_BROKER_URL=url).startswith(f"S6_BROKER_URL={url!r} is not allowed; allowed is redis://")


@pytest.mark.parametrize(
    "url", ["sqlite:///var/s6.db", "sqlite:////srv/s6.db", "arango+http://u:p@h:8529/db", "arango+https://u:p@h/db"]
)
def test_store_urls(url: str) -> None:
    assert load(S6_STORE_URL=url).store_url == url


@pytest.mark.parametrize(
    "url",
    [
        "s6.db",
        "sqlite:s6.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:////srv/",
        "mysql://u@h/d",
        "arango+http://h:8529/db",
        "arango+http://u:p@h:8529",
        "arango+http://u:p@h:0/db",
    ],
)
def test_bad_store_urls_are_refused(url: str) -> None:
    assert "is not allowed; allowed is sqlite:///path or arango+http(s)" in fault(S6_STORE_URL=url)


@pytest.mark.parametrize(
    "url", ["s4:80", "ftp://s4", "http://", "http://s4:0", "http://s4/?q=1", "http://s4/#f", "http://s 4"]
)
def test_bad_neighbour_urls_are_refused(url: str) -> None:
    assert fault(S6_S4_URL=url) == f"S6_S4_URL={url!r} is not allowed; allowed is the base URL of a service, like " + (
        "http://host:port"
    )


def test_api_tokens() -> None:
    settings = load(S6_API_TOKENS="alice:ops:t0k:en=, bob:read:xyz,alice:treasury:t0k:en=,")
    assert settings.api_tokens == (
        ApiToken("alice", "ops", "t0k:en="),
        ApiToken("bob", "read", "xyz"),
        ApiToken("alice", "treasury", "t0k:en="),
    )
    assert "xyz" not in repr(settings)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("secret", "***"),
        ("alice:secret", "***"),
        ("alice:admin:secret", "alice:admin:***"),
        ("alice:ops:", "alice:ops:***"),
        (":ops:secret", ":ops:***"),
        ("bob:read:secret,alice:ops:sec ret", "bob:read:***,alice:ops:***"),
    ],
)
def test_bad_api_tokens_are_refused_without_showing_a_token(value: str, shown: str) -> None:
    line = fault(S6_API_TOKENS=value)
    assert line.startswith(f"S6_API_TOKENS={shown!r} is not allowed; allowed is name:scope:token separated by commas")
    assert "sec" not in line


@pytest.mark.parametrize("name", ["S6_MANAGE_TICK_S", "S6_TREASURY_TICK_S", "S6_CONFIG_POLL_S", "S6_CLOSED_KEEP_S"])
@pytest.mark.parametrize("value", ["0", "-1", "0.0", "ten", "nan", "inf", "1e3", "1_0", "99999999999", "٣"])
def test_periods_are_positive_numbers(name: str, value: str) -> None:
    assert fault(**{name: value}).startswith(
        f"{name}={value!r} is not allowed; allowed is a positive number of seconds"
    )


def test_periods_may_be_fractions() -> None:
    assert load(S6_MANAGE_TICK_S="0.25", S6_CONFIG_POLL_S=".5").manage_tick_s == 0.25


@pytest.mark.parametrize("name", ["PORT", "FLOWER_PORT"])
@pytest.mark.parametrize("value", ["0", "65536", "http", "-1", "80.0"])
def test_ports(name: str, value: str) -> None:
    assert fault(**{name: value}) == f"{name}={value!r} is not allowed; allowed is a port, 1 to 65535"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("S6_LOG_LEVEL", "LOUD", "'LOUD'"),
        ("S6_LOG_FORMAT", "xml", "'xml'"),
        ("S6_WORKER_THREADS", "0", "'0'"),
        ("S6_NOTIFY_URLS", "slack://tokenA/tokenB,oops-secret", "'slack://***,***'"),
        ("S6_SECRET_KEY", "short", "'***'"),
    ],
)
def test_the_other_settings_are_checked_too(name: str, value: str, shown: str) -> None:
    assert fault(**{name: value}).startswith(f"{name}={shown} is not allowed; allowed is ")


def test_the_other_settings_are_read() -> None:
    settings = load(
        S6_LOG_LEVEL="debug", S6_LOG_FORMAT="JSON", S6_NOTIFY_URLS="slack://a/b/c, mailto://u:p@example.com"
    )
    assert (settings.log_level, settings.log_format) == ("DEBUG", "json")
    assert settings.notify_urls == ("slack://a/b/c", "mailto://u:p@example.com")


def test_every_copy_derives_the_same_session_key_from_the_same_tokens() -> None:
    one, same = load(S6_API_TOKENS="a:ops:x,b:read:y"), load(S6_API_TOKENS="b:read:y,a:ops:x")
    other = load(S6_API_TOKENS="a:ops:x,b:read:z")
    assert one.secret_key == same.secret_key != other.secret_key
    assert load(S6_SECRET_KEY="0123456789abcdef").secret_key == b"0123456789abcdef"
    assert load().secret_key != load().secret_key


@given(
    st.sampled_from(["redis", "rediss", "redis+cluster", "http", "nonsense"]),
    st.text("abcXYZ019:/@?#%", max_size=12),
    st.sampled_from(["h:1/zz", "h:99999", "", "h,h,h/x"]),
)
def test_no_password_ever_shows_in_a_fault(scheme: str, around: str, rest: str) -> None:
    line = fault(S6_REDIS_URL=f"{scheme}://user:{around}Hunter2{around}@{rest}")
    assert "Hunter2" not in line


def test_a_value_with_line_breaks_is_still_one_line() -> None:
    assert fault(S6_REDIS_URL="redis://h\nTraceback:\r0").count("\n") == 0


def test_settings_or_exit_prints_one_line_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        settings_or_exit({**URLS, "PORT": "no"})
    assert stopped.value.code == 2
    assert capsys.readouterr() == ("", "s6: PORT='no' is not allowed; allowed is a port, 1 to 65535\n")
    assert settings_or_exit(URLS).neighbours["s1"] == "http://127.0.0.1:9000"


@pytest.mark.parametrize("command", [["worker"], ["beat"], ["flower"]])
def test_celery_stops_with_that_line_alone(tmp_path: Path, command: list[str]) -> None:
    """The settings are read while Celery loads its application: no traceback of Celery's may come in between."""
    (tmp_path / "app_of_test.py").write_text(
        "import celery, s6.settings\n"
        "settings = s6.settings.settings_or_exit()\n"
        "app = celery.Celery('t', broker=settings.broker.url)\n"
    )
    root = Path(__file__).parents[2]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{root}", **URLS, "S6_S4_URL": "http://u:pw@s4:x"}
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "app_of_test", *command],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "s6: S6_S4_URL='http://***@s4:x' is not allowed; allowed is the base URL of a service, like http://host:port"
    ]
