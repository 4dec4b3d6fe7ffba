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
The `audioslots` command.

Each subcommand is a module `command_<name>.py` with a function that adds its parser. Such a module imports torch and transformers, which
take seconds, only when it runs, after it has checked its arguments.
"""

import io
import os
import sys
from contextlib import suppress

from . import __version__
from .allocator import keep_freed_memory
from .command_completion import add_completion
from .command_demo import add_demo
from .command_evaluate import add_evaluate
from .command_export import add_export
from .command_line import CommandParser, Console, check_command
from .command_models import add_info, add_models
from .command_publish import add_publish
from .command_separate import add_separate
from .stopping import StoppedError, stopping_on_signals


# in the order of `audioslots --help`
SUBCOMMANDS = (
    add_separate,
    add_models,
    add_info,
    add_evaluate,
    add_export,
    add_demo,
    add_publish,
    add_completion,
)


def build_parser() -> CommandParser:
    """Build the parser of all subcommands."""
    parser = CommandParser(
        prog="audioslots",
        description="Separate the voices of a recording.",
        epilog="Exit status: 0 for success, 1 if anything failed, 2 for a wrong command line, 130 after Ctrl-C.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    for add_subcommand in SUBCOMMANDS:
        add_subcommand(commands)
    # for the subcommands without these options
    parser.set_defaults(commands=list(commands.choices), json=False, quiet=False)
    return parser


def _close_output() -> None:
    """Send further output nowhere, because the program that read it has ended, as `head` does."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _keep_names_printable() -> None:
    """Print names of files that are not valid Unicode as they are, and letters that the terminal lacks as numbers."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    _keep_names_printable()
    parser = build_parser()
    check_command(parser, words, parser.get_default("commands"))
    options = parser.parse_args(words)
    keep_freed_memory()
    try:
        with stopping_on_signals():
            return options.run(options)
    except BrokenPipeError:
        _close_output()
        return 128 + 13
    except (ValueError, OSError, ImportError) as error:
        Console(options).error(str(error))
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
    "SUBCOMMANDS",
    "build_parser",
    "main",
]
