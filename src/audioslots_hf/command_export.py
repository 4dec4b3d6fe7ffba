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
"""`audioslots export`: write a model as a file that runs without this package."""

import argparse
from pathlib import Path

from .command_line import FILES, Console, add_model, add_output_options, one_of


# the names in `export.SUFFIXES`, which imports torch
FORMATS = ("onnx", "torch-export")


def add_export(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("export", help="export a model to a file that runs without this package")
    add_model(parser, "model")
    parser.add_argument("--format", type=one_of(FORMATS), choices=FORMATS, required=True, help="format of the file")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: the model's name, .onnx or .pt2"
    ).complete = FILES
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    add_output_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Export a model, and print the accuracy and the speed of the exported file."""
    import torch

    from .export import export_model, plan_export
    from .loading import load_separator

    output = plan_export(options.model, options.format, options.output, force=options.force)
    # in float32 for every checkpoint: half precision would exceed the accepted difference from the model
    pipeline = load_separator(options.model, device="cpu", dtype=torch.float32)
    Console(options).table(export_model(pipeline, options.format, output))
    return 0


__all__ = ["FORMATS", "add_export"]
