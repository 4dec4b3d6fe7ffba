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
"""`audioslots separate`: write the tracks of every file."""

import argparse
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command_line import (
    FILES,
    FOLDERS,
    Console,
    add_device,
    add_model,
    add_output_options,
    choose_device,
    one_of,
    parse_count,
    report_failures,
    suggest,
)
from .downloads import hide_credentials, is_url
from .jobs import OutputChoices, SeparationJob, find_inputs, plan_jobs
from .leftovers import remove_leftovers
from .suffixes import TRACK_FORMATS


if TYPE_CHECKING:
    from .conversation import ConversationSeparator
    from .separator import Separator


DEFAULT_OUTPUT = "separated"
CHANNELS = ("each", "mix", "split")


def add_separate(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("separate", help="write one track per voice of each file")
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE|DIR", help="audio files, or folders of them"
    ).complete = FILES
    parser.add_argument(
        "-o",
        "--output",
        type=_parse_folder,
        default=Path(DEFAULT_OUTPUT),
        metavar="DIR",
        help=f"folder for the tracks (default: {DEFAULT_OUTPUT})",
    ).complete = FOLDERS
    parser.add_argument(
        "--format",
        type=one_of(TRACK_FORMATS),
        choices=TRACK_FORMATS,
        help="format of the tracks (default: that of the recording)",
    )
    parser.add_argument("--plot", action="store_true", help="also plot each separation")
    parser.add_argument(
        "--report",
        action="store_true",
        help="also write a page, NAME_report.html, that plays and shows each separation",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="overwrite existing tracks")
    existing.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave recordings whose tracks exist: continue a run that was stopped",
    )
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="chunks per forward pass (default: 16 s of audio, 8 s on a CPU)"
    )
    parser.add_argument(
        "--passes",
        type=int,
        default=1,
        metavar="N",
        help="average 2 or 4 passes over overlapped speech, each as slow as the first: they help a little if voices overlap "
        "all the time (default: 1)",
    )
    parser.add_argument(
        "--channels",
        type=one_of(CHANNELS),
        choices=CHANNELS,
        default="each",
        help="each: separate each channel (default); mix: separate their mean; split: write each channel as the track of one person",
    )
    _add_speaker_arguments(parser)
    add_model(parser)
    add_device(parser)
    add_output_options(
        parser,
        "print a line of JSON for each recording and one for the run; also write who speaks when, how long and how loud, as "
        "NAME.json",
    )
    parser.set_defaults(run=_run)


