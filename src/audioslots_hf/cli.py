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
"""The `audioslots` command."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .allocator import keep_freed_memory
from .downloads import hide_credentials, is_url
from .jobs import SeparationJob, find_inputs, group_stems, plan_jobs
from .layouts import LAYOUTS
from .leftovers import remove_leftovers
from .stopping import StoppedError, stopping_on_signals


if TYPE_CHECKING:
    from .conversation import ConversationSeparator
    from .separator import Separator


# torch and transformers take seconds to import: each command imports them after it has checked its arguments.
MODEL_HELP = "name of a shipped checkpoint, folder or Hub repository (default: the best shipped checkpoint)"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all subcommands."""
    parser = argparse.ArgumentParser(prog="audioslots", description="Separate the voices of a recording.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    separate = commands.add_parser("separate", help="write one track per voice of each file")
    separate.add_argument("inputs", nargs="+", metavar="FILE|DIR", help="audio files, or folders of them")
    separate.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the tracks")
    separate.add_argument("--plot", action="store_true", help="also plot each separation")
    existing = separate.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="overwrite existing tracks")
    existing.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave recordings whose tracks exist: continue a run that was stopped",
    )
    separate.add_argument(
        "--batch-size", type=int, help="chunks per forward pass (default: 16 s of audio, 8 s on a CPU)"
    )
    separate.add_argument(
        "--channels",
        choices=("each", "mix", "split"),
        default="each",
        help="separate each channel (default), or the mean of all channels, or split: each channel is a person already",
    )
    _add_speaker_arguments(separate)
    separate.set_defaults(run=_run_separate)

    evaluate = commands.add_parser(
        "evaluate",
        help="score separated files, from any tool, against their references",
        description="Score separated files, from any tool, against their references. Recordings are matched by NAME, sources in "
        f"the best order. Both folders may hold {LAYOUTS}. Channels are averaged.",
    )
    evaluate.add_argument("--estimates", type=Path, required=True, metavar="DIR", help="the separated files")
    evaluate.add_argument("--references", type=Path, required=True, metavar="DIR", help="the true sources")
    evaluate.add_argument("--mixtures", type=Path, metavar="DIR", help="NAME.wav, ...: also score the improvement")
    evaluate.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder for tables and a plot")
    evaluate.add_argument("--force", action="store_true", help="overwrite existing results")
    evaluate.set_defaults(run=_run_evaluate)

    info = commands.add_parser("info", help="measure a model: size, operations, speed, memory")
    info.add_argument("model", nargs="?", help=MODEL_HELP)
    info.set_defaults(run=_run_info)

    export = commands.add_parser("export", help="export a model to a file that runs without this package")
    export.add_argument("model", nargs="?", help=MODEL_HELP)
    export.add_argument("--format", required=True, help="onnx or torch-export")
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: the model's name, .onnx or .pt2")
    export.add_argument("--force", action="store_true", help="overwrite an existing file")
    export.set_defaults(run=_run_export)

    separate.add_argument("--model", help=MODEL_HELP)
    for command in (separate, info):
        command.add_argument("--device", default="auto", help="cpu, cuda, mps, ... (default: the fastest available)")
    return parser


def _add_speaker_arguments(separate: argparse.ArgumentParser) -> None:
    """The arguments of conversations."""
    speakers = separate.add_argument_group(
        "conversations", "One track for each person, silent where that person is. Any of these options asks for them."
    )
    speakers.add_argument(
        "--num-speakers", type=parse_count, metavar="N|auto", help="people who speak (default: found)"
    )
    speakers.add_argument(
        "--max-speakers", type=int, metavar="N", help="the most people who may be found (default: 6)"
    )
    speakers.add_argument("--rttm", action="store_true", help="also write who speaks when, as NAME.rttm")
    speakers.add_argument(
        "--json", action="store_true", help="also write who speaks when, how long and how loud, as NAME.json"
    )


def parse_count(word: str) -> int | str:
    """A number of speakers, or `auto`."""
    return word if word == "auto" else int(word)


def _parse_inputs(words: list[str]) -> list[Path]:
    """The paths of files and folders; a `ValueError` for any other input."""
    for word in words:
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


def _choose_device(name: str) -> str:
    """The device for a `--device` value; `auto` selects an accelerator if one is available."""
    import torch

    if name != "auto":
        try:
            # reading a value back also rejects "meta"
            torch.zeros(1, device=name).item()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0].partition(". ")[0]
            raise ValueError(f"The device {name!r} cannot be used: {reason}") from error
        return name
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return "cpu" if accelerator is None else accelerator.type


