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
"""`audioslots completion`: a script that completes the words of the command in a shell."""

import argparse

from .command_line import one_of
from .shipped import list_checkpoints


SHELLS = ("bash", "zsh", "tcsh")


def add_completion(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes commands, options and models in a shell",
        description='For bash, add `eval "$(audioslots completion bash)"` to ~/.bashrc. For zsh, write the script to _audioslots in a '
        "folder of $fpath. For tcsh, write it to a file, and source that in ~/.tcshrc.",
    )
    parser.add_argument("shell", type=one_of(SHELLS), choices=SHELLS, help="name of the shell")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab
    except ImportError as error:
        raise ImportError("Completion needs shtab: pip install 'audioslots-hf[completion]'") from error
    # the list of all commands holds this one
    from .cli import build_parser

    names = " ".join(list_checkpoints())
    preamble = {
        "bash": f'_audioslots_models() {{\n  compgen -W "{names}" -- $1\n  compgen -d -- $1\n}}',
        "zsh": f"_audioslots_models() {{\n  compadd {names}\n  _files -/\n}}",
    }
    print(shtab.complete(build_parser(), options.shell, preamble=preamble))
    return 0


__all__ = ["SHELLS", "add_completion"]
