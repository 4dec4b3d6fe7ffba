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
"""From one audio file to one file per source, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

import torch
from transformers.utils.logging import get_logger, tqdm

from .audio import AudioFile, TrackWriter, open_audio, output_format
from .files import replacing
from .jobs import SeparationJob
from .plots import plot_separation
from .resampling import resample_blocks
from .separator import Separator


logger = get_logger(__name__)

# A picture of more than this shows nothing.
MAX_PLOT_S = 30


def separate_file(job: SeparationJob, separator: Separator, force: bool, plot: bool) -> list[Path]:
    """
    Separate one file, block by block.

    Args:
        job ([`SeparationJob`]):
            What to separate, and where to.
        separator ([`Separator`]):
            The loaded model.
        force (`bool`):
            Whether to overwrite outputs.
        plot (`bool`):
            Whether to draw the separation as well.

    Returns:
        The files written.

    Raises:
        `ValueError`, `OSError`: the input cannot be read, or an output exists. Then no track is written.
    """
    num_sources = separator.model.config.num_sources
    with open_audio(job.recording) as audio:
        suffix, file_format, subtype = output_format(audio)
        paths = job.output_paths(num_sources, suffix)
        for path in [*paths, job.plot_path] if plot else paths:
            if path.is_dir():
                raise ValueError(f"{path} is a folder: rename it, or choose another folder for the tracks.")
            if path.exists() and not force:
                raise ValueError(f"{path} exists: pass --force to overwrite it, or choose another folder.")
        with TrackWriter(paths, audio.sampling_rate, audio.num_channels, file_format, subtype) as writer:
            for block in stream_estimates(audio, separator):
                writer.write(block)
            if writer.gain != 1.0:
                logger.warning(
                    f"The tracks of {job.recording} peak at {writer.peak:.2f} and would clip in {subtype}: all of them "
                    f"are multiplied by {writer.gain:.3f}."
                )
            writer.save()
    if plot:
        plot_files(job.plot_path, job.recording, paths)
        paths = [*paths, job.plot_path]
    return paths


def stream_estimates(audio: AudioFile, separator: Separator) -> Iterator[torch.Tensor]:
    """Separate an open file -> blocks (num_channels, num_sources, num_samples), together as long as the file."""
    num_read = num_sent = 0
    with tqdm(total=audio.expected_samples, unit="sample", unit_scale=True, desc=audio.path.name) as bar:

        def count(blocks: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
            nonlocal num_read
            for block in blocks:
                num_read += block.shape[-1]
                yield block
                bar.update(block.shape[-1])

        blocks = resample_blocks(count(audio.blocks()), audio.sampling_rate, separator.sampling_rate)
        for block in resample_blocks(separator.stream(blocks), separator.sampling_rate, audio.sampling_rate):
            # resampling there and back rounds the length up
            block = block[..., : num_read - num_sent]
            num_sent += block.shape[-1]
            yield block


def plot_files(path: Path, mixture: Path, sources: list[Path]) -> None:
    """Draw the first seconds of the mixture and of its sources."""
    tracks = {}
    for role, file in [("mixture", mixture), *(("estimate", source) for source in sources)]:
        with open_audio(file) as audio:
            tracks[f"{role}: {file.name}"] = audio.read_start(MAX_PLOT_S).mean(dim=0).numpy()
            sampling_rate = audio.sampling_rate
    with replacing(path) as temporary:
        plot_separation(temporary, tracks, sampling_rate)
