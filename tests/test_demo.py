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
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioslots_hf import demo
from audioslots_hf.cli import main
from audioslots_hf.progress import SeparationCancelled


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


def test_a_user_who_cancels_while_waiting_is_not_served(checkpoint):
    page = demo.Demo("cpu")
    assert not page.cancel("me")
    page.enter("me")
    assert page.cancel("me") and not page.cancel("me")
    with pytest.raises(SeparationCancelled):
        next(page.separate(str(demo.EXAMPLE), str(checkpoint), "tracks", "me", lambda done: None))
    assert page.cancels == {}
    page.enter("me")
    assert next(page.separate(str(demo.EXAMPLE), str(checkpoint), "tracks", "me", lambda done: None))


def test_a_long_recording_is_sent_to_the_command(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000 * (demo.MAX_RECORDING_S + 1), np.int16), 8000)
    page = demo.Demo("cpu")
    run = page.separate(str(tmp_path / "a.wav"), "never loaded", "auto", "me", print)
    with pytest.raises(ValueError, match="The recording has 901 seconds, and the page takes 900"):
        next(run)
    assert not page.cancel("me")
