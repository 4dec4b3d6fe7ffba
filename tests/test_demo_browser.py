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
"""The page in a headless chromium of the system."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioslots_hf.spaces import write_space


pytestmark = pytest.mark.slow
SAMPLES = Path(__file__).parent / "samples"
RATE = 16000
# the recording itself can be downloaded too
DOWNLOADS = "a[download*='.']"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A chromium of the system, with a microphone that hears the sample."""
    folder = tmp_path_factory.mktemp("microphone")
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium: install Debian's package chromium")
    with playwright.sync_playwright() as browsers:
        # instead of a microphone, a recording in a loop
        soundfile.write(folder / "spoken.wav", soundfile.read(SAMPLES / "two_voices.flac")[0], RATE)
        words = [f"--use-file-for-fake-audio-capture={folder / 'spoken.wav'}", "--use-fake-device-for-media-stream"]
        words += ["--use-fake-ui-for-media-stream", "--no-sandbox"]
        yield browsers.chromium.launch(executable_path=chromium, args=words)


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


@pytest.fixture
def open_page(browser, address):
    """Open the page as a user of one's own -> a page of playwright."""
    contexts = []

    def open_one(width: int = 1200):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, accept_downloads=True))
        page = contexts[-1].new_page()
        page.set_default_timeout(120_000)
        page.goto(address)
        page.get_by_role("button", name="Separate").wait_for()
        return page

    yield open_one
    for context in contexts:
        context.close()


def upload(page, path: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(path)
    page.locator("audio, [data-testid*=waveform]").first.wait_for(state="attached")


def take_picture(page, folder: Path, name: str) -> None:
    page.screenshot(path=Path(os.environ.get("SCREENSHOTS", folder)) / f"{name}.png", full_page=True)


def download(page, name: str, folder: Path) -> np.ndarray:
    with page.expect_download() as started:
        page.locator(f"a[download='{name}']").first.click()
    started.value.save_as(folder / name)
    return soundfile.read(folder / name)[0]


def cut_sample(path: Path, duration_s: float) -> Path:
    samples = np.resize(soundfile.read(SAMPLES / "two_voices.flac")[0], round(duration_s * RATE))
    soundfile.write(path, samples, RATE)
    return path


@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_uploads_separates_plays_and_downloads(open_page, address, tmp_path, width):
    assert address.startswith("http://127.0.0.1:")
    errors, requests = [], []
    page = open_page(width)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.reload()
    upload(page, SAMPLES / "two_voices.flac")
    page.get_by_role("button", name="Separate").click()
    page.get_by_text("2 tracks from 7.1 seconds.").wait_for()
    report = page.frame_locator("iframe[title='Separated tracks']")
    players = report.locator("audio")

    def is_muted() -> list[bool]:
        return players.evaluate_all("all => all.map(audio => audio.muted)")

    report.get_by_role("button", name="Play", exact=True).click()
    assert is_muted() == [True, False, False]
    report.get_by_role("button", name="Mute Track 1").click()
    assert is_muted() == [True, True, False]
    report.get_by_role("button", name="Mute Track 1").click()
    report.get_by_role("button", name="Solo Track 2").click()
    page.wait_for_timeout(2000)
    times = players.evaluate_all("all => all.map(audio => audio.currentTime)")
    assert len(times) == 3 and min(times) > 0.5 and max(times) - min(times) < 0.3
    assert is_muted() == [True, True, False]
    assert (
        len(download(page, "two_voices_source_0.flac", tmp_path)) == soundfile.info(SAMPLES / "two_voices.flac").frames
    )
    assert report.locator("html").evaluate("page => page.scrollWidth <= page.clientWidth")
    bar = report.locator(".transport")
    assert bar.evaluate("bar => bar.scrollWidth <= bar.clientWidth")
    take_picture(page, tmp_path, f"demo_{width}")
    # nothing leaves the machine, and nothing is wider than the window
    assert not [url for url in requests if not url.startswith((address, "data:", "blob:", "about:"))]
    assert page.evaluate("document.documentElement.scrollWidth") <= width and errors == []


def test_a_recording_of_the_microphone_is_separated(open_page, tmp_path):
    page = open_page(390)
    page.get_by_label("Record audio").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(4000)
    take_picture(page, tmp_path, "recording")
    # a busy machine sends the recording late
    with page.expect_response(re.compile("/upload")):
        page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_label("Play", exact=True).wait_for()
    page.get_by_role("button", name="Separate").click()
    sentence = page.get_by_text(re.compile(r"from \d+\.\d seconds"))
    sentence.wait_for()
    duration_s = float(re.search(r"from ([\d.]+) seconds", sentence.inner_text())[1])
    take_picture(page, tmp_path, "recorded")
    first = page.locator("a[download$='_source_0.flac']").first.get_attribute("download")
    # of what was spoken; a busy machine starts and stops late
    assert duration_s > 2 and np.abs(download(page, first, tmp_path)).max() > 0.01


def test_two_users_wait_for_each_other_and_get_their_own_tracks(open_page, tmp_path):
    durations = {"one": 3.0, "two": 5.0}
    pages = {name: open_page() for name in durations}
    for name, page in pages.items():
        upload(page, cut_sample(tmp_path / f"{name}.wav", durations[name]))
    for page in pages.values():
        page.get_by_role("button", name="Separate").click()
    pages["one"].wait_for_timeout(500)
    take_picture(pages["two"], tmp_path, "waiting")
    for name, page in pages.items():
        page.get_by_text(re.compile(rf"\d tracks? from {durations[name]} seconds")).wait_for()
        assert page.frame_locator("iframe").get_by_role("heading", name=f"{name}.wav").is_visible()
        names = page.locator(DOWNLOADS).evaluate_all("all => all.map(link => link.download)")
        assert names and all(file.startswith(name) for file in names)
        assert len(download(page, f"{name}_source_0.flac", tmp_path)) == durations[name] * RATE


def test_cancel_stops_the_work_of_a_user_and_the_waiting_of_another(open_page, tmp_path):
    page, other = open_page(), open_page()
    # minutes of work
    upload(page, cut_sample(tmp_path / "long.wav", 600))
    page.get_by_role("button", name="Separate").click()
    page.get_by_text(re.compile("Separating")).first.wait_for()
    upload(other, cut_sample(tmp_path / "short.wav", 2))
    other.get_by_role("button", name="Separate").click()
    other.get_by_text(re.compile("queue: 1/1")).first.wait_for()
    other.get_by_role("button", name="Cancel").click()
    other.get_by_text("Cancelled.").wait_for()
    assert page.get_by_text(re.compile("Separating")).first.is_visible()
    take_picture(page, tmp_path, "separating")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    take_picture(page, tmp_path, "cancelled")
    other.get_by_role("button", name="Separate").click()
    other.get_by_text(re.compile(r"from 2\.0 seconds")).wait_for()
    assert page.locator(DOWNLOADS).count() == 0
    # nothing is left to be cancelled
    other.get_by_role("button", name="Cancel").click()
    other.wait_for_timeout(500)
    assert other.get_by_text(re.compile(r"from 2\.0 seconds")).is_visible()
