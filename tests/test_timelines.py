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
import numpy as np
import pytest

from training.data.activity import find_spans
from training.reporting.rttm import add_rttm, format_rttm, read_rttm
from training.reporting.timelines import NOBODY, SEVERAL, draw_timelines, list_bars, plot_timelines
from training.settings import SettingsError


def test_a_track_has_the_colour_of_who_truly_speaks():
    active = np.array([[1, 1, 0, 0], [0, 1, 1, 0]], dtype=bool)
    bars = [
        (row, find_spans(frames), colour) for row, (frames, colour) in list_bars(active, np.ones((1, 4), dtype=bool))
    ]
    assert bars == [
        (0, [(0, 2)], "C0"),
        (1, [(1, 3)], "C1"),
        (2, [(0, 1)], "C0"),
        (2, [(2, 3)], "C1"),
        (2, [(1, 2)], SEVERAL),
        (2, [(3, 4)], NOBODY),
    ]


def test_a_picture_of_any_number_of_tracks_is_drawn(tmp_path):
    active = np.random.default_rng(0).random((2, 500)) < 0.5
    for num_tracks in (0, 1, 3):
        path = tmp_path / f"{num_tracks}.png"
        plot_timelines(path, active, np.ones((num_tracks, 500), dtype=bool), "a $^$ title")
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_rttm_keeps_the_segments_of_each_row_and_replaces_recordings_of_the_same_name(tmp_path):
    path = tmp_path / "truth.rttm"
    active = np.zeros((2, 300), dtype=bool)
    active[0, :150] = active[1, 100:250] = active[0, 260:] = True
    assert format_rttm("a call", "voice", active).splitlines() == [
        "SPEAKER a_call 1 0.00 1.50 <NA> <NA> voice_0 <NA> <NA>",
        "SPEAKER a_call 1 1.00 1.50 <NA> <NA> voice_1 <NA> <NA>",
        "SPEAKER a_call 1 2.60 0.40 <NA> <NA> voice_0 <NA> <NA>",
    ]
    add_rttm(
        path, {"a call": format_rttm("a call", "voice", active), "another": format_rttm("another", "voice", active)}
    )
    add_rttm(path, {"a call": format_rttm("a call", "voice", active[1:])})
    assert read_rttm(path) == {"another": [[(0.0, 1.5), (2.6, 3.0)], [(1.0, 2.5)]], "a_call": [[(1.0, 2.5)]]}


def test_tracks_that_are_missing_and_lines_that_are_no_segments_are_named(tmp_path):
    (tmp_path / "truth.rttm").write_text("SPEAKER call 1 0.0 1.5 <NA> <NA> voice_0 <NA> <NA>\nSPEAKER call\n")
    with pytest.raises(SettingsError, match=r"holds truth\.rttm, but no tracks\.rttm"):
        draw_timelines(tmp_path, tmp_path)
    with pytest.raises(SettingsError, match=r"truth\.rttm, line 2, is no segment of an RTTM file: 'SPEAKER call'"):
        read_rttm(tmp_path / "truth.rttm")
