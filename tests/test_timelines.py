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

from training.data.activity import find_spans
from training.reporting.timelines import NOBODY, SEVERAL, list_bars, plot_timelines


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
