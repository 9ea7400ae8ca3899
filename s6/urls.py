"""Parses and checks the addresses in the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

REDIS_ALLOWED: Final = (
    "redis://[user:password@]host[:port][/db], rediss://…, redis+cluster://host:port,host:port "
    "or redis+sentinel://host:port,host:port/service[/db]"
)
BROKER_ALLOWED: Final = (
    "redis://[user:password@]host[:port][/db], rediss://…, redis+sentinel://host:port,host:port/service[/db], "
    "amqp://… or amqps://… (Celery has no transport for a Redis Cluster)"
)
STORE_ALLOWED: Final = "sqlite:///path or arango+http(s)://user:password@host:8529/database"
HTTP_ALLOWED: Final = "the base URL of a service, like http://host:port"

_NODE: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?", re.ASCII)
_TLS_OPTIONS: Final = frozenset({"ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_SENTINEL_OPTIONS: Final = frozenset({"sentinel_username", "sentinel_password"})
_SCHEMES: Final[Mapping[str, tuple[Kind, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
}

Kind = Literal["single", "cluster", "sentinel"]


class Node(NamedTuple):
    """A host (IPv6 without brackets) and its port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """The address of a Redis. `nodes` are the server, the cluster's seeds, or the Sentinels that know `service`.

    `tls_options` are redis-py's `ssl_*` arguments. They come from the URL's query, as do `sentinel_username` and
    `sentinel_password`, the credentials of the Sentinels themselves.
    """

    kind: Kind
    nodes: tuple[Node, ...]
    db: int = 0
    service: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_options: Mapping[str, str] = field(default_factory=dict, hash=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    @property
    def sentinel_kwargs(self) -> dict[str, str]:
        """The options for connecting to the Sentinels."""
        known = {"username": self.sentinel_username, "password": self.sentinel_password}
        return {name: value for name, value in known.items() if value is not None}

    def __str__(self) -> str:
        """Return the address without its secrets, for logs and health checks."""
        scheme = f"redis{'s' if self.tls else ''}" + ("" if self.kind == "single" else f"+{self.kind}")
        path = f"/{self.service}/{self.db}" if self.kind == "sentinel" else f"/{self.db}"
        return f"{scheme}://{','.join(map(str, self.nodes))}{path}"


@dataclass(frozen=True, slots=True)
class Broker:
    """Celery's `broker_url`, and the `broker_transport_options` that the address implies."""

    url: str = field(repr=False)
    options: Mapping[str, object] = field(default_factory=dict, hash=False)


def parse_redis(url: str) -> RedisTarget:
    """Parse a Redis URL. Raises `ValueError` if it is none of `REDIS_ALLOWED`."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or parts.fragment:
        raise ValueError("no Redis URL")
    kind, tls = _SCHEMES[parts.scheme]
    userinfo, _, hosts = parts.netloc.rpartition("@")
    username, _, password = userinfo.partition(":")
    nodes = tuple(parse_node(host, 26379 if kind == "sentinel" else 6379) for host in hosts.split(","))
    if kind == "single" and len(nodes) > 1:
        raise ValueError("one server only")
    service, db = _service_and_db(kind, parts.path)
    options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    if not options.keys() <= (_TLS_OPTIONS if tls else set()) | (_SENTINEL_OPTIONS if kind == "sentinel" else set()):
        raise ValueError("unknown option in the query")
    return RedisTarget(
        kind=kind,
        nodes=nodes,
        db=db,
        service=service,
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=tls,
        tls_options={name: value for name, value in options.items() if name in _TLS_OPTIONS},
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
    )


def _service_and_db(kind: Kind, path: str) -> tuple[str, int]:
    service, rest = "", path.removeprefix("/")
    if kind == "sentinel":
        service, _, rest = rest.partition("/")
        if not service:
            raise ValueError("a Sentinel URL names its service")
    if not re.fullmatch(r"\d{0,4}", rest, re.ASCII) or (kind == "cluster" and int(rest or 0)):
        raise ValueError("no database number")
    return unquote(service), int(rest or 0)


def parse_node(text: str, default_port: int) -> Node:
    """Parse `host[:port]`. Raises `ValueError` for anything else."""
    match = _NODE.fullmatch(text)
    if not match:
        raise ValueError("no host")
    port = int(match[2] or default_port)
    if not 1 <= port <= 65535:
        raise ValueError("no port")
    return Node(match[1].strip("[]"), port)


def parse_broker(url: str) -> Broker:
    """Return Celery's form of a broker URL. Raises `ValueError` if it is none of `BROKER_ALLOWED`."""
    parts = urlsplit(url)
    if parts.scheme in ("amqp", "amqps"):
        parse_node(parts.netloc.rpartition("@")[2], 5672 if parts.scheme == "amqp" else 5671)
        return Broker(url)
    target = parse_redis(url)
    return redis_broker(target, db=target.db)


def redis_broker(target: RedisTarget, *, db: int) -> Broker:
    """Return database `db` of a single or Sentinel-guarded Redis as a broker. Raises `ValueError` for a cluster."""
    if target.kind == "cluster":
        raise ValueError("Celery has no transport for a Redis Cluster")
    login = f"{quote(target.username or '', safe='')}:{quote(target.password or '', safe='')}@"
    # Celery's transport checks certificates only if the options say so.
    tls = {"ssl_cert_reqs": "required", **target.tls_options} if target.tls else {}
    rest = f"/{db}" + (f"?{urlencode(tls)}" if tls else "")
    scheme = "sentinel" if target.kind == "sentinel" else "rediss" if target.tls else "redis"
    login = "" if login == ":@" else login
    url = ";".join(f"{scheme}://{login}{node}{rest}" for node in target.nodes)
    if target.kind == "single":
        return Broker(url)
    options: dict[str, object] = {"master_name": target.service}
    return Broker(url, options | ({"sentinel_kwargs": target.sentinel_kwargs} if target.sentinel_kwargs else {}))


def parse_store(url: str) -> str:
    """Check the store's URL and return it unchanged. Raises `ValueError` if it is none of `STORE_ALLOWED`."""
    if url.startswith("sqlite:"):
        path = url.removeprefix("sqlite:///")
        if path == url or path in ("", ":memory:") or path.endswith("/"):
            raise ValueError("no file: the processes share the store")
        return url
    parts = urlsplit(url)
    userinfo, _, host = parts.netloc.rpartition("@")
    parse_node(host, 8529)
    if parts.scheme not in ("arango+http", "arango+https") or not userinfo or not parts.path.strip("/"):
        raise ValueError("no store URL")
    return url


def parse_base_url(url: str) -> str:
    """Return an HTTP base URL without its trailing slash. Raises `ValueError` for anything else."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.query or parts.fragment or re.search(r"\s", url):
        raise ValueError("no base URL")
    parse_node(parts.netloc.rpartition("@")[2], 443 if parts.scheme == "https" else 80)
    return url.rstrip("/")


def mask_url(value: str) -> str:
    """Replace what may be a secret in the value: credentials before the last `@`, passwords in a query."""
    scheme, separator, rest = value.rpartition("://") if "@" not in value else value.partition("://")
    if not separator:
        scheme, rest = "", value
    if "@" in rest:
        rest = f"***@{rest.rpartition('@')[2]}"
    return scheme + separator + re.sub(r"(password=)[^&]*", r"\1***", rest)
