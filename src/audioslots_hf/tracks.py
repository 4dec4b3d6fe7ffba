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
"""The tracks of a recording, in the form in which users get them."""

from typing import Any

import torch

from .recordings import Recording
from .resampling import resample
from .segments import find_segments


def restore_tracks(recording: Recording, tracks: torch.Tensor, sampling_rate: int) -> list[dict[str, Any]]:
    """The result of a recording, from its tracks at the rate of the model, `(num_channels, num_tracks, num_samples)`."""
    tracks = resample(tracks, sampling_rate, recording.sampling_rate)[..., : recording.waveforms.shape[-1]]
    return format_tracks(recording, tracks, find_segments(tracks, recording.waveforms, recording.sampling_rate))


def format_tracks(
    recording: Recording, tracks: torch.Tensor, segments: list[list[tuple[float, float]]]
) -> list[dict[str, Any]]:
    """The result of a recording, from its tracks `(num_channels, num_tracks, num_samples)`."""
    return [
        {
            "label": f"source_{index}",
            "audio": recording.restore_layout(track),
            "sampling_rate": recording.sampling_rate,
            "segments": spans,
        }
        for index, (track, spans) in enumerate(zip(tracks.unbind(dim=1), segments, strict=True))
    ]


__all__ = ["format_tracks", "restore_tracks"]
