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
"""Voice activity: frames whose level is near that of the loud ones."""

import numpy as np


FRAMES_PER_S = 100
# level of digital silence, and range of levels below the loud frames that counts as active
SILENCE_DB = -160.0
RANGE_DB = 25.0
# shorter pauses count as speech, shorter sounds do not
MIN_PAUSE_S = 0.3
MIN_SOUND_S = 0.1


def frame_length(sampling_rate: int) -> int:
    """Number of samples of a frame of 10 ms."""
    return sampling_rate // FRAMES_PER_S


def frame_levels_db(samples: np.ndarray, sampling_rate: int) -> np.ndarray:
    """(..., num_samples) -> (..., num_frames) in dB of full scale; samples after the last whole frame are ignored."""
    length = frame_length(sampling_rate)
    num_frames = samples.shape[-1] // length
    frames = samples[..., : num_frames * length].reshape(*samples.shape[:-1], num_frames, length)
    powers = np.square(frames, dtype=np.float64).mean(axis=-1)
    return 10 * np.log10(powers + 10 ** (SILENCE_DB / 10))


def loud_level_db(levels: np.ndarray) -> float:
    """
    The level that only 5 % of the sounding frames exceed, (num_frames,) -> dB.

    Frames 40 dB below the loudest are excluded, so that the level does not depend on the amount of silence in a recording.
    """
    if levels.size == 0:
        return SILENCE_DB
    return float(np.percentile(levels[levels >= levels.max() - 40], 95))


def find_activity(samples: np.ndarray, sampling_rate: int, min_loud_db: float = SILENCE_DB + RANGE_DB) -> np.ndarray:
    """
    Whether a voice is active, for each frame of 10 ms.

    A frame is active if it is at most 25 dB below the loud ones. Then pauses of less than 0.3 s are filled, and sounds of less
    than 0.1 s removed.

    Args:
        samples (`np.ndarray` of shape `(num_samples,)`):
            One voice.
        sampling_rate (`int`):
            In hertz.
        min_loud_db (`float`, *optional*):
            The lowest level that counts as loud, in dB of full scale; sound 25 dB below it is never active.

    Returns:
        bool `np.ndarray` of shape `(num_frames,)`.
    """
    levels = frame_levels_db(samples, sampling_rate)
    return smooth_activity(levels > max(loud_level_db(levels), min_loud_db) - RANGE_DB)


def smooth_activity(active: np.ndarray) -> np.ndarray:
    """Fill pauses of less than 0.3 s, then leave out sounds of less than 0.1 s: (num_frames,) -> same."""
    active = active.copy()
    for start, stop in find_spans(~active):
        if start > 0 and stop < len(active) and stop - start < MIN_PAUSE_S * FRAMES_PER_S:
            active[start:stop] = True
    for start, stop in find_spans(active):
        if stop - start < MIN_SOUND_S * FRAMES_PER_S:
            active[start:stop] = False
    return active


def find_spans(active: np.ndarray) -> list[tuple[int, int]]:
    """Start and stop of each run of true frames of (num_frames,)."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in changes.reshape(-1, 2)]


def fill_frames(segments: list[list[tuple[float, float]]], num_frames: int) -> np.ndarray:
    """Start and end in seconds of the segments of several rows -> bool (num_rows, num_frames), in frames of 10 ms."""
    activity = np.zeros((len(segments), num_frames), bool)
    for frames, spans in zip(activity, segments, strict=True):
        for start, end in spans:
            frames[round(start * FRAMES_PER_S) : round(end * FRAMES_PER_S)] = True
    return activity
