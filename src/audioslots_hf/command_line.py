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
"""The parts that the subcommands of `audioslots` share: a parser that names the nearest word, common options, output."""

import argparse
import difflib
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .shipped import list_checkpoints


MODEL_HELP = "name of a shipped checkpoint, folder or Hub repository (default: the best shipped checkpoint)"
# words after an option that a shell completes, by the names that shtab gives its functions
FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
FOLDERS = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}
MODELS = {"bash": "_audioslots_models", "zsh": "_audioslots_models", "tcsh": "d"}
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu", "hpu", "npu", "mlu")
HUB_NAME = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}")


def suggest(word: str, names: Iterable[str]) -> str:
    """`: did you mean 'name'?` for the name that is most like a word, or an empty string."""
    nearest = difflib.get_close_matches(word, list(names), n=1)
    return f": did you mean {nearest[0]!r}?" if nearest else ""


class CommandParser(argparse.ArgumentParser):
    """A parser that names the nearest command or option for one that does not exist, and its errors as JSON too if that is wanted."""

    words: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        """Print an error, after `--json` also to standard output, and end with status 2."""
        if "--json" in self.words:
            print_json({"status": "error", "error": message})
        super().error(message)

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as [`argparse.ArgumentParser`] does, but refuse unknown options at once."""
        self.words = self.words if args is None else list(args)
        options, unknown = super().parse_known_args(args, namespace)
        flags = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        name = flags[0].lstrip("-") if flags else ""
        if name in [action.dest for action in self._get_positional_actions()]:
            self.error(
                f"there is no option {flags[0]}: name the {name} without it, as in `{self.prog} {name.upper()}`"
            )
        if flags:
            own = re.findall(r"--[\w-]+", self.format_help())
            self.error(f"there is no option {flags[0]}{suggest(flags[0], own)}")
        return options, unknown


def check_command(parser: CommandParser, words: list[str], commands: Iterable[str]) -> None:
    """End with a message if the first word is no command."""
    commands, parser.words = list(commands), words
    if words and not words[0].startswith("-") and words[0] not in commands:
        known = suggest(words[0], commands) or f": the commands are {', '.join(commands)}"
        parser.error(f"there is no command {words[0]!r}{known}")


def one_of(names: Iterable[str]) -> Callable[[str], str]:
    """The `type` of an argument that takes one of several names."""
    names = list(names)

    def parse_name(word: str) -> str:
        if word.lower() not in names:
            raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(names)}{suggest(word.lower(), names)}")
        return word.lower()

    return parse_name


def parse_model(word: str) -> str:
    """The `type` of a model: a shipped checkpoint, a folder, or the form of a name on the Hub."""
    names = list_checkpoints()
    if word in names or Path(word).is_dir() or HUB_NAME.fullmatch(word):
        return word
    known = suggest(word, names) or f". Shipped are {', '.join(names)}."
    raise argparse.ArgumentTypeError(
        f"{word!r} is neither a shipped checkpoint, nor a folder, nor a repository of the form user/name{known}"
    )


def parse_count(word: str, words: tuple[str, ...] = ("auto", "outputs")) -> int | str:
    """The `type` of a number of speakers, or of one of the words."""
    if word in words:
        return word
    try:
        return int(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{word!r} is neither a whole number nor {' nor '.join(words)}") from error


def parse_device(word: str) -> str:
    """The `type` of a device; whether this machine has it is known only once torch is imported."""
    kind = word.partition(":")[0]
    if kind not in DEVICES and (known := suggest(kind, DEVICES)):
        raise argparse.ArgumentTypeError(f"{word!r} is no device{known}")
    return word


def add_model(parser: argparse.ArgumentParser, name: str = "--model") -> None:
    """Add `--model`, or with another name a word for the model."""
    nargs = {} if name.startswith("-") else {"nargs": "?"}
    parser.add_argument(name, type=parse_model, help=MODEL_HELP, **nargs).complete = MODELS


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device`."""
    parser.add_argument(
        "--device", type=parse_device, default="auto", help="cpu, cuda, mps, ... (default: the fastest available)"
    )


def add_output_options(parser: argparse.ArgumentParser, json_help: str = "print the results as JSON") -> None:
    """Add `--json` and `--quiet`."""
    parser.add_argument("--json", action="store_true", help=json_help)
    parser.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="print only warnings and errors, and with --json the results",
    )


def choose_device(name: str) -> str:
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


class Console:
    """
    Writes results to stdout, as lines of text or of JSON, and notes to stderr.

    Args:
        options (`argparse.Namespace`):
            With `json` and `quiet`.
    """

    def __init__(self, options: argparse.Namespace):
        self.json = options.json
        self.quiet = options.quiet

    def result(self, text: str) -> None:
        """Print a result for people."""
        if not (self.json or self.quiet):
            print(text, flush=True)

    def data(self, value: Any) -> None:
        """Print a result for programs, in one line."""
        if self.json:
            print_json(value)

    def table(self, values: dict[str, Any]) -> None:
        """Print names and values, one per line or as JSON."""
        for name, value in values.items():
            self.result(f"{name:<38}{value}")
        self.data(values)

    def error(self, text: str) -> None:
        """Print the error that ends a run."""
        print(f"audioslots: error: {text}", file=sys.stderr)
        self.data({"status": "error", "error": text})

    def note(self, text: str) -> None:
        """Print a note about the run."""
        if not self.quiet:
            print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    # ASCII, for consoles of any encoding and file names of none
    print(json.dumps(_to_json(value), allow_nan=False), flush=True)


def _to_json(value: Any) -> Any:
    """A result without NaN and infinity, which JSON does not have: they become null."""
    if isinstance(value, dict):
        return {name: _to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def report_failures(failures: list[tuple[str, str]], num_jobs: int, unit: str) -> int:
    """Print all failures, each a name and an error, and return the exit status."""
    if failures:
        print(f"\n{len(failures)} of {num_jobs} {unit} failed:", file=sys.stderr)
        for name, error in failures:
            # most errors name the file themselves
            is_named = re.search(rf"(?<![^\s'\"(]){re.escape(name)}(?![\w/\\])", error)
            print(f"  {error}" if is_named else f"  {name}: {error}", file=sys.stderr)
    return 1 if failures else 0


__all__ = [
    "Console",
    "CommandParser",
    "DEVICES",
    "FILES",
    "FOLDERS",
    "HUB_NAME",
    "MODELS",
    "MODEL_HELP",
    "add_device",
    "add_model",
    "add_output_options",
    "check_command",
    "choose_device",
    "one_of",
    "parse_count",
    "parse_device",
    "parse_model",
    "print_json",
    "report_failures",
    "suggest",
]
