"""The command, from end to end on a SQLite store: what it prints, what it writes, how it ends."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from s6.model import jsonx
from s6.replay import main
from s6.replay.fold import fold
from s6.replay.life import lives
from s6.replay.terminal import show
from s6.store import open_store
from tests.unit.replay.stories import Story, whole_life


@pytest.fixture
def store_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with one whole life, named in the environment."""
    url = f"sqlite:///{tmp_path}/s6.db"
    store = open_store(url)
    store.init()
    store.write_snapshots(whole_life().docs)
    store.write_snapshots(whole_life("other").docs)
    store.close()
    monkeypatch.setenv("S6_STORE_URL", url)
    return url


@pytest.mark.usefixtures("store_url")
def test_table_and_plot(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["p1"]) == 0
    shown = capsys.readouterr().out
    assert "p1  BTCUSDT FUT LONG  CLOSED" in shown
    assert "1 take-profit, 1 add, 1 closing order" in shown
    assert "TP 0.033 at 41 000.5" in shown
    assert "EXIT 0.02 at 39 600 (not ours)" in shown
    assert "lines: mark, entry average, stop   ▲ ENTRY   ◆ TP   △ ADD   ■ SL" in shown
    assert "\x1b" not in shown  # not a terminal: no colours


@pytest.mark.usefixtures("store_url")
def test_one_life_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["p1", "--json", "--life", "2"]) == 0
    told = jsonx.loads(capsys.readouterr().out)
    (life,) = told["lives"]
    assert (told["position_id"], told["symbol"], told["check"]) == ("p1", "BTCUSDT", None)
    assert (life["life"], life["exit_reason"], life["realized_pnl_usdt"]) == (2, "EXIT", jsonx.loads("1.6"))
    assert [step["seq"] for step in life["steps"]] == [12, 13, 14]
    assert life["steps"][-1]["fill"]["ours"] is False


def test_unknown_position_is_one_line(store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nobody"]) == 2
    assert capsys.readouterr().err == f"s6: no snapshots of nobody in {store_url}\n"


@pytest.mark.usefixtures("store_url")
def test_unknown_life_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["p1", "--life", "7"]) == 2
    assert capsys.readouterr().err == "s6: p1 has no life 7; it has 1, 2\n"


@pytest.mark.usefixtures("store_url")
def test_no_redis_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S6_REDIS_URL", "redis://127.0.0.1:9/0")
    assert main(["p1", "--check"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("s6: Redis") and error.count("\n") == 1


@pytest.mark.usefixtures("store_url")
def test_a_proof_that_fails_says_why(
    redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S6_REDIS_URL", redis_url)
    assert main(["p1", "--check"]) == 1
    assert "Redis has no live state of it" in capsys.readouterr().err
    assert main(["p1", "--check", "--json"]) == 1
    assert jsonx.loads(capsys.readouterr().out)["check"]["holds"] is False


class _Page(HTMLParser):
    """Collects what a browser would fetch, and whether every element is closed."""

    VOID = ("meta", "input", "br")

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "data", "action", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.usefixtures("store_url")
def test_the_page_is_complete_in_one_file(tmp_path: Path) -> None:
    file = tmp_path / "p1.html"
    assert main(["p1", "--html", str(file)]) == 0
    text = file.read_text()
    page = _Page()
    page.feed(text)
    assert page.fetched == []
    assert page.open == []
    assert not re.search(r"https?://|@import|url\(", text)
    assert text.count('<svg class="chart"') == 2
    for mark in ("m ENTRY", "m TP", "m ADD", "m SL", "m EXIT", "locked", "risk", "unprotected"):
        assert f'class="{mark}"' in text
    for line in ("mark", "entry", "stop", "total", "realized"):
        assert f'<polyline class="{line}"' in text
    assert "prefers-color-scheme: dark" in text


def test_what_operators_wrote_is_no_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    story.heard("ENTRY", "e1", "0.1", "0.1")
    story.governed("EXIT by eve: </td><script>alert(1)</script>'\"")
    url = f"sqlite:///{tmp_path}/s6.db"
    store = open_store(url)
    store.init()
    store.write_snapshots(story.docs)
    store.close()
    monkeypatch.setenv("S6_STORE_URL", url)
    file = tmp_path / "p1.html"
    assert main(["p1", "--html", str(file)]) == 0
    assert "<script>alert" not in file.read_text()


@pytest.mark.parametrize(
    ("width", "last", "gone"), [(200, "realized", set()), (100, "realized", {"lvl"}), (48, "what", {"qty"})]
)
def test_a_narrow_terminal_shows_what_matters(width: int, last: str, gone: set[str]) -> None:
    out = io.StringIO()
    show(lives(fold(whole_life().docs)), Console(file=out, width=width, force_terminal=True, color_system=None))
    lines = out.getvalue().splitlines()
    header = next(line for line in lines if line.lstrip().startswith("seq"))
    assert header.split()[-1] == last
    assert gone.isdisjoint(header.split())
    assert max(map(len, lines)) <= max(width, 160 if width < 56 else width)
    assert ("entry average" in out.getvalue()) == (width >= 56)


def test_a_terminal_without_unicode_gets_no_plot() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    show(lives(fold(whole_life().docs)), Console(file=raw, width=100))
    raw.seek(0)
    assert "entry average" not in raw.read()


def test_a_life_of_one_step_is_drawn(tmp_path: Path) -> None:
    from s6.replay.page import page

    story = Story(side="SHORT")
    story.heard("ENTRY", "e1", "0.1", "0.1")
    text = page(lives(fold(story.docs)))
    assert "NaN" not in text and "nan" not in re.findall(r'points="([^"]*)"', text)
