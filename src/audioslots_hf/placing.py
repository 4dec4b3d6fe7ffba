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
"""Estimates on the tracks of their voices, and silence where a voice does not speak."""

import numpy as np
import torch

from .activity import frame_length
from .chunking import Chunk
from .panning import sharpen_tracks
from .turns import window_gains


def place_chunk(
    chunk: Chunk,
    estimates: torch.Tensor | None,
    assignment: np.ndarray,
    num_tracks: int,
    sampling_rate: int,
    panning: np.ndarray | None = None,
) -> torch.Tensor:
    """
    Put the estimates of a chunk on the tracks of their voices, without a DC offset: gates would make clicks of it.

    Args:
        chunk ([`~chunking.Chunk`]):
            The mixture.
        estimates (`torch.Tensor` of shape `(num_channels, num_estimates, num_samples)`, *optional*):
            Its estimates, which share its DC offset equally. Without them its tracks are zero.
        assignment (int `np.ndarray` of shape `(num_windows, num_estimates)`):
            Track of each estimate in each window; -1 for none.
        num_tracks (`int`):
            Number of tracks.
        sampling_rate (`int`):
            In hertz.
        panning (`np.ndarray` of shape `(num_tracks, num_differences)`, *optional*):
            Of the voices of the tracks, where they are panned.

    Returns:
        `torch.Tensor` of shape `(num_channels, num_tracks + 1, num_samples)`: the tracks, and the mixture.
    """
    offsets = chunk.find_offsets(sampling_rate)[:, None]
    samples = chunk.samples - offsets
    num_channels, num_samples = samples.shape
    placed = samples.new_zeros(num_channels, num_tracks + 1, num_samples)
    placed[:, -1] = samples
    if estimates is None:
        return placed
    times = (torch.arange(num_samples, dtype=torch.float32) + 0.5) / sampling_rate
    gains = window_gains(assignment, num_tracks, times)
    tracks = torch.einsum("ven,cen->cvn", gains, estimates - offsets[:, None] / estimates.shape[1])
    placed[:, :-1] = tracks if panning is None else sharpen_tracks(tracks, samples, panning, sampling_rate)
    return placed


def gate_tracks(tracks: torch.Tensor, activity: np.ndarray, start: int, sampling_rate: int) -> torch.Tensor:
    """
    Silence each voice while it does not speak, and add its leak to the active voices.

    Args:
        tracks (`torch.Tensor` of shape `(num_channels, num_voices + 1, num_samples)`):
            The tracks, and the mixture.
        activity (bool `np.ndarray` of shape `(num_voices, num_frames)`):
            Of the whole recording.
        start (`int`):
            Start of the tracks in the recording, in samples.
        sampling_rate (`int`):
            In hertz.

    Returns:
        `torch.Tensor` of shape `(num_channels, num_voices, num_samples)`.
    """
    tracks, mixture = tracks[:, :-1], tracks[:, -1:]
    # fully open in each active frame, and closed 10 ms away from it
    places = (np.arange(start, start + tracks.shape[-1]) + 0.5) / frame_length(sampling_rate) - 0.5
    frames = np.arange(max(0, int(places[0])), min(activity.shape[1], int(places[-1]) + 2))
    gates = np.stack([np.interp(places, frames, active[frames]) for active in activity])
    gates = torch.from_numpy(np.minimum(1, 2 * gates)).float()
    gated = gates * tracks
    rest = gates.amax(dim=0) * mixture - gated.sum(dim=1, keepdim=True)
    return gated + rest * gates / gates.sum(dim=0).clamp(min=1e-6)


__all__ = ["gate_tracks", "place_chunk"]
