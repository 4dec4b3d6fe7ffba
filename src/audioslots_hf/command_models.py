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
"""`audioslots models` and `audioslots info`: the shipped models, and the resource use of any."""

import argparse

from .command_line import Console, add_device, add_model, add_output_options, choose_device
from .shipped import describe_checkpoint, list_checkpoints


def add_models(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("models", help="list the shipped models, and what each is for")
    add_output_options(parser)
    parser.set_defaults(run=_run_models)


def add_info(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("info", help="measure a model: size, operations, speed, memory")
    add_model(parser, "model")
    add_device(parser)
    add_output_options(parser)
    parser.set_defaults(run=_run_info)


def _run_models(options: argparse.Namespace) -> int:
    """Print a line for each shipped model, the default first."""
    console = Console(options)
    models = sorted(map(describe_checkpoint, list_checkpoints()), key=lambda model: not model["is_default"])
    for model in models:
        size = f"{model['num_parameters'] / 1e6:.1f} M parameters"
        use = model["use"] + (" (the default)" if model["is_default"] else "")
        console.result(f"{model['name']:<26}{size:<20}{model['sampling_rate'] / 1000:g} kHz   {use}")
    console.data(models)
    return 0


def _run_info(options: argparse.Namespace) -> int:
    """Print the resource use of a model on this machine."""
    from .loading import load_separator
    from .resources import measure_resources

    separator = load_separator(options.model, device=choose_device(options.device)).separator
    Console(options).table(measure_resources(separator))
    return 0


__all__ = ["add_info", "add_models"]
