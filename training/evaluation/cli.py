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
"""The command line of `training.run_evaluation`."""

import argparse
from functools import partial
from pathlib import Path
from typing import get_args

from audioslots_hf.command_line import parse_count
from audioslots_hf.shipped import DEFAULT_CHECKPOINT
from audioslots_hf.speakers import OUTPUTS, wants_outputs

from ..arguments import MIX_TYPES
from ..data.codecs import CodecName


METADATA = Path(__file__).parents[1] / "metadata" / "libri2mix_test.csv"


def build_parser(description: str) -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.run_evaluation",
        description=description,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument(
        "--model", default=DEFAULT_CHECKPOINT, help=f"name, folder or repository (default: {DEFAULT_CHECKPOINT})"
    )
    subject.add_argument(
        "--oracle",
        type=float,
        metavar="SECONDS",
        help="evaluate the oracle of AudioSlots with chunks of this length instead of a model",
    )
    parser.add_argument("--root", type=Path, help="root of the paths in the metadata")
    parser.add_argument("--metadata", type=Path, default=METADATA, help=f"LibriMix csv ({METADATA.name})")
    parser.add_argument("--noise-root", type=Path, help="root of the noise paths in the metadata")
    parser.add_argument(
        "--mode", choices=("min", "max"), default="min", help="how the metadata is mixed (default: min)"
    )
    parser.add_argument("--tree", type=Path, help="split of a generated Libri2Mix, instead of --metadata and --root")
    parser.add_argument("--mix-type", choices=MIX_TYPES, default="mix_clean", help="(mix_clean)")
    parser.add_argument(
        "--high-pass",
        type=float,
        metavar="HZ",
        help="remove low-frequency content below this cutoff first; the band of a telephone begins at 300",
    )
    parser.add_argument(
        "--shared-spectrum",
        action="store_true",
        help="give the voices of a mixture, but not the noise, the same spectrum first, as from one microphone",
    )
    parser.add_argument(
        "--codec",
        choices=get_args(CodecName),
        help="send each voice, but not the noise, through this codec last, as in a call; the references are the decoded voices",
    )
    parser.add_argument(
        "--num-speakers",
        type=partial(parse_count, words=(OUTPUTS,)),
        metavar="N|outputs",
        help="number of people, who have a track each (default: it is found); outputs: score only the outputs of the model",
    )
    parser.add_argument("--max-speakers", type=int, metavar="N", help="the most people who may be found (default: 6)")
    parser.add_argument("--output", type=Path, required=True, help="folder for results.json")
    parser.add_argument("--num-mixtures", type=int, help="evaluate only this many mixtures from the start of the list")
    parser.add_argument("--num-workers", type=int, default=2, help="processes that read the mixtures (default: 2)")
    parser.add_argument("--device", help="device of the model (default: a GPU if available)")
    return parser


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with a message that names the invalid option."""
    if options.num_mixtures is not None and options.num_mixtures < 1:
        parser.error(f"--num-mixtures is {options.num_mixtures}: it must be at least 1.")
    if options.num_workers < 0:
        parser.error(f"--num-workers is {options.num_workers}: it must be at least 0; 0 reads in the main process.")
    if options.tree is None and options.root is None:
        parser.error(f"--root is missing: pass the root of the paths in {options.metadata}, or pass --tree.")
    if options.tree is not None and (options.mode != "min" or options.noise_root is not None):
        parser.error(
            "--mode and --noise-root apply only to --metadata, because a --tree is already mixed: leave them out."
        )
    try:
        wants_outputs(options.num_speakers, options.max_speakers)
    except ValueError as error:
        parser.error(str(error))
    if options.oracle is not None and options.mix_type == "mix_single":
        parser.error("--oracle needs two sources, but --mix-type mix_single has one: use another type.")
    if options.shared_spectrum and options.mix_type == "mix_single":
        parser.error("--shared-spectrum needs two voices, but --mix-type mix_single has one: leave it out.")
    if options.oracle is not None and not 0 < options.oracle <= 60:
        parser.error(f"--oracle is {options.oracle:g}: it must be a chunk length in seconds, at most 60.")
