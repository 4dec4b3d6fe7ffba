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
"""The channels of a recording: separated each by itself, as their mean, or already one voice each."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from .activity import RANGE_DB, find_activity, find_threshold_db, frame_length, frame_powers, loud_level_db, to_db
from .conversation import ConversationPlan


CHANNELS = ("each", "mix", "split")
# Levels of two channels that correlate less hold different voices. Simulated conversations of two voices, overlap 0 to 40 %:
# at most -0.20 where each voice leaks into the other channel at -20 dB, at least 0.02 where voices are panned by 12 dB.
MAX_CORRELATION = -0.1
# levels are compared within this range below the loud frames of a channel, in frames where one of two channels is within the second
COMPARED_DB = 30.0
SPEECH_DB = 20.0
# Channels cancel each other if their mean has less than this share of the energy of the mean of independent channels. For two
# channels this is a correlation below -0.9, which microphones at different places do not reach.
CANCELLED_SHARE = 0.1


def check_channels(
    channels: str, num_speakers: int | str | None = None, max_speakers: int | None = None, prefix: str = ""
) -> None:
    """Raise a `ValueError` unless channels can be treated so; `prefix` makes the names of options those of the command."""
    if channels not in CHANNELS:
        raise ValueError(f"`{prefix}channels` is {channels!r}: it must be one of {', '.join(CHANNELS)}.")
    if channels == "split" and (num_speakers is not None or max_speakers is not None):
        raise ValueError(
            f"`{prefix}channels` is 'split': every channel is a person then, so leave out the number of speakers."
        )


class ChannelMixer:
    """The mean of the channels of a recording, block by block; learns whether the channels cancel each other in it."""

    def __init__(self):
        self.mixed_energy = self.channel_energy = 0.0

    def mix(self, block: torch.Tensor) -> torch.Tensor:
        """The mean of the channels of the next block: `(num_channels, num_samples)` -> `(1, num_samples)`"""
        mixed = block.mean(dim=0, keepdim=True)
        if block.numel():
            # without DC offsets, which may be the same in opposite channels
            centred = (block - block.mean(dim=1, keepdim=True)).double()
            self.channel_energy += float(centred.square().sum())
            self.mixed_energy += float(centred.mean(dim=0).square().sum())
            self.num_channels = len(block)
        return mixed

    def cancels(self) -> bool:
        """Whether the mean has far less energy than that of independent channels, so that some channels are inverted."""
        # of independent channels, the energy of the mean is that of all channels divided by the square of their number
        return self.channel_energy > 0 and self.mixed_energy * self.num_channels**2 < (
            CANCELLED_SHARE * self.channel_energy
        )


class ChannelActivity:
    """
    Learns from the blocks of a recording whether its channels are separate voices, and who speaks when if they are.

    Args:
        sampling_rate (`int`):
            Of the recording, in hertz.
    """

    def __init__(self, sampling_rate: int):
        self.sampling_rate = sampling_rate
        self.num_samples = 0
        self.rest: torch.Tensor | None = None
        self.parts: list[np.ndarray] = []

    def watch(self, blocks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Pass on successive blocks `(num_channels, num_samples)`, and remember the powers of their frames."""
        length = frame_length(self.sampling_rate)
        for block in blocks:
            self.num_samples += block.shape[-1]
            # blocks end within frames
            joined = block if self.rest is None else torch.cat([self.rest, block], dim=-1)
            whole = joined.shape[-1] // length * length
            self.parts.append(frame_powers(joined[:, :whole], self.sampling_rate).numpy())
            self.rest = joined[:, whole:].clone()
            yield block

    @property
    def powers(self) -> np.ndarray:
        """Of the frames of 20 ms of each channel so far, `(num_channels, num_frames)`."""
        if self.rest is None:
            return np.zeros((0, 0))
        last = [frame_powers(self.rest, self.sampling_rate).numpy()] if self.rest.shape[-1] else []
        return np.concatenate([*self.parts, *last], axis=1)

    def are_separate(self) -> bool:
        """Whether several channels contain speech, and their levels show different voices."""
        levels = [to_db(row) for row in self.powers if row.size and np.isfinite(find_threshold_db(row))]
        relative = [np.clip(row - loud_level_db(row), -COMPARED_DB, 0.0) for row in levels]
        pairs = [(first, second) for index, first in enumerate(relative) for second in relative[:index]]
        return bool(pairs) and all(_correlate(first, second) < MAX_CORRELATION for first, second in pairs)

    def plan(self) -> ConversationPlan:
        """Who speaks when, if each channel is a person."""
        powers = self.powers
        scaled = np.zeros_like(powers)
        for channel, row in enumerate(powers):
            # noise is left out first, because every channel has its own level and noise
            levels = to_db(row)
            heard = levels > find_threshold_db(row)
            scaled[channel, heard] = row[heard] / 10 ** (loud_level_db(levels) / 10)
        activity = find_activity(scaled, -RANGE_DB) if powers.size else np.zeros(powers.shape, bool)
        return ConversationPlan(np.zeros((0, len(powers)), int), activity, self.num_samples / self.sampling_rate)


def _correlate(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two rows of levels, over the frames in which one of them contains speech; 1 where none differ."""
    spoken = np.maximum(first, second) > -SPEECH_DB
    first, second = first[spoken], second[spoken]
    if len(first) < 2 or first.std() == 0 or second.std() == 0:
        return 1.0
    return float(np.corrcoef(first, second)[0, 1])


def describe_separate(option: str) -> str:
    """The warning for users whose recording has separate channels."""
    return f"the channels are already separate voices: use {option}"


def describe_cancelled(option: str) -> str:
    """The warning for users whose recording has channels of opposite polarity."""
    return f"the channels cancel each other in their mean, since some are inverted: use {option}"


def hear_channels(waveforms: torch.Tensor, sampling_rate: int) -> ChannelActivity:
    """The activity of the channels of a whole recording `(num_channels, num_samples)`."""
    heard = ChannelActivity(sampling_rate)
    for _ in heard.watch([waveforms]):
        pass
    return heard


def find_fault(waveforms: torch.Tensor, sampling_rate: int, channels: str) -> str | None:
    """The warning for channels `(num_channels, num_samples)` to which another choice of `channels` fits, or `None`."""
    if channels == "mix":
        mixer = ChannelMixer()
        mixer.mix(waveforms)
        return describe_cancelled("channels='each'") if mixer.cancels() else None
    if channels == "split":
        return None
    return describe_separate("channels='split'") if hear_channels(waveforms, sampling_rate).are_separate() else None


__all__ = [
    "CANCELLED_SHARE",
    "CHANNELS",
    "COMPARED_DB",
    "ChannelActivity",
    "ChannelMixer",
    "MAX_CORRELATION",
    "SPEECH_DB",
    "check_channels",
    "describe_cancelled",
    "describe_separate",
    "find_fault",
    "hear_channels",
]
