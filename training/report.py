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
Tables and figures of evaluations: `python -m training.report --output DIR`.

Reads the results of `python -m training.run_evaluation` below `--results` and writes `report.md`. It contains Table 1 of the
AudioSlots paper and a table of the families that estimate waveforms. Figures show SI-SNRi by mixture, level, pitch and sex, and
the learning curve of every `log.jsonl` there. The tables of every `conversations.json` follow, and a picture of who speaks when
for each recording of `benchmark conversations --rttm`. `--model` with `--root` adds the paper's Figure 2: the spectrograms of the first
mixture of the list, separated by that model.
"""

import argparse
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from transformers.utils.logging import tqdm

from audioslots_hf.files import write_text
from audioslots_hf.jobs import make_folder
from audioslots_hf.plots import require_matplotlib

from .evaluation.cli import METADATA
from .reporting.figure_2 import draw_separation, load_figure_2
from .reporting.results import RESULTS_DIR, group_by_conditions, load_evaluations


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.report", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS_DIR,
        help="folder of folders with results (default: training/results)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for report.md and the figures")
    parser.add_argument("--model", help="model for Figure 2: name, folder or repository")
    parser.add_argument("--autoencoder", help="autoencoder whose output for the references is added to Figure 2")
    parser.add_argument("--root", type=Path, help="root of the paths in the metadata")
    parser.add_argument("--metadata", type=Path, default=METADATA, help=f"LibriMix csv ({METADATA.name})")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Write the report."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if (options.model is None) != (options.root is None):
        parser.error("Figure 2 needs both --model and --root: pass both or neither.")
    if options.autoencoder is not None and options.model is None:
        parser.error(f"--autoencoder {options.autoencoder} is drawn in Figure 2: pass --model and --root too.")
    try:
        require_matplotlib()
        # check for matplotlib before any work
        from .reporting.sections import draw_conversations, draw_learning_curves, find_conversations, format_section

        evaluations = load_evaluations(options.results)
        conversations = find_conversations(options.results)
        if not evaluations and not conversations:
            parser.error(f"--results {options.results} holds no folder with a results.json: run the evaluation first.")
        figure_2 = None if options.model is None else load_figure_2(options)
        make_folder(options.output)
        groups = group_by_conditions(evaluations).items()
        sections = [format_section(options.output, *group) for group in tqdm(groups, desc="Drawing", unit="list")]
        if conversations:
            sections.append(draw_conversations(options.output, conversations))
        if logs := sorted(options.results.rglob("log.jsonl")):
            sections.append(draw_learning_curves(options.output, logs))
    except (ImportError, ValueError, OSError, RuntimeError, StrictDataclassError) as error:
        parser.error(str(error))
    if figure_2 is not None:
        draw_separation(options.output / "separation.png", *figure_2)
        sections.append(f"## Figure 2 of AudioSlots\n\n![Spectrograms of {figure_2[0].mixture_id}](separation.png)\n")
    report = options.output / "report.md"
    write_text(report, "\n".join(["# Results\n", *sections]))
    print(f"report in {report}")


if __name__ == "__main__":
    main()
