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
"""Who speaks when on given tracks, by their levels."""

import numpy as np
import torch

from .activity import find_activity, find_threshold_db, frame_powers
from .conversation import ConversationPlan
from .waveforms import find_offset


def find_segments(
    tracks: torch.Tensor, waveforms: torch.Tensor, sampling_rate: int
) -> list[list[tuple[float, float]]]:
    """
    Start and end, in seconds, of the segments of each track; none where the recording holds no speech.

    Args:
        tracks (`torch.Tensor` of shape `(num_channels, num_tracks, num_samples)`):
            The separated recording, whose tracks share its DC offset equally.
        waveforms (`torch.Tensor` of shape `(num_channels, num_samples)`):
            The recording, whose level and noise decide which frames contain speech.
        sampling_rate (`int`):
            Of both, in hertz.
    """
    # a DC offset is no speech, and may hide it
    offsets = torch.stack([find_offset(row, sampling_rate) for row in waveforms])[:, None]
    if offsets.any():
        # only then, because a copy of the tracks is large
        waveforms = waveforms - offsets
        tracks = tracks - offsets[:, None] / tracks.shape[1]
    powers = frame_powers(tracks, sampling_rate).mean(dim=0).numpy()
    activity = np.zeros(powers.shape, bool)
    if powers.size:
        threshold_db = find_threshold_db(frame_powers(waveforms, sampling_rate).mean(dim=0).numpy())
        if np.isfinite(threshold_db):
            activity = find_activity(powers, threshold_db)
    return ConversationPlan(np.zeros((0, len(powers)), int), activity, waveforms.shape[-1] / sampling_rate).segments


__all__ = ["find_segments"]
