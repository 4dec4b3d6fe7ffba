# Copyright 2026 The AudioSlots-HF authors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The page that `--report` writes."""

import base64
import io
import re
import shutil
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from audioslots_hf import report_tracks
from audioslots_hf.cli import main
from audioslots_hf.report import TEMPLATE, ReportContent, format_time, write_report
from audioslots_hf.report_tracks import MAX_AUDIO_BYTES, Spectrogram, choose_player, draw_spectrogram
from tests.audio_helpers import noise, tones
from tests.cli_helpers import RATE, files_in, write


NAME = "a <b> & 'c'.wav"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "input", "rect", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def decode(address: str, media_type: str) -> io.BytesIO:
    head = f"data:{media_type};base64,"
    assert address.startswith(head)
    return io.BytesIO(base64.b64decode(address.removeprefix(head)))


@pytest.fixture(scope="module")
def page(checkpoint, tmp_path_factory) -> Page:
    """The page of a recording of 5 s."""
    folder = tmp_path_factory.mktemp("reports")
    words = ["separate", write(folder / NAME, tones(5 * RATE, RATE)), "-o", folder, "--report", "--model", checkpoint]
    words += ["--num-speakers", "outputs"]
    assert main([*map(str, words), "--device", "cpu"]) == 0
    return Page(folder / f"{NAME[:-4]}_report.html")


