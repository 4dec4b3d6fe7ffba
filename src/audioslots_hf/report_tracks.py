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
"""The audio, the spectrogram and the activity of a file, small enough for a page."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers.utils.logging import tqdm

from .activity import frame_length, frame_powers
from .audio import open_audio
from .plots import RANGE_DB, SILENCE_DB
from .resampling import resample_blocks


# all players of a page, before base64, which adds a third
MAX_AUDIO_BYTES = 24 * 2**20
# sampling rate, compression level of libsndfile, and the bits per second that result
ENCODINGS = ((16000, 0.6, 64000), (16000, 0.8, 40000), (8000, 0.7, 24000))
MAX_COLUMNS, NUM_ROWS = 1200, 96
MAX_FREQUENCY_HZ = 8000
HOP_S = 0.008


@dataclass
class PlayerFormat:
    """
    How the players of a page are encoded: as MP3, which every browser plays, at a constant rate of bits, so that they stay in step.

    Args:
        sampling_rate (`int`):
            In hertz.
        compression_level (`float`):
            Of libsndfile.
        bits_per_s (`int`):
            The rate that it results in.
        duration_s (`float`):
            How much of the recording is played.
    """

    sampling_rate: int
    compression_level: float
    bits_per_s: int
    duration_s: float


def choose_player(num_players: int, duration_s: float) -> PlayerFormat:
    """The best format whose players fit into a page; of a very long recording only the start."""
    *better, smallest = [
        PlayerFormat(*encoding, min(duration_s, MAX_AUDIO_BYTES * 8 / (num_players * encoding[-1])))
        for encoding in ENCODINGS
    ]
    return next((player for player in better if player.duration_s == duration_s), smallest)


@dataclass
class TrackContent:
    """
    The content of a file for a page.

    Args:
        audio (`bytes`):
            The mean of the channels as MP3.
        levels_db (`np.ndarray` of shape `(num_rows, num_columns)`):
            Spectrogram, low frequencies first.
        powers (`np.ndarray` of shape `(num_frames,)`):
            Of frames of 20 ms.
        sampling_rate (`int`):
            Of the file, in hertz.
        num_channels (`int`):
            Of the file.
    """

    audio: bytes
    levels_db: np.ndarray
    powers: np.ndarray
    sampling_rate: int
    num_channels: int


class Spectrogram:
    """
    A spectrogram of bounded size, from successive blocks of a recording of any length.

    Args:
        sampling_rate (`int`):
            In hertz.
        duration_s (`float`):
            Length of the recording in seconds.
    """

    def __init__(self, sampling_rate: int, duration_s: float):
        self.hop_length = max(1, round(HOP_S * sampling_rate))
        self.window = torch.hann_window(4 * self.hop_length)
        self.num_frames = max(1, round(duration_s * sampling_rate / self.hop_length))
        num_bins = 2 * self.hop_length + 1
        num_heard = max(1, round(num_bins * min(1.0, 2 * MAX_FREQUENCY_HZ / sampling_rate)))
        # the row of each bin, and none of those above the highest frequency
        self.rows = torch.arange(num_heard) * min(NUM_ROWS, num_heard) // num_heard
        self.sums = torch.zeros(int(self.rows.max()) + 1, min(MAX_COLUMNS, self.num_frames))
        self.counts = torch.zeros(self.sums.shape[1])
        self.rest = torch.zeros(0)
        self.index = 0

    def add(self, block: torch.Tensor) -> None:
        """Add the next samples `(num_samples,)`."""
        samples = torch.cat([self.rest, block])
        if len(samples) < len(self.window):
            self.rest = samples
            return
        frames = samples.unfold(0, len(self.window), self.hop_length)
        powers = torch.fft.rfft(frames * self.window).abs().square()[:, : len(self.rows)]
        pooled = torch.zeros(len(frames), len(self.sums)).index_add_(1, self.rows, powers)
        indices = self.index + torch.arange(len(frames))
        columns = (indices * self.sums.shape[1] // self.num_frames).clamp(max=self.sums.shape[1] - 1)
        self.sums.index_add_(1, columns, pooled.T.contiguous())
        self.counts.index_add_(0, columns, torch.ones(len(frames)))
        self.index += len(frames)
        self.rest = samples[len(frames) * self.hop_length :]

    @property
    def levels_db(self) -> np.ndarray:
        """Mean level of each cell, `(num_rows, num_columns)`."""
        bins = torch.bincount(self.rows).unsqueeze(1)
        means = self.sums / (bins * self.counts.clamp(min=1))
        return (10 * torch.log10(means + 10 ** (SILENCE_DB / 10))).numpy()


def read_track(path: Path, player: PlayerFormat, duration_s: float) -> TrackContent:
    """Read a file once, block by block, in bounded memory."""
    encoded = io.BytesIO()
    with open_audio(path, may_change=True, is_read_again=True) as audio:
        spectrogram = Spectrogram(audio.sampling_rate, duration_s)
        length, powers = frame_length(audio.sampling_rate), []

        def listen() -> Iterator[torch.Tensor]:
            rest = torch.zeros(0)
            with tqdm(total=audio.expected_samples, disable=None, desc=f"{path.name}: report") as bar:
                for block in audio.blocks():
                    samples = block.mean(dim=0)
                    spectrogram.add(samples)
                    rest = torch.cat([rest, samples])
                    whole = len(rest) // length * length
                    powers.append(frame_powers(rest[:whole], audio.sampling_rate))
                    rest = rest[whole:]
                    yield samples
                    bar.update(len(samples))
            powers.append(frame_powers(rest, audio.sampling_rate) if len(rest) else torch.zeros(0))

        _encode(encoded, resample_blocks(listen(), audio.sampling_rate, player.sampling_rate), player)
        # the window of the last frames extends beyond the end
        spectrogram.add(torch.zeros(len(spectrogram.window)))
        return TrackContent(
            encoded.getvalue(),
            spectrogram.levels_db,
            torch.cat(powers).numpy(),
            audio.sampling_rate,
            audio.sound.num_channels,
        )


def _encode(file: io.BytesIO, blocks: Iterator[torch.Tensor], player: PlayerFormat) -> None:
    """Write blocks `(num_samples,)` as MP3, as far as the player goes; all blocks are read."""
    num_left = round(player.duration_s * player.sampling_rate)
    options = {"compression_level": player.compression_level, "bitrate_mode": "CONSTANT"}
    with soundfile.SoundFile(file, "w", player.sampling_rate, 1, "MPEG_LAYER_III", format="MP3", **options) as output:
        for block in blocks:
            part = block[:num_left]
            output.write(part.clamp(-1, 1).numpy())
            num_left -= len(part)


def draw_spectrogram(levels_db: np.ndarray, loudest_db: float) -> bytes:
    """A spectrogram `(num_rows, num_columns)` as PNG with 256 colours; `loudest_db` is the brightest level."""
    from matplotlib import colormaps
    from PIL import Image

    indices = np.clip((levels_db - loudest_db) / RANGE_DB + 1, 0, 1) * 255
    picture = Image.fromarray(np.flipud(indices).round().astype(np.uint8), "P")
    colours = colormaps["magma"](np.arange(256), bytes=True)[:, :3]
    picture.putpalette(colours.tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


__all__ = [
    "ENCODINGS",
    "HOP_S",
    "MAX_AUDIO_BYTES",
    "MAX_COLUMNS",
    "MAX_FREQUENCY_HZ",
    "NUM_ROWS",
    "PlayerFormat",
    "Spectrogram",
    "TrackContent",
    "choose_player",
    "draw_spectrogram",
    "read_track",
]
