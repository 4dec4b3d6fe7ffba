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
Turn a trained model into a shipped checkpoint, and results into its card.

`python -m training.publish export RUN/best --name NAME` writes half-precision weights into the package.
`python -m training.publish card` writes the numbers of training/results into the README and into the cards of the shipped
checkpoints, and the tables of conversations into their page. The card of the default checkpoint is also the project's model_card.md.
`python -m training.publish tables FILE` prints the tables of a file of `training.benchmark conversations --output FILE`.
"""

import argparse
from pathlib import Path

from .reporting.cards import write_cards
from .reporting.conversations import format_tables, read_conversations
from .reporting.export import export
from .reporting.results import load_evaluations


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.publish", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    export_command = commands.add_parser("export", help="copy a trained model into the package")
    export_command.add_argument("source", type=Path)
    export_command.add_argument("--name", required=True)
    export_command.add_argument(
        "--mask-exponent", type=float, help="exponent of the masks of AudioSlots; values below 1 give softer masks"
    )
    export_command.add_argument(
        "--chunk-length", type=int, help="number of samples of a chunk in the pipeline, for a time-domain model"
    )
    commands.add_parser("card", help="write training/results into cards, README and the page of conversations")
    tables_command = commands.add_parser("tables", help="print the tables of scores of conversations")
    tables_command.add_argument("file", type=Path, help="of training.benchmark conversations --output")
    options = parser.parse_args(arguments)
    try:
        if options.command == "export":
            print(export(options.source, options.name, options.mask_exponent, options.chunk_length))
        elif options.command == "tables":
            for title, table in format_tables(read_conversations(options.file)).items():
                print(f"`{title}`\n\n{table}")
        else:
            write_cards(load_evaluations())
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