def _run_separate(options: argparse.Namespace) -> int:
    """Separate every file, and report failures at the end."""
    if options.batch_size is not None and options.batch_size < 1:
        raise ValueError(f"`--batch-size` is {options.batch_size}: it must be at least 1.")
    if options.plot:
        from .plots import require_matplotlib

        require_matplotlib()
    is_conversation = _wants_speakers(options)
    if options.channels == "split":
        from .channels import check_channels

        check_channels(options.channels, options.num_speakers, options.max_speakers, prefix="--")
    notes: list[str] = []
    jobs = plan_jobs(find_inputs(_parse_inputs(options.inputs), options.output, notes), options.output)
    stems = group_stems(jobs)
    if num_removed := remove_leftovers(stems, stems):
        notes.append(f"removed {num_removed} temporary files or folders of runs that were killed")
    for note in notes:
        print(note, file=sys.stderr)
    separator = None if options.channels == "split" else _load_separator(options, is_conversation)
    failures = [failure for job in jobs if (failure := _run_job(job, separator, options)) is not None]
    return _report_failures(failures, len(jobs), "files")


def _load_separator(options: argparse.Namespace, is_conversation: bool) -> "Separator | ConversationSeparator":
    """Load the model, and for conversations the voice encoder."""
    from .loading import load_separator

    device = _choose_device(options.device)
    pipeline = load_separator(options.model, device=device, batch_size=options.batch_size)
    if is_conversation:
        return pipeline.conversation_separator(options.num_speakers, options.max_speakers)
    return pipeline.separator


def _wants_speakers(options: argparse.Namespace) -> bool:
    """Whether each person of a conversation gets a track; a `ValueError` if the numbers of people make no sense."""
    if options.num_speakers is None and options.max_speakers is None and not (options.rttm or options.json):
        return False
    from .speakers import parse_speakers

    parse_speakers(options.num_speakers, options.max_speakers)
    return True


def _report_failures(failures: list[str], num_jobs: int, unit: str) -> int:
    """Print all failures and return the exit status."""
    if failures:
        print(f"\n{len(failures)} of {num_jobs} {unit} failed:", file=sys.stderr)
        for failure in failures:
            print(f"  {failure}", file=sys.stderr)
    return 1 if failures else 0


def _run_job(
    job: SeparationJob, separator: "Separator | ConversationSeparator | None", options: argparse.Namespace
) -> str | None:
    """Separate one file, without a separator into its channels -> the message of a failure, or `None`."""
    from .separation import separate_conversation, separate_file
    from .separator import Separator

    choices = {"force": options.force, "skip_existing": options.skip_existing, "plot": options.plot}
    choices["mix"] = options.channels == "mix"
    try:
        if isinstance(separator, Separator):
            paths = separate_file(job, separator, **choices)
        else:
            paths = separate_conversation(job, separator, **choices, rttm=options.rttm, json=options.json)
        if paths is None:
            print(f"{job.recording}: skipped, its tracks exist", file=sys.stderr)
        for path in paths or []:
            print(path)
    except (ValueError, OSError, RuntimeError) as error:
        return f"{job.recording}: {error}"
    return None


def _run_evaluate(options: argparse.Namespace) -> int:
    """Score every recording, print the summary and write the results."""
    from .scoring import format_summary, plan_outputs, plan_scoring, score_jobs, summarize_scores, write_scores

    jobs = plan_scoring(options.estimates, options.references, options.mixtures)
    if options.output is not None:
        plan_outputs(options.output, force=options.force)
    rows, failures = score_jobs(jobs)
    if rows:
        print(format_summary(summarize_scores(rows)))
    if rows and options.output is not None:
        for path in write_scores(options.output, rows):
            print(path)
    return _report_failures(failures, len(jobs), "recordings")


def _run_info(options: argparse.Namespace) -> int:
    """Print the resource use of a model on this machine."""
    from .loading import load_separator
    from .resources import measure_resources

    separator = load_separator(options.model, device=_choose_device(options.device)).separator
    for name, value in measure_resources(separator).items():
        print(f"{name:<38}{value}")
    return 0


def _run_export(options: argparse.Namespace) -> int:
    """Export a model, and print the accuracy and the speed of the exported file."""
    import torch

    from .export import export_model, plan_export
    from .loading import load_separator

    output = plan_export(options.model, options.format, options.output, force=options.force)
    # in float32 for every checkpoint: half precision would exceed the accepted difference from the model
    pipeline = load_separator(options.model, device="cpu", dtype=torch.float32)
    for name, value in export_model(pipeline, options.format, output).items():
        print(f"{name:<38}{value}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = build_parser().parse_args(arguments)
    keep_freed_memory()
    try:
        with stopping_on_signals():
            return options.run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"audioslots: error: {error}", file=sys.stderr)
        return 1
    except StoppedError as error:
        print("audioslots: stopped", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("audioslots: stopped", file=sys.stderr)
        # the exit status of a shell after Ctrl-C
        return 130


if __name__ == "__main__":
    sys.exit(main())


__all__ = [
    "MODEL_HELP",
    "build_parser",
    "main",
    "parse_count",
]