def _add_speaker_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of conversations."""
    speakers = parser.add_argument_group("people", "There is one track for each person, silent where that person is.")
    speakers.add_argument(
        "--num-speakers",
        type=parse_count,
        metavar="N|auto|outputs",
        help="number of people who speak (default: auto, it is found); outputs: the outputs of the model as they are",
    )
    speakers.add_argument(
        "--max-speakers", type=int, metavar="N", help="the most people who may be found (default: 6)"
    )
    speakers.add_argument("--rttm", action="store_true", help="also write who speaks when, as NAME.rttm")


def _parse_folder(word: str) -> Path:
    """The path of a folder; empty text, as from a variable without a value, is no folder."""
    if not word:
        raise argparse.ArgumentTypeError("it is empty: name a folder, or . for this one")
    return Path(word)


def _parse_inputs(words: list[str]) -> list[Path]:
    """The paths of files and folders; a `ValueError` for any other input."""
    for word in words:
        if not word:
            raise ValueError("An input is empty text, as from a variable without a value: name a file or a folder.")
        if word == "-":
            raise ValueError(
                "`-` is standard input, which is not read because a recording may be needed twice: save it as a file first."
            )
        if is_url(word):
            raise ValueError(
                f"{hide_credentials(word)} is an address, and the command takes files: download it first, or give it to the "
                "pipeline."
            )
    return [Path(word) for word in words]


def _run(options: argparse.Namespace) -> int:
    """Separate every file, and report failures at the end."""
    if options.batch_size is not None and options.batch_size < 1:
        raise ValueError(f"`--batch-size` is {options.batch_size}: it must be at least 1.")
    if options.plot or options.report:
        from .plots import require_matplotlib

        require_matplotlib()
    console = Console(options)
    is_conversation = not _wants_outputs(options)
    if options.channels == "split":
        from .channels import check_channels

        check_channels(options.channels, options.num_speakers, options.max_speakers, prefix="--")
    notes: list[str] = []
    files = find_inputs(_parse_inputs(options.inputs), options.output, notes, options.skip_existing)
    _check_exist([file for file, _ in files])
    jobs = plan_jobs(files, options.output)
    if num_removed := remove_leftovers({job.folder for job in jobs}):
        notes.append(
            f"removed {num_removed} temporary folder{'s' if num_removed > 1 else ''} of runs that were killed"
        )
    for note in notes:
        console.note(note)
    separator = None if options.channels == "split" else _load_separator(options, is_conversation)
    from .bars import hiding_bars

    started = time.perf_counter()
    with hiding_bars() if options.quiet else nullcontext():
        results = [_run_job(job, separator, options, console) for job in jobs]
    summary = _summarize(results, time.perf_counter() - started)
    console.note(_format_summary(summary))
    console.data(summary)
    failures = [(result["recording"], result["error"]) for result in results if result["status"] == "failed"]
    return report_failures(failures, len(jobs), "files")


def _check_exist(files: list[Path]) -> None:
    """Raise a `FileNotFoundError` if no file exists; missing ones among others are reported at the end."""
    if any(file.exists() for file in files):
        return
    path = files[0]
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    others = f" None of the {len(files)} inputs exists." if len(files) > 1 else ""
    raise FileNotFoundError(f"{path} does not exist{suggest(path.name, names) or '.'}{others}")


def _load_separator(options: argparse.Namespace, is_conversation: bool) -> "Separator | ConversationSeparator":
    """Load the model, and for conversations the voice encoder."""
    from .loading import load_separator
    from .passes import check_passes
    from .separator import Separator

    device = choose_device(options.device)
    pipeline = load_separator(options.model, device=device, batch_size=options.batch_size)
    check_passes(options.passes, pipeline.model.config)
    if is_conversation:
        return pipeline.conversation_separator(options.num_speakers, options.max_speakers, passes=options.passes)
    return Separator(pipeline.model, pipeline.feature_extractor, batch_size=pipeline.batch_size, passes=options.passes)


def _wants_outputs(options: argparse.Namespace) -> bool:
    """Whether the tracks are the outputs of the model, not people; a `ValueError` if the options of people make no sense."""
    if options.num_speakers is None and options.max_speakers is None:
        return False
    from .speakers import wants_outputs

    is_outputs = wants_outputs(options.num_speakers, options.max_speakers)
    if is_outputs and options.rttm:
        raise ValueError(
            "`--rttm` says who speaks when, and outputs are no people: leave out `--num-speakers outputs`."
        )
    return is_outputs


def _run_job(
    job: SeparationJob,
    separator: "Separator | ConversationSeparator | None",
    options: argparse.Namespace,
    console: Console,
) -> dict[str, Any]:
    """Separate one file, without a separator into its channels, print its outputs, and return its line of JSON."""
    from .separation import separate_conversation, separate_file
    from .separator import Separator

    result: dict[str, Any] = {"recording": str(job.recording), "status": "separated"}
    choices = OutputChoices(
        force=options.force,
        skip_existing=options.skip_existing,
        plot=options.plot,
        report=options.report,
        rttm=options.rttm,
        json=options.json,
        mix=options.channels == "mix",
        track_format=options.format,
    )
    try:
        if isinstance(separator, Separator):
            separated = separate_file(job, separator, choices)
        else:
            separated = separate_conversation(job, separator, choices)
        if separated is None:
            result["status"] = "skipped"
            console.note(f"{job.recording}: skipped, an earlier run finished it")
        else:
            # the recording has its whole path here
            result |= {**separated.description, "recording": str(job.recording)}
            result |= {"duration_s": round(separated.duration_s, 3), "files": [str(path) for path in separated.paths]}
    except (ValueError, OSError, RuntimeError) as error:
        result |= {"status": "failed", "error": str(error)}
    for path in result.get("files", []):
        console.result(path)
    console.data(result)
    return result


def _summarize(results: list[dict[str, Any]], elapsed_s: float) -> dict[str, Any]:
    """The last line of JSON: numbers of recordings, seconds of audio, and speed."""
    counts = {
        f"num_{status}": sum(result["status"] == status for result in results)
        for status in ("separated", "skipped", "failed")
    }
    duration_s = sum(result.get("duration_s", 0.0) for result in results)
    return {
        "status": "done",
        **counts,
        "duration_s": round(duration_s, 3),
        "elapsed_s": round(elapsed_s, 3),
        "speed": round(duration_s / max(elapsed_s, 1e-9), 3),
    }


def _format_summary(summary: dict[str, Any]) -> str:
    """`3 files, 12.5 minutes of audio, 8.1 times as fast as real time; 1 skipped, 1 failed`"""
    num_files, duration_s = summary["num_separated"], summary["duration_s"]
    duration = f"{duration_s / 60:.1f} minutes" if duration_s >= 60 else f"{duration_s:.1f} seconds"
    line = "no file was separated"
    if num_files:
        line = f"{num_files} file{'' if num_files == 1 else 's'}, {duration} of audio"
        line += f", {summary['speed']:.1f} times as fast as real time"
    others = [f"{summary[f'num_{status}']} {status}" for status in ("skipped", "failed") if summary[f"num_{status}"]]
    return "; ".join([line, *([", ".join(others)] if others else [])])


__all__ = ["CHANNELS", "DEFAULT_OUTPUT", "add_separate"]
