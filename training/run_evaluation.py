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
Evaluate a model on a list of mixtures: `python -m training.run_evaluation --model NAME --root DIR --output DIR`.

Scores the model under two protocols: `order_by_tracker`, which orders the sources without references, and `order_by_references`
of the AudioSlots paper. A model of magnitudes is scored with Wiener and with binary masks, and its oracle with it: the true
magnitudes in the same framing, with the paper's masks. The model's own masks under `order_by_tracker` may be softer.
`--oracle SECONDS` scores the oracle alone, with chunks of that length.

The row `model_people` has a track for each person, as the pipeline gives them: of as many as are found, unless `--num-speakers`
or `--max-speakers` says more, and left out by `--num-speakers outputs`. Its means are those of the sources that have a track. The
other sources count as missed, and tracks of no source as false.

Writes `results.json`, which `python -m training.report` turns into tables and figures.

Under `accelerate launch` or `python -m torch.distributed.run` each process takes a share of the mixtures.
"""

import time
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env
from huggingface_hub.errors import StrictDataclassError

from audioslots_hf.allocator import keep_freed_memory
from audioslots_hf.jobs import make_folder

from .evaluation.cli import build_parser, check_options
from .evaluation.reader import MixtureReader, has_pitch
from .evaluation.rows import Row, describe_rows, describe_time, evaluate_rows, format_time, gather_rows, plan_rows
from .evaluation.subject import prepare
from .reporting.results import write_results
from .settings import SettingsError, describe_error


def main(arguments: list[str] | None = None) -> None:
    """Evaluate and write the results."""
    parser = build_parser(__doc__)
    options = parser.parse_args(arguments)
    check_options(parser, options)
    keep_freed_memory()
    # otherwise each of several processes without an accelerator would run as the only one
    on_cpu = (
        options.device == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    )
    state = PartialState(cpu=on_cpu)
    device = options.device or state.device
    try:
        subject = prepare(options, device)
        make_folder(options.output)
    except (ValueError, OSError, RuntimeError, StrictDataclassError) as error:
        parser.error(str(error))
    rows = plan_rows(subject.model, subject.feature_extractor, subject.people)
    started = time.perf_counter()
    with state.split_between_processes(list(range(len(subject.mixtures)))) as share:
        reader = MixtureReader(subject.mixtures, share, has_pitch(), subject.transmission)
        try:
            own_reading_s = evaluate_rows(rows, reader, subject.feature_extractor, options.num_workers)
        except SettingsError as error:
            parser.error(describe_error(error))
        reading_s = sum(gather_object([own_reading_s]))
    gather_rows(rows)
    if state.is_main_process:
        times = describe_time(rows, reading_s)
        run = {
            "device": str(device),
            "num_processes": state.num_processes,
            "torch": torch.__version__,
            "seconds": time.perf_counter() - started,
        }
        save_results(options.output, subject.description | run | describe_rows(rows, times), rows)
        print(format_time(times))
    # a process that exits with an open group may abort, and its launcher would then stop the others before they have written
    state.destroy_process_group()


def save_results(folder: Path, results: dict, rows: list[Row]) -> None:
    """Write results.json, and print the means."""
    for row in rows:
        means = results["rows"][row.name]
        print(format_means(row.name, means))
    write_results(folder / "results.json", results, {row.name: row.results for row in rows})
    print(f"results in {folder / 'results.json'}")


def format_means(name: str, means: dict) -> str:
    """The line of a row; sources that have no estimate, and estimates that have no source, are counted."""
    if means["si_snri"] is None:
        line = f"{name:<34} no source has an estimate"
    else:
        line = f"{name:<34} SI-SNR {means['si_snr']:6.2f} dB   SI-SNRi {means['si_snri']:6.2f} dB"
    if "num_missed" in means:
        line += f"   of matched sources: {means['num_missed']} missed, {means['num_false']} false tracks"
    return line


if __name__ == "__main__":
    main()
