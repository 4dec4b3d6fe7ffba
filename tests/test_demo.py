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
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioslots_hf import demo
from audioslots_hf.cli import main
from audioslots_hf.progress import SeparationCancelled
from audioslots_hf.spaces import write_space


SAMPLES = Path(__file__).parent / "samples"


def test_a_page_without_gradio_is_reported_before_any_work(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["demo"]) == 1
    assert "pip install 'audioslots-hf[demo]'" in capsys.readouterr().err


def test_a_recording_gives_a_sentence_a_report_and_files_that_go_afterwards(checkpoint):
    fractions = []
    run = demo.Demo("cpu").separate(str(demo.EXAMPLE), str(checkpoint), "tracks", "me", fractions.append)
    sentence, report, files = next(run)
    assert sentence == "2 tracks from 7.1 seconds." and "Solo" in report
    names = ["two_voices_source_0.flac", "two_voices_source_1.flac", "two_voices_report.html"]
    assert [Path(file).name for file in files] == names
    mixture, tracks = soundfile.read(demo.EXAMPLE)[0], [soundfile.read(file)[0] for file in files[:2]]
    # the tiny model works at 8 kHz, and the recording has more
    assert len(tracks[0]) == len(mixture) and np.corrcoef(sum(tracks), mixture)[0, 1] > 0.9
    assert fractions[0] == 0 and fractions[-1] == 1
    run.close()
    assert not any(Path(file).exists() for file in files)


def test_the_user_who_cancels_stops_only_the_own_separation(checkpoint):
    page = demo.Demo("cpu")
    page.cancels["other"] = threading.Event()
    run = page.separate(str(demo.EXAMPLE), str(checkpoint), "tracks", "me", lambda done: page.cancel("me"))
    with pytest.raises(SeparationCancelled):
        next(run)
    assert list(page.cancels) == ["other"] and not page.cancels["other"].is_set()


def test_a_long_recording_is_sent_to_the_command(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000 * (demo.MAX_RECORDING_S + 1), np.int16), 8000)
    run = demo.Demo("cpu").separate(str(tmp_path / "a.wav"), "never loaded", "auto", "me", print)
    with pytest.raises(ValueError, match="The recording has 901 seconds, and the page takes 900"):
        next(run)


@pytest.fixture(scope="module")
def browser():
    """A chromium of the system."""
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium: install Debian's package chromium")
    with playwright.sync_playwright() as browsers:
        yield browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of a Space, served by its own program in its own folder."""
    folder = tmp_path_factory.mktemp("page") / "space"
    write_space(folder)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    line = process.stdout.readline()
    yield line.split("at ")[1].split(";")[0]
    process.terminate()
    process.wait(30)
    process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_uploads_separates_plays_and_downloads(browser, address, tmp_path, width):
    assert address.startswith("http://127.0.0.1:")
    page = browser.new_page(viewport={"width": width, "height": 900}, accept_downloads=True)
    page.set_default_timeout(120_000)
    errors, requests = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.locator("input[type=file]").first.set_input_files(SAMPLES / "two_voices.flac")
    page.get_by_role("button", name="Separate").wait_for()
    page.locator("audio, [data-testid*=waveform]").first.wait_for(state="attached")
    page.get_by_role("button", name="Separate").click()
    page.get_by_text("2 tracks from 7.1 seconds.").wait_for()
    report = page.frame_locator("iframe[title='Separated tracks']")
    report.get_by_role("button", name="Play", exact=True).click()
    report.get_by_role("button", name="Solo Track 2").click()
    players = report.locator("audio")
    page.wait_for_timeout(2000)
    times = players.evaluate_all("all => all.map(audio => audio.currentTime)")
    assert len(times) == 3 and min(times) > 0.5 and max(times) - min(times) < 0.3
    assert players.evaluate_all("all => all.map(audio => audio.muted)") == [True, True, False]
    with page.expect_download() as download:
        page.locator("a[download='two_voices_source_0.flac']").first.click()
    download.value.save_as(tmp_path / "track.flac")
    assert soundfile.info(tmp_path / "track.flac").frames == soundfile.info(SAMPLES / "two_voices.flac").frames
    assert report.locator("html").evaluate("page => page.scrollWidth <= page.clientWidth")
    bar = report.locator(".transport")
    assert bar.evaluate("bar => bar.scrollWidth <= bar.clientWidth")
    picture = Path(os.environ.get("SCREENSHOTS", tmp_path)) / f"demo_{width}.png"
    page.screenshot(path=picture, full_page=True)
    # nothing leaves the machine, and nothing is wider than the window
    assert not [url for url in requests if not url.startswith((address, "data:", "blob:", "about:"))]
    assert page.evaluate("document.documentElement.scrollWidth") <= width and errors == []
