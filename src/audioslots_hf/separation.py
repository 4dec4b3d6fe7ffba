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
"""Separation of one audio file into one file per source, in bounded memory."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import get_logger, tqdm

from .audio import LOSSY_SUBTYPES, AudioFile, TrackWriter, open_audio, output_format
from .channels import ChannelActivity, describe_cancelled, describe_separate
from .conversation import ConversationPlan, ConversationSeparator
from .diarization import ConversationDescription
from .files import replacing, write_text
from .jobs import OutputChoices, SeparationJob
from .plots import plot_separation
from .progress import Progress
from .records import is_unfinished, is_without_people, mark_unfinished, remove_stale, unmark_unfinished, write_record
from .report import ReportContent, describe_settings, write_report
from .resampling import resample_blocks
from .separator import Separator


logger = get_logger(__name__)

# A plot of a longer recording would show no details.
MAX_PLOT_S = 30


@dataclass
class SeparatedFile:
    """
    A recording that was separated.

    Args:
        paths (`list` of `Path`):
            The written files, tracks first.
        duration_s (`float`):
            Length of the recording in seconds.
        description (`dict`):
            Its `warnings`, and of a conversation the content of [`ConversationDescription`].
    """

    paths: list[Path]
    duration_s: float
    description: dict[str, Any]


def separate_file(
    job: SeparationJob, separator: Separator, choices: OutputChoices, progress: Progress | None = None
) -> SeparatedFile | None:
    """
    Separate one file, block by block.

    Args:
        job ([`SeparationJob`]):
            The input and the outputs.
        separator ([`Separator`]):
            The loaded model.
        choices ([`OutputChoices`]):
            The files to write.
        progress ([`Progress`], *optional*):
            Of one pass.

    Returns:
        The written files, `None` if the recording was left alone.

    Raises:
        `ValueError`, `OSError`: the input cannot be read, or an output exists. Then no track is written.
        `SeparationCancelled`: the caller cancelled the separation. Then no track is written.
    """
    progress = progress or Progress()
    num_sources = separator.model.config.num_sources
    with open_audio(job.recording, choices.mix) as audio:
        suffix, file_format, subtype = output_format(audio, choices.track_format)
        paths = job.output_paths(num_sources, suffix)
        outputs = [*paths, *job.picture_paths(choices)]
        if choices.skip_existing and _is_done(job, outputs):
            return None
        _check_outputs(outputs, choices.force or choices.skip_existing)
        with TrackWriter(paths, audio.sampling_rate, audio.num_channels, file_format, subtype) as writer:
            heard = ChannelActivity(audio.sampling_rate)
            for block in stream_estimates(audio, separator, progress, heard):
                writer.write(block)
            warnings = [*audio.sound.warnings, _warn_about_channels(heard, audio), _warn_about_gain(writer, job)]
            writer.save()
            duration_s = writer.num_samples / audio.sampling_rate
    warnings = [warning for warning in warnings if warning]
    content = ReportContent(job.recording, paths, duration_s, describe_settings(separator, choices), None, warnings)
    if job.picture_paths(choices):
        mark_unfinished(job.folder, job.recording.stem, paths)
    paths = [*paths, *_draw(job, content, choices)]
    if choices.force:
        remove_stale(job.folder, job.recording.stem, paths)
    unmark_unfinished(job.folder, job.recording.stem)
    progress.finish()
    return SeparatedFile(paths, duration_s, {"warnings": warnings})


def separate_conversation(
    job: SeparationJob,
    separator: ConversationSeparator | None,
    choices: OutputChoices,
    progress: Progress | None = None,
) -> SeparatedFile | None:
    """
    Separate a conversation into one file per person, in two passes over the recording, block by block.

    Args:
        job ([`SeparationJob`]):
            The input and the outputs.
        separator ([`ConversationSeparator`]):
            The loaded model and voice encoder; `None` if each channel is the track of a person.
        choices ([`OutputChoices`]):
            The files to write.
        progress ([`Progress`], *optional*):
            Of two passes.

    Returns:
        The written files, without tracks if nobody speaks; `None` if the recording was left alone.

    Raises:
        `ValueError`, `OSError`: the input cannot be read, or an output exists. Then no track is written.
        `SeparationCancelled`: the caller cancelled the separation. Then no track is written.
    """
    progress = progress or Progress(num_passes=2)
    with open_audio(job.recording, choices.mix) as audio:
        suffix, _, _ = output_format(audio, choices.track_format)
        # the first track is the last to be written
        outputs = [*job.output_paths(1, suffix), *job.description_paths(choices), *job.picture_paths(choices)]
        if choices.skip_existing and _is_done(job, outputs):
            return None
        force = choices.force or choices.skip_existing
        _check_outputs(outputs, force)
        plan, heard = _plan_tracks(audio, separator, progress)
        progress.finish_pass()
        description = ConversationDescription(job.recording.name, plan, audio.sampling_rate)
        description.warnings += audio.sound.warnings
        if separator is not None and (warning := _warn_about_channels(heard, audio)):
            description.warn(warning)
        paths, state = job.output_paths(plan.num_voices, suffix), audio.sound.state
    _check_outputs(paths, force)
    if plan.num_voices == 0:
        description.warn("nobody speaks in this recording: there are no tracks")
        logger.warning(f"{job.recording}: nobody speaks in this recording, so no tracks are written.")
    else:
        with _reopen_audio(job, choices, state) as audio:
            _write_tracks(job, audio, separator, description, choices, progress)
        mark_unfinished(job.folder, job.recording.stem, paths)
    settings = describe_settings(separator, choices)
    written = [*paths, *_describe_conversation(job, description, paths, choices, settings)]
    if choices.force:
        # an earlier run may have found more people
        remove_stale(job.folder, job.recording.stem, written)
    write_record(job.folder, job.recording.stem, written)
    unmark_unfinished(job.folder, job.recording.stem)
    progress.finish()
    return SeparatedFile(written, plan.duration_s, description.describe())


def _is_done(job: SeparationJob, outputs: list[Path]) -> bool:
    """
    Whether an earlier run wrote the outputs of a recording, of which the first is the first track.

    Raises:
        `ValueError`: it wrote the tracks, and another output is missing. Separating anew would replace tracks that may be edited.
    """
    missing = [path for path in outputs if not path.is_file()]
    # the first track is the last to be written; where nobody speaks, there is neither a track nor a picture
    if outputs[0] in missing:
        return {*missing} <= {outputs[0], job.plot_path} and is_without_people(job.folder, job.recording.stem)
    if missing and not is_unfinished(job.folder, job.recording.stem):
        raise ValueError(
            f"{outputs[0]} exists, and {missing[0].name} does not: --skip-existing replaces no tracks, so pass --force to separate "
            f"{job.recording} anew, leave out the option of {missing[0].name}, or choose another folder."
        )
    return not missing


@contextmanager
def _reopen_audio(
    job: SeparationJob, choices: OutputChoices, state: tuple[int, int, int] | None
) -> Iterator[AudioFile]:
    """Open a recording for a second pass, or raise a `ValueError` if it is not in the state of the first."""
    with open_audio(job.recording, choices.mix, is_read_again=True) as audio:
        if audio.sound.state != state:
            raise ValueError(f"{job.recording} changed between two passes: try again when it is complete.")
        yield audio


def _describe_conversation(
    job: SeparationJob,
    description: ConversationDescription,
    paths: list[Path],
    choices: OutputChoices,
    settings: dict[str, str],
) -> list[Path]:
    """Write what the user wants beside the tracks of a conversation -> the files."""
    description.tracks = [path.name for path in paths]
    plan = description.plan
    content = ReportContent(job.recording, paths, plan.duration_s, settings, plan.segments, description.warnings)
    if choices.rttm:
        write_text(job.rttm_path, description.to_rttm())
    if choices.json:
        write_text(job.json_path, description.to_json())
    return [*job.description_paths(choices), *_draw(job, content, choices)]


def _draw(job: SeparationJob, content: ReportContent, choices: OutputChoices) -> list[Path]:
    """Write what the user wants for looking at a separation -> the files."""
    written = []
    if choices.plot and content.tracks:
        _plot_files(job.plot_path, job.recording, content.tracks)
        written.append(job.plot_path)
    if choices.report:
        # a page may be sent to others, whom folders do not concern
        content.warnings = [text.replace(str(job.recording), job.recording.name) for text in content.warnings]
        write_report(job.report_path, content)
        written.append(job.report_path)
    return written


def _plan_tracks(
    audio: AudioFile, separator: ConversationSeparator | None, progress: Progress
) -> tuple[ConversationPlan, ChannelActivity]:
    """The first pass over an open file: who speaks when, and in which channels."""
    heard = ChannelActivity(audio.sampling_rate)
    blocks = heard.watch(show_progress(audio, progress))
    if separator is not None:
        return separator.plan(resample_blocks(blocks, audio.sampling_rate, separator.sampling_rate)), heard
    for _ in blocks:
        pass
    return heard.plan(), heard


def _write_tracks(
    job: SeparationJob,
    audio: AudioFile,
    separator: ConversationSeparator | None,
    description: ConversationDescription,
    choices: OutputChoices,
    progress: Progress,
) -> None:
    """Write the tracks in a second pass over a file, and describe them."""
    suffix, file_format, subtype = output_format(audio, choices.track_format)
    paths = job.output_paths(description.plan.num_voices, suffix)
    num_channels = 1 if separator is None else audio.num_channels
    with TrackWriter(paths, audio.sampling_rate, num_channels, file_format, subtype) as writer:
        for block in _stream_tracks(audio, separator, description.plan, progress):
            description.add(block)
            writer.write(block)
        if warning := _warn_about_gain(writer, job):
            description.warn(warning)
        writer.save()


def _check_length(path: Path) -> None:
    """Raise a `ValueError` if the disk takes no name as long as that of an output."""
    try:
        path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ValueError(
            f"{path.name} is too long for the name of a file: shorten the name of the recording."
        ) from error


def _check_outputs(paths: list[Path], force: bool) -> None:
    """Raise a `ValueError` if an output is a folder, or exists and may not be overwritten."""
    for path in paths:
        _check_length(path)
        if path.is_dir():
            raise ValueError(f"{path} is a folder: rename it, or choose another folder for the tracks.")
        if path.exists() and not force:
            raise ValueError(
                f"{path} exists: pass --force to overwrite it or --skip-existing to leave it, or choose another folder."
            )


def _warn_about_channels(heard: ChannelActivity, audio: AudioFile) -> str | None:
    """Warn if channels are separate voices already, or cancel each other in their mean -> the warning, or `None`."""
    if audio.mixer is not None and audio.mixer.cancels():
        warning = describe_cancelled("--channels each")
    elif heard.are_separate():
        warning = describe_separate("--channels split")
    else:
        return None
    logger.warning(f"{audio.path}: {warning}.")
    return warning


def _warn_about_gain(writer: TrackWriter, job: SeparationJob) -> str | None:
    """Warn if tracks are attenuated to prevent clipping -> the warning, or `None`."""
    if writer.gain == 1.0:
        return None
    warning = (
        f"The tracks of {job.recording} peak at {writer.peak:.2f} and would clip in {writer.subtype}: all of them are "
        f"multiplied by {writer.gain:.3f}."
    )
    if writer.subtype in LOSSY_SUBTYPES:
        warning += (
            f" {writer.subtype} changes peaks, so single samples may still clip: use --format flac to avoid this."
        )
    logger.warning(warning)
    return warning


def _stream_tracks(
    audio: AudioFile, separator: ConversationSeparator | None, plan: ConversationPlan, progress: Progress
) -> Iterator[torch.Tensor]:
    """The tracks of a conversation in an open file -> blocks (num_channels, num_voices, num_samples), together as long as it."""
    if separator is None:
        yield from (block.unsqueeze(0) for block in show_progress(audio, progress))
    elif plan.num_voices == 1:
        # the recording itself, without any resampling
        yield from (block.unsqueeze(1) for block in show_progress(audio, progress))
    else:
        yield from _restore_rate(
            audio, separator.sampling_rate, lambda blocks: separator.stream(blocks, plan), progress
        )


def show_progress(audio: AudioFile, progress: Progress) -> Iterator[torch.Tensor]:
    """The blocks of an open file, with a progress bar if someone looks at it, reported to the caller."""
    options = {"unit": "sample", "unit_scale": True, "desc": audio.path.name}
    # `None`: none in a pipe or a log
    with tqdm(total=audio.expected_samples, disable=None, **options) as bar:
        for block in progress.watch(audio.blocks(), audio.expected_samples):
            yield block
            bar.update(block.shape[-1])


def stream_estimates(
    audio: AudioFile, separator: Separator, progress: Progress, heard: ChannelActivity
) -> Iterator[torch.Tensor]:
    """Separate an open file -> blocks (num_channels, num_sources, num_samples), together as long as the file."""
    yield from _restore_rate(audio, separator.sampling_rate, separator.stream, progress, heard)


def _restore_rate(
    audio: AudioFile,
    sampling_rate: int,
    stream: Callable[[Iterator[torch.Tensor]], Iterator[torch.Tensor]],
    progress: Progress,
    heard: ChannelActivity | None = None,
) -> Iterator[torch.Tensor]:
    """Run a stream that works at another sampling rate over an open file -> blocks at the rate of the file, as long as it."""
    num_read = num_sent = 0

    def count() -> Iterator[torch.Tensor]:
        nonlocal num_read
        blocks = show_progress(audio, progress)
        for block in blocks if heard is None else heard.watch(blocks):
            num_read += block.shape[-1]
            yield block

    blocks = resample_blocks(count(), audio.sampling_rate, sampling_rate)
    for block in resample_blocks(stream(blocks), sampling_rate, audio.sampling_rate):
        # resampling there and back rounds the length up
        block = block[..., : num_read - num_sent]
        num_sent += block.shape[-1]
        yield block


def _plot_files(path: Path, mixture: Path, sources: list[Path]) -> None:
    """Draw the first seconds of the mixture and of its sources."""
    tracks = {}
    for role, file in [("mixture", mixture), *(("estimate", source) for source in sources)]:
        with open_audio(file, may_change=True, is_read_again=True) as audio:
            tracks[f"{role}: {file.name}"] = audio.read_start(MAX_PLOT_S).mean(dim=0).numpy()
            sampling_rate = audio.sampling_rate
    with replacing(path) as temporary:
        plot_separation(temporary, tracks, sampling_rate)


__all__ = [
    "MAX_PLOT_S",
    "SeparatedFile",
    "separate_conversation",
    "separate_file",
    "show_progress",
    "stream_estimates",
]
