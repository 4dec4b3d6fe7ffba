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
"""
Separate thousands of recordings with several processes, on one machine or many.

`accelerate launch examples/separate_many.py recordings -o separated` separates each recording once, with one process for each GPU. On
CPUs, where accelerate starts one process only, `torchrun --nproc_per_node 4` in its place starts four. All machines must see the same folders. After a stop of any kind, the same command goes on with the recordings that have no tracks yet. Those that
fail are listed in `failures.csv` in the output folder, and are tried again by the next run.
"""

import argparse
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, tqdm

from audioslots_hf import load_separator
from audioslots_hf.conversation import ConversationSeparator
from audioslots_hf.files import remove, write_csv
from audioslots_hf.jobs import OutputChoices, SeparationJob, find_inputs, plan_jobs
from audioslots_hf.leftovers import remove_leftovers
from audioslots_hf.separation import separate_conversation, separate_file
from audioslots_hf.separator import Separator
from audioslots_hf.speakers import wants_outputs


# a process that is done early waits for the others; the default of torch is half an hour
TIMEOUT = timedelta(days=30)


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description="Separate many recordings with several processes.")
    parser.add_argument("inputs", nargs="+", type=Path, metavar="FILE|DIR", help="audio files, or folders of them")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the tracks")
    parser.add_argument("--model", help="name of a shipped checkpoint, folder or Hub repository")
    parser.add_argument("--num-speakers", help="a number, or outputs (default: it is found)")
    return parser


def is_done(job: SeparationJob, is_conversation: bool) -> bool:
    """Whether an earlier run wrote all outputs of a recording: the last one tells."""
    if is_conversation:
        return job.json_path.is_file()
    return any(path.stem == f"{job.recording.stem}_source_0" for path in job.folder.glob("*_source_0.*"))


def find_jobs(options: argparse.Namespace, is_conversation: bool) -> tuple[list[SeparationJob], int]:
    """The recordings that are left, the longest files first, and the number of all."""
    jobs = plan_jobs(find_inputs(options.inputs, options.output, notes=[]), options.output)
    remove_leftovers({job.folder for job in jobs})
    left = [job for job in jobs if not is_done(job, is_conversation)]
    sizes = {job.recording: job.recording.stat().st_size if job.recording.is_file() else 0 for job in left}
    return sorted(left, key=lambda job: -sizes[job.recording]), len(jobs)


def separate(job: SeparationJob, separator: Separator | ConversationSeparator) -> dict[str, str] | None:
    """Separate one recording -> a row about its failure, or `None`."""
    is_conversation = not isinstance(separator, Separator)
    choices = OutputChoices(skip_existing=True, rttm=is_conversation, json=is_conversation)
    try:
        if is_conversation:
            separate_conversation(job, separator, choices)
        else:
            separate_file(job, separator, choices)
    except (ValueError, OSError, RuntimeError) as error:
        return {"recording": str(job.recording), "error": str(error)}
    return None


def main(arguments: list[str] | None = None) -> int:
    """Separate the share of this process, and return the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    is_conversation = options.num_speakers != "outputs"
    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=TIMEOUT)
    try:
        count = int(options.num_speakers) if (options.num_speakers or "").isdigit() else options.num_speakers
        wants_outputs(count)
        # all processes share the list of the first one, because files appear while they start
        found = [find_jobs(options, is_conversation) if state.is_main_process else None]
    except (ValueError, OSError) as error:
        parser.error(str(error))
    [(left, num_jobs)] = broadcast_object_list(found)
    pipeline = load_separator(options.model, device=state.device)
    separator = pipeline.conversation_separator(count) if is_conversation else pipeline.separator
    # in turn, so that every process gets long and short ones
    own = left[state.process_index :: state.num_processes]
    rows = [separate(job, separator) for job in tqdm(own, desc="Separating", unit="file")]
    failures = gather_object([row for row in rows if row is not None])
    if state.is_main_process:
        write_failures(options.output / "failures.csv", failures)
        counts = f"{num_jobs - len(left)} done before, {len(left) - len(failures)} separated, {len(failures)} failed"
        print(f"{counts}, by {state.num_processes} processes")
    # a process that exits with an open group may abort
    state.destroy_process_group()
    return 1 if failures else 0


def write_failures(path: Path, failures: list[dict[str, str]]) -> None:
    """Write a table of the recordings that failed, and none if all are done."""
    if failures:
        write_csv(path, failures)
    else:
        remove(path)


if __name__ == "__main__":
    raise SystemExit(main())
