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
"""The speech of one speaker, cut into stretches at quiet positions."""

from dataclasses import dataclass

import numpy as np

from ..settings import SettingsError
from .activity import FRAMES_PER_S, MIN_SOUND_S, find_activity, frame_length, frame_levels_db
from .speech import Utterance


# minimum length of a stretch of an utterance
MIN_REST_S = 1.0


@dataclass
class Stretch:
    """Some seconds of one speaker that start and end with speech: samples, and whether each frame of 10 ms is speech."""

    samples: np.ndarray
    active: np.ndarray
    loudness: float


class SpeakerLine:
    """Successive stretches of the speech of one speaker; none repeats before all of them have occurred."""

    def __init__(self, utterances: list[Utterance], sampling_rate: int, rng: np.random.Generator):
        self.utterances = utterances
        self.sampling_rate = sampling_rate
        self.rng = rng
        self.waiting: list[int] = []
        self.rest: Stretch | None = None

    def take(self, duration_s: float) -> Stretch:
        """The next stretch of about this duration, which ends at a quiet position; shorter at the end of an utterance."""
        if self.rest is None or len(self.rest.active) < MIN_REST_S * FRAMES_PER_S:
            self.rest = self.open_utterance()
        stretch, num_frames = self.rest, round(duration_s * FRAMES_PER_S)
        if len(stretch.active) < num_frames + MIN_REST_S * FRAMES_PER_S:
            self.rest = None
            return stretch
        # a stretch begins and ends with speech, so that there is some on either side of the cut; the quietest tenth of a second near the wanted end
        first, last = int(0.7 * num_frames), int(1.3 * num_frames)
        levels = frame_levels_db(stretch.samples, self.sampling_rate)[first : last + 10]
        stop = first + 5 + int(np.convolve(levels, np.ones(10), "valid").argmin())
        self.rest = trim(stretch, stop, len(stretch.active), self.sampling_rate)
        return trim(stretch, 0, stop, self.sampling_rate)

    def open_utterance(self) -> Stretch:
        """The next utterance in random order, without the silence at its ends."""
        if not self.waiting:
            self.waiting = self.rng.permutation(len(self.utterances)).tolist()
        utterance = self.utterances[self.waiting.pop()]
        samples = utterance.read(0, utterance.num_samples, self.sampling_rate)
        active = find_activity(samples, self.sampling_rate)
        if not active.any():
            raise SettingsError(f"{utterance.path} contains no speech of {MIN_SOUND_S} s: leave it out.")
        return trim(Stretch(samples, active, utterance.loudness), 0, len(active), self.sampling_rate)


def trim(stretch: Stretch, start: int, stop: int, sampling_rate: int) -> Stretch:
    """The part from one frame to another, in which there is speech, without the silence at its ends."""
    frames = np.flatnonzero(stretch.active[start:stop])
    start, stop = start + int(frames[0]), start + int(frames[-1]) + 1
    length = frame_length(sampling_rate)
    samples = stretch.samples[start * length : stop * length].copy()
    # fade, to avoid a click at the cut
    fade = np.linspace(0, 1, length, dtype=np.float32)
    samples[:length] *= fade
    samples[-length:] *= fade[::-1]
    return Stretch(samples, stretch.active[start:stop], stretch.loudness)
