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
"""Scores of separated files, from any tool, against their references."""

import importlib.util
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers.utils.logging import get_logger, tqdm

from .audio import open_audio
from .files import replacing, write_csv, write_text
from .jobs import make_folder
from .layouts import find_mixtures, find_sources
from .metrics import score_separation
from .plots import plot_scores


logger = get_logger(__name__)

# Frames, strides and resampling change lengths by a few hundred samples at most; a larger difference is another cut.
MAX_LENGTH_DIFFERENCE_S = 0.05
SCORES = {"si_snr": "SI-SNR", "si_snri": "SI-SNRi", "sdr": "SDR", "sdri": "SDRi"}
OUTPUTS = ("scores.csv", "summary.json", "scores.png")


@dataclass
class ScoringJob:
    """The files of one recording: its sources by name, and its mixture if given."""

    recording: str
    references: dict[str, Path]
    estimates: dict[str, Path]
    mixture: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All of them."""
        mixture = [] if self.mixture is None else [self.mixture]
        return [*self.references.values(), *self.estimates.values(), *mixture]


def plan_scoring(estimates: Path, references: Path, mixtures: Path | None = None) -> list[ScoringJob]:
    """
    Match the files of three folders by recording, and check that they belong together. Reads only headers.

    Args:
        estimates (`Path`), references (`Path`):
            Folders of separated files and of true sources, each in one of the layouts of [`find_sources`].
        mixtures (`Path`, *optional*):
            Folder with one file per recording, named after it.

    Raises:
        `ValueError`: files are missing, unreadable, or differ in rate, length or number; the message lists all of them.
    """
    problems: list[str] = []
    true_sources = find_sources(references, problems)
    estimated = find_sources(estimates, problems)
    mixed = {} if mixtures is None else find_mixtures(mixtures, list(true_sources), problems)
    problems += [f"{name} has references but no estimates" for name in true_sources if name not in estimated]
    problems += [f"{name} has estimates but no references" for name in estimated if name not in true_sources]
    jobs = [
        ScoringJob(name, true_sources[name], estimated[name], mixed.get(name))
        for name in true_sources
        if name in estimated
    ]
    for job in tqdm(jobs, desc="Checking", unit="recording", disable=None):
        if mixtures is not None and job.mixture is None:
            problems.append(f"{job.recording} has no mixture in {mixtures}")
        problems += _check_job(job)
    if problems:
        raise ValueError("The files do not belong together:\n" + "\n".join(f"  {problem}" for problem in problems))
    return jobs


def _check_job(job: ScoringJob) -> list[str]:
    """Messages for all differences that prevent the comparison of the files of one recording."""
    problems = []
    if len(job.estimates) != len(job.references):
        problems.append(
            f"{job.recording} has {len(job.references)} references ({', '.join(job.references)}) but "
            f"{len(job.estimates)} estimates ({', '.join(job.estimates)})"
        )
    rates, lengths = {}, {}
    for path in job.files:
        try:
            with open_audio(path) as audio:
                rates[path], lengths[path] = audio.sampling_rate, audio.num_samples
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if len(set(rates.values())) > 1:
        listed = ", ".join(f"{path} {rate} Hz" for path, rate in rates.items())
        return [*problems, f"{job.recording} has several sampling rates, resample to one: {listed}"]
    num_samples = max((lengths[path] for path in job.references.values() if path in lengths), default=None)
    if num_samples is not None:
        problems += [
            f"{path} has {length} samples, but the references of {job.recording} have {num_samples}"
            for path, length in lengths.items()
            if abs(length - num_samples) > MAX_LENGTH_DIFFERENCE_S * rates[path]
        ]
    return problems


def _read_mono(path: Path) -> torch.Tensor:
    """Read a whole file, averaged over its channels, as float32 (num_samples,)."""
    with open_audio(path) as audio:
        return torch.cat([block.mean(dim=0) for block in audio.blocks()])


def _read_sources(paths: list[Path], num_samples: int | None = None) -> torch.Tensor:
    """
    Files -> float32 (num_sources, num_samples), by default as long as the longest.

    The references determine the length of a recording: longer estimates are cut, and shorter ones padded with silence, so
    that every part of a reference is scored.
    """
    waveforms = [_read_mono(path) for path in paths]
    padded = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    if num_samples is None:
        return padded
    return torch.nn.functional.pad(padded, (0, num_samples - padded.shape[-1]))


def _score_job(job: ScoringJob, with_sdr: bool) -> list[dict[str, str | float]]:
    """
    Score one recording.

    Args:
        job ([`ScoringJob`]):
            The recording, from [`plan_scoring`].
        with_sdr (`bool`):
            Whether to compute SDR as well.

    Returns:
        For each reference its name and file, the matched estimate, and the scores in dB.

    Raises:
        `ValueError`, `OSError`: a file cannot be decoded to its end.
    """
    references = _read_sources(list(job.references.values()))
    num_samples = references.shape[-1]
    estimates = _read_sources(list(job.estimates.values()), num_samples)
    mixtures = None if job.mixture is None else _read_sources([job.mixture], num_samples)
    is_silent = [bool(_warn_about_silence(*pair)) for pair in zip(job.references.values(), references, strict=True)]
    for path, estimate in zip(job.estimates.values(), estimates, strict=True):
        if fault := _describe_silence(path, estimate):
            logger.warning(f"{path} {fault}: it gets the lowest score.")
    scores = score_separation(estimates[None], references[None], mixtures, with_sdr=with_sdr)
    order = scores.pop("order")[0].tolist()
    paths = list(job.estimates.values())
    return [
        {
            "recording": job.recording,
            "source": source,
            "reference": str(job.references[source]),
            "estimate": str(paths[order[index]]),
            # a ratio to silence measures nothing
            **{name: math.nan if is_silent[index] else values[0, index].item() for name, values in scores.items()},
        }
        for index, source in enumerate(job.references)
    ]


def _warn_about_silence(path: Path, reference: torch.Tensor) -> str:
    """Warn if a reference holds no sound -> why, or nothing."""
    if fault := _describe_silence(path, reference):
        logger.warning(f"{path} {fault}: it has no scores, and counts in no mean.")
    return fault


def _describe_silence(path: Path, waveform: torch.Tensor) -> str:
    """Why the mean of the channels of a file, `(num_samples,)`, holds no sound; empty where it does."""
    # scores leave a DC offset out
    if (waveform != waveform[0]).any():
        return ""
    with open_audio(path) as audio:
        if any((block - block.mean(dim=0)).any() for block in audio.blocks()):
            return "has channels that cancel each other out in their mean"
    return "holds nothing but a DC offset" if waveform[0] else "is silent"


def score_jobs(jobs: list[ScoringJob]) -> tuple[list[dict[str, str | float]], list[tuple[str, str]]]:
    """
    [`_score_job`] for all recordings, one in memory at a time; with SDR if torchmetrics is installed.

    Returns:
        The rows, and each recording with a broken file, with the error.
    """
    with_sdr = _is_installed("torchmetrics")
    rows, failures = [], []
    for job in tqdm(jobs, desc="Scoring", unit="recording", disable=None):
        try:
            rows += _score_job(job, with_sdr)
        except (ValueError, OSError) as error:
            failures.append((job.recording, str(error)))
    return rows, failures


def _is_installed(package: str) -> bool:
    """Whether a package is installed, without importing it, which may take seconds."""
    return importlib.util.find_spec(package) is not None


def summarize_scores(rows: list[dict[str, str | float]]) -> dict[str, int | dict[str, float]]:
    """Counts, and mean and median over all sources that sound of every computed score."""
    scored = [row for row in rows if not math.isnan(row["si_snr"])]
    summary: dict[str, int | dict[str, float]] = {
        "num_recordings": len({row["recording"] for row in rows}),
        "num_sources": len(scored),
    }
    for name in SCORES:
        if scored and name in scored[0]:
            values = [row[name] for row in scored]
            summary[name] = {"mean": statistics.fmean(values), "median": statistics.median(values)}
    return summary


def format_summary(summary: dict[str, int | dict[str, float]]) -> str:
    """Format a summary as a table to print."""
    title = f"{summary['num_sources']} sources of {summary['num_recordings']} recordings"
    lines = [f"{title:<38}{'mean':>9}{'median':>12}"]
    for name, label in SCORES.items():
        if name in summary:
            lines.append(f"{label:<38}{summary[name]['mean']:>6.2f} dB{summary[name]['median']:>9.2f} dB")
    if "si_snr" in summary and "sdr" not in summary:
        lines.append('SDR needs torchmetrics: pip install "audioslots-hf[metrics]"')
    return "\n".join(lines)


def plan_outputs(folder: Path, force: bool) -> None:
    """
    Create the output folder before any work.

    Raises:
        `ValueError`, `OSError`: an output exists, or the folder cannot be written to.
    """
    for name in OUTPUTS:
        if (folder / name).exists() and not force:
            raise ValueError(f"{folder / name} exists: pass --force to overwrite it, or choose another folder.")
    make_folder(folder)


def write_scores(folder: Path, rows: list[dict[str, str | float]]) -> list[Path]:
    """
    Write the scores of every source, their summary and, if matplotlib is installed, a plot -> the written files.

    Removes all outputs of an earlier run.
    """
    table, summary, picture = (folder / name for name in OUTPUTS)
    columns = ["recording", "source", "reference", "estimate", *SCORES]
    write_csv(table, [{name: row.get(name) for name in columns} for row in rows])
    write_text(summary, json.dumps(summarize_scores(rows), indent=2) + "\n")
    if not _is_installed("matplotlib"):
        picture.unlink(missing_ok=True)
        return [table, summary]
    scored = [row for row in rows if not math.isnan(row["si_snr"])]
    if not scored:
        picture.unlink(missing_ok=True)
        return [table, summary]
    with replacing(picture) as path:
        plot_scores(path, {name: [row[name] for row in scored] for name in SCORES if name in scored[0]})
    return [table, summary, picture]


__all__ = [
    "MAX_LENGTH_DIFFERENCE_S",
    "OUTPUTS",
    "SCORES",
    "ScoringJob",
    "format_summary",
    "plan_outputs",
    "plan_scoring",
    "score_jobs",
    "summarize_scores",
    "write_scores",
]
