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
import pytest
import torch

from audioslots_hf import segments
from audioslots_hf.activity import frame_powers


RATE = 8000


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_tracks_are_copied_only_to_take_an_offset_off(monkeypatch, offset):
    tone = 0.1 * torch.sin(2 * torch.pi * 440 / RATE * torch.arange(RATE))
    tracks = torch.zeros(1, 2, 4 * RATE)
    tracks[0, 0, RATE : 2 * RATE] = tracks[0, 1, 2 * RATE : 3 * RATE] = tone
    tracks += offset / 2
    given = tracks.clone()
    heard = []
    monkeypatch.setattr(
        segments, "frame_powers", lambda rows, rate: heard.append(rows.data_ptr()) or frame_powers(rows, rate)
    )
    first, second = segments.find_segments(tracks, tracks.sum(dim=1), RATE)
    # frames of 20 ms, extended by 40 ms
    assert first == [pytest.approx((1, 2), abs=0.06)] and second == [pytest.approx((2, 3), abs=0.06)]
    assert (tracks.data_ptr() in heard) == (offset == 0) and torch.equal(tracks, given)