def test_a_page_is_well_formed_and_needs_no_other_file(page):
    assert page.open == []
    addresses = [value for _, tag in page.tags for name, value in tag.items() if name in ("src", "href", "srcset")]
    assert len(addresses) == 6 and all(address.startswith("data:") for address in addresses)
    [policy] = [tag["content"] for tag in page.all("meta") if tag.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:; media-src data:;")
    assert not re.search(
        r"https?://|@import|url\(", Path(__file__).parents[1].joinpath("src/audioslots_hf/report.html").read_text()
    )


def test_the_template_of_the_page_is_part_of_the_package():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    assert "*.html" in project["tool"]["setuptools"]["package-data"]["audioslots_hf"] and TEMPLATE.suffix == ".html"


def test_a_page_plays_the_recording_and_every_track_in_full(page):
    players = [soundfile.read(decode(tag["src"], "audio/mpeg")) for tag in page.all("audio")]
    assert [(len(samples), rate) for samples, rate in players] == [(5 * RATE, 16000)] * 3
    mixture, *tracks = [samples for samples, _ in players]
    # MP3 adds noise to each
    error = sum(tracks) - mixture
    assert 10 * np.log10(np.square(mixture).mean() / np.square(error).mean()) > 15
    assert all("controls" in tag for tag in page.all("audio"))


def test_a_page_shows_spectrograms_on_one_scale(page):
    pictures = [Image.open(decode(tag["src"], "image/png")) for tag in page.all("img")]
    assert [picture.size for picture in pictures] == [(625, 96)] * 3
    assert all(tag["alt"].startswith("Spectrogram of ") for tag in page.all("img"))


def test_a_page_names_files_model_and_settings_as_text(page):
    assert NAME in page.text and "a <b> & 'c'_source_1.wav" in page.text
    for words in ("2 tracks, 5.0 s", "(audioslots, ", "2 tracks, as many as the model has outputs", "each separated"):
        assert words in page.text
    # neither folders nor users
    assert str(Path.home()) not in page.text and "pytest" not in page.text
    buttons = [(tag["aria-label"], tag["aria-pressed"]) for tag in page.all("button") if "aria-label" in tag]
    assert buttons[:2] == [("Mute Recording", "true"), ("Solo Recording", "false")] and len(buttons) == 6


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """A recording of a second of each of two voices, and their tracks."""
    voices = np.zeros((2, 2 * RATE))
    voices[0, : RATE - 3200], voices[1, RATE + 3200 :] = noise(RATE - 3200), noise(RATE - 3200, seed=1)
    return [
        write(tmp_path / f"{name}.wav", samples) for name, samples in zip("mab", (sum(voices), *voices), strict=True)
    ]


def test_segments_come_from_the_levels_of_the_tracks_or_from_the_caller(files, tmp_path):
    content = ReportContent(files[0], files[1:], 2.0, {"Model": "none"}, None, ["it is <loud>"])
    write_report(tmp_path / "page.html", content)
    bars = Page(tmp_path / "page.html").all("rect")
    np.testing.assert_allclose([float(bar["x"]) for bar in bars], [0.0, 1.2], atol=0.1)
    np.testing.assert_allclose([float(bar["width"]) for bar in bars], [0.8, 0.8], atol=0.1)
    content.segments = [[(0.5, 1.0)], [(index / 20, index / 20 + 0.02) for index in range(30)]]
    write_report(tmp_path / "page.html", content)
    page = Page(tmp_path / "page.html")
    assert len(page.all("rect")) == 31 and "0.5–1.0 s" in page.text and "30 segments" in page.text
    assert "it is <loud>" in page.text


def test_a_page_without_tracks_plays_the_recording(files, tmp_path):
    write_report(tmp_path / "page.html", ReportContent(files[0], [], 2.0, {}, []))
    page = Page(tmp_path / "page.html")
    assert len(page.all("audio")) == 1 and page.all("button")[1]["aria-pressed"] == "false"


def test_the_players_of_a_long_recording_are_smaller_and_hold_its_start(files, tmp_path, monkeypatch):
    assert choose_player(3, 60).bits_per_s == 64000
    assert (choose_player(3, 1500).bits_per_s, choose_player(3, 1500).duration_s) == (40000, 1500)
    hours = choose_player(3, 7200)
    assert hours.sampling_rate == 8000 and 3 * hours.duration_s * hours.bits_per_s / 8 == pytest.approx(
        MAX_AUDIO_BYTES
    )
    monkeypatch.setattr(report_tracks, "MAX_AUDIO_BYTES", 9000)
    write_report(tmp_path / "page.html", ReportContent(files[0], files[1:], 2.0, {}, [[], []]))
    page = Page(tmp_path / "page.html")
    assert "the players hold the first 1.0 s of the recording only" in page.text
    for tag in page.all("audio"):
        assert soundfile.info(decode(tag["src"], "audio/mpeg")).duration == pytest.approx(1.0, abs=0.01)
    assert [tag["max"] for tag in page.all("input")] == ["1.000"]


def test_a_spectrogram_does_not_depend_on_the_blocks_and_has_bounded_size():
    samples = torch.from_numpy(tones(40000, 8000))
    whole, parts = Spectrogram(8000, 5.0), Spectrogram(8000, 5.0)
    whole.add(samples)
    for part in samples.split([1, 6000, 50, 33949]):
        parts.add(part)
    np.testing.assert_allclose(whole.levels_db, parts.levels_db, atol=0.01)
    assert Spectrogram(48000, 3600.0).levels_db.shape == (96, 1200)
    # one tone, at a quarter of the height of 4 kHz
    tone = Spectrogram(8000, 1.0)
    tone.add(torch.sin(2 * torch.pi * 1000 / 8000 * torch.arange(8000)))
    assert abs(tone.levels_db.mean(axis=1).argmax() / len(tone.levels_db) - 0.25) < 0.02


def test_the_loudest_cells_are_bright_and_low_frequencies_lie_below():
    levels_db = np.full((8, 4), -90.0)
    levels_db[0] = -10.0
    picture = np.asarray(Image.open(io.BytesIO(draw_spectrogram(levels_db, -10.0))))
    assert (picture[-1] == 255).all() and (picture[:-1] == 0).all()


def test_a_report_is_kept_unless_forced_and_counts_for_a_continued_run(separate, tmp_path):
    path = write(tmp_path / "a.wav")
    report = tmp_path / "out" / "a_report.html"
    report.parent.mkdir()
    report.write_text("mine")
    status, _, errors = separate(path, "--report")
    assert status == 1 and f"{report} exists" in errors and files_in(report.parent) == ["a_report.html"]
    assert separate(path, "--report", "--skip-existing")[0] == 0 and report.read_text() != "mine"
    assert "skipped" in separate(path, "--report", "--skip-existing")[2]


def test_a_report_without_matplotlib_is_refused_before_any_work(separate, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, errors = separate(write(tmp_path / "a.wav"), "--report")
    assert status == 1 and "Pictures need matplotlib" in errors and not (tmp_path / "out").exists()


@pytest.mark.parametrize("duration_s, text", [(7.12, "7.1 s"), (125, "2:05"), (3725, "1:02:05")])
def test_times_are_short(duration_s, text):
    assert format_time(duration_s) == text


PLAYERS = "[...document.querySelectorAll('audio')].map(player => "


@pytest.mark.slow
@pytest.mark.parametrize("scheme, width", [("light", 1200), ("dark", 390)])
def test_a_browser_plays_the_tracks_in_step(separate, tmp_path, scheme, width):
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium: install Debian's package chromium")
    assert separate(write(tmp_path / "a.wav", tones(8 * RATE, RATE)), "--report")[0] == 0
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
        problems, requests = [], []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((tmp_path / "out" / "a_report.html").as_uri())
        assert page.evaluate(f"{PLAYERS}player.muted)") == [True, False, False]
        page.get_by_role("button", name="Play").click()
        # the policy of the page forbids the waiting that runs inside it
        for _ in range(100):
            page.wait_for_timeout(100)
            times = page.evaluate(f"{PLAYERS}player.currentTime)")
            if min(times) > 1:
                break
        assert min(times) > 1 and max(times) - min(times) < 0.2
        page.get_by_role("button", name="Solo Track 2").click()
        assert page.evaluate(f"{PLAYERS}player.muted)") == [True, True, False]
        page.get_by_role("button", name="Solo Track 2").click()
        page.get_by_role("button", name="Mute Track 1").click()
        assert page.evaluate(f"{PLAYERS}player.muted)") == [True, True, False]
        page.get_by_role("slider").fill("5")
        assert page.evaluate(f"{PLAYERS}player.currentTime)") == pytest.approx([5] * 3, abs=0.5)
        page.get_by_role("button", name="Pause").click()
        assert page.evaluate(f"{PLAYERS}player.paused)") == [True] * 3
        # nothing lies beside the window, not even on a phone
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert problems == [] and [url for url in requests if not url.startswith(("data:", "file:"))] == []
        assert len(page.screenshot()) > 10_000
        browser.close()
