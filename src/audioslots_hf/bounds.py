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
"""Bounds of rate, channels and duration: the values in a header determine time and memory."""

MIN_SAMPLING_RATE = 1_000
# the highest rate of bat detectors; higher values come from broken headers
MAX_SAMPLING_RATE = 768_000
# an ambisonic recording of order seven
MAX_CHANNELS = 64
# summed over all channels: a day of eight microphones
MAX_CHANNEL_HOURS = 200
# largest recording that is read into memory at once: 8 GiB in float32
MAX_NUM_VALUES = 2**31
# A file of a few hundred kB may decode to GBs of silence. Speech of the lowest bit rates has about 60 samples per byte.
MAX_VALUES_PER_BYTE = 200
FREE_NUM_VALUES = 2**26
# for ten seconds of audio, which take a hundredth of a second
MAX_DECODING_S = 60


def check_form(name: str, sampling_rate: int, num_channels: int) -> None:
    """Raise a `ValueError` unless the rate, in hertz, and the number of channels of a recording are supported."""
    if not MIN_SAMPLING_RATE <= sampling_rate <= MAX_SAMPLING_RATE:
        raise ValueError(
            f"{name} has a sampling rate of {sampling_rate} Hz: {MIN_SAMPLING_RATE} to {MAX_SAMPLING_RATE} Hz are supported. If "
            "its header is wrong, correct it, for instance with sox."
        )
    if not 1 <= num_channels <= MAX_CHANNELS:
        raise ValueError(f"{name} has {num_channels} channels: 1 to {MAX_CHANNELS} are supported. Split it first.")


def check_duration(name: str, num_samples: int, sampling_rate: int, num_channels: int) -> None:
    """Raise a `ValueError` if a recording is implausibly long."""
    hours = num_samples * num_channels / sampling_rate / 3600
    if hours > MAX_CHANNEL_HOURS:
        raise ValueError(
            f"{name} has {hours:,.0f} hours of audio over all its channels: at most {MAX_CHANNEL_HOURS} are supported. Cut it first."
        )


def check_memory(name: str, num_values: int, num_bytes: int) -> None:
    """
    Raise a `ValueError` if reading a whole recording takes too much memory.

    Args:
        name (`str`):
            Name of the recording, for the message.
        num_values (`int`):
            Samples of all channels.
        num_bytes (`int`):
            Size of the file.
    """
    allowed = min(MAX_NUM_VALUES, FREE_NUM_VALUES + MAX_VALUES_PER_BYTE * num_bytes)
    if num_values > allowed:
        raise ValueError(
            f"{name} holds more than {allowed:,} samples in {num_bytes:,} bytes, which is too much to read at once: separate it "
            "with `audioslots separate`, which needs little memory, or cut it first."
        )


__all__ = [
    "FREE_NUM_VALUES",
    "MAX_CHANNELS",
    "MAX_CHANNEL_HOURS",
    "MAX_DECODING_S",
    "MAX_NUM_VALUES",
    "MAX_SAMPLING_RATE",
    "MAX_VALUES_PER_BYTE",
    "MIN_SAMPLING_RATE",
    "check_duration",
    "check_form",
    "check_memory",
]
