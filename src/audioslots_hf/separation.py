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

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers.utils.logging import get_logger, tqdm

from .audio import AudioFile, TrackWriter, open_audio, output_format
from .chunking import chunk_separator, default_hop_length, separate_blocks
from .files import replacing
from .pipeline_audio_separation import AudioSeparationPipeline
from .plots import plot_separation
from .recordings import open_sound, read_samples
from .resampling import resample_blocks


logger = get_logger(__name__)

# A picture of more than this shows nothing.
MAX_PLOT_S = 30


@dataclass
class SeparationJob:
    """One input file and the folder its tracks go to."""

    recording: Path
    folder: Path

    def output_paths(self, num_sources: int, suffix: str) -> list[Path]:
        """`<folder>/<name>_source_0<suffix>` and so on."""
        return [self.folder / f"{self.recording.stem}_source_{index}{suffix}" for index in range(num_sources)]

    @property
    def plot_path(self) -> Path:
        """Where the picture of this separation goes."""
        return self.folder / f"{self.recording.stem}_separation.png"


def plan_jobs(files: list[tuple[Path, Path]], output: Path) -> list[SeparationJob]:
    """
    Check the outputs of all files before any work; a file that is given twice is separated once.

    Raises:
        `ValueError`: two inputs would write the same tracks, or an input is a track.
        `OSError`: the output folder cannot be made or written to.
    """
    jobs: dict[Path, SeparationJob] = {}
    for recording, folder in files:
        job = SeparationJob(recording, output / folder)
        target = job.folder / recording.stem
        other = jobs.setdefault(target, job).recording
        # one file may be named twice: by itself, and by its folder
        if other != recording and other.resolve() != recording.resolve():
            raise ValueError(
                f"{other} and {recording} would both write {target}_source_0: rename one, or separate them into "
                "different folders."
            )
    for job in jobs.values():
        # with --force, tracks of an earlier run would be overwritten before they are read
        name = re.fullmatch(r"(.+)_source_\d+", job.recording.stem)
        if name and (job.recording.parent / name[1]).resolve() in {target.resolve() for target in jobs}:
            raise ValueError(
                f"{job.recording} is both an input and a track of {name[1]}: separate into another folder, or name the files."
            )
    for folder in sorted({job.folder for job in jobs.values()}):
        make_folder(folder)
    return list(jobs.values())


def make_folder(folder: Path) -> None:
    """Make an output folder, or raise an `OSError` that says why it cannot be used."""
    if folder.exists() and not folder.is_dir():
        raise OSError(f"The output {folder} is a file, not a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise OSError(f"The output folder {folder} cannot be written to: change its permissions or choose another.")


def separate_file(job: SeparationJob, pipeline: AudioSeparationPipeline, force: bool, plot: bool) -> list[Path]:
    """
    Separate one file, block by block.

    Args:
        job ([`SeparationJob`]):
            What to separate, and where to.
        pipeline ([`AudioSeparationPipeline`]):
            The loaded model, as from [`load_separator`].
        force (`bool`):
            Whether to overwrite outputs.
        plot (`bool`):
            Whether to draw the separation as well.

    Returns:
        The files written.

    Raises:
        `ValueError`, `OSError`: the input cannot be read, or an output exists. Then no track is written.
    """
    num_sources = pipeline.model.config.num_sources
    with open_audio(job.recording) as audio:
        suffix, file_format, subtype = output_format(job.recording, audio.sampling_rate, audio.num_channels)
        paths = job.output_paths(num_sources, suffix)
        for path in [*paths, job.plot_path] if plot else paths:
            if path.is_dir():
                raise ValueError(f"{path} is a folder: rename it, or choose another folder for the tracks.")
            if path.exists() and not force:
                raise ValueError(f"{path} exists: pass --force to overwrite it, or choose another folder.")
        with TrackWriter(paths, audio.sampling_rate, audio.num_channels, file_format, subtype) as writer:
            for block in stream_estimates(audio, pipeline):
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


def stream_estimates(audio: AudioFile, pipeline: AudioSeparationPipeline) -> Iterator[torch.Tensor]:
    """Separate an open file -> blocks (num_channels, num_sources, num_samples), together as long as the file."""
    config = pipeline.model.config
    with tqdm(total=audio.num_samples, unit="sample", unit_scale=True, desc=audio.path.name) as bar:

        def count(blocks: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
            for block in blocks:
                yield block
                bar.update(block.shape[-1])

        blocks = resample_blocks(count(audio.blocks()), audio.sampling_rate, config.sampling_rate)
        separate_chunks = chunk_separator(pipeline.model, pipeline.feature_extractor)
        hop_length = default_hop_length(config.chunk_length, config.sampling_rate)
        sources = separate_blocks(blocks, separate_chunks, config.chunk_length, hop_length, pipeline.batch_size)
        num_left = audio.num_samples
        for block in resample_blocks(sources, config.sampling_rate, audio.sampling_rate):
            # resampling there and back rounds the length up
            yield block[..., :num_left]
            num_left -= min(num_left, block.shape[-1])


def plot_files(path: Path, mixture: Path, sources: list[Path]) -> None:
    """Draw the first seconds of the mixture and of its sources."""
    with open_audio(mixture) as audio:
        sampling_rate = audio.sampling_rate
        samples = read_samples(audio.file, str(mixture), num_samples=MAX_PLOT_S * sampling_rate)
    tracks = {f"mixture: {mixture.name}": samples.mean(axis=1)}
    for source in sources:
        with open_sound(source, str(source)) as sound:
            samples = read_samples(sound, str(source), num_samples=MAX_PLOT_S * sampling_rate)
        tracks[f"estimate: {source.name}"] = samples.mean(axis=1)
    with replacing(path) as temporary:
        plot_separation(temporary, tracks, sampling_rate)
