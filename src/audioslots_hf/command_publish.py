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
"""`audioslots publish`: upload a model to the Hub, with the code that opens it, a card and a sample."""

import argparse
import re
import tempfile
from pathlib import Path

from .command_line import Console, add_output_options, suggest
from .shipped import list_checkpoints


# of the Hub: letters, digits, '-', '_' and '.', with neither '--' nor '..'
REPO_ID = re.compile(r"(?!.*(--|\.\.))[\w.-]+/[a-zA-Z0-9_]([\w.-]{0,94}[a-zA-Z0-9_])?", re.ASCII)
DESCRIPTION = """\
Publish a model on the Hub, in one commit: weights, configurations, the code that opens them where only transformers is installed, a
card, and a sample with its tracks. The card is made of card.yaml, which states licence and data, and of results.json, if there is one.
Nothing is uploaded if the model does not separate without this package, or if its card is invalid.
"""


def add_publish(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("publish", help="publish a model on the Hub", description=DESCRIPTION)
    parser.add_argument("model", metavar="FOLDER_OR_NAME", help="folder of a model, or name of a shipped checkpoint")
    parser.add_argument(
        "--repo-id", required=True, type=_parse_repo_id, metavar="USER/NAME", help="repository on the Hub"
    )
    parser.add_argument("--private", action="store_true", help="only you may see the repository")
    parser.add_argument("--dry-run", action="store_true", help="upload nothing: write the repository to --output")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="with --dry-run: folder that the files are written to"
    )
    add_output_options(parser)
    # a wrong command line has the status of argparse
    parser.set_defaults(run=_run, refuse=parser.error)


def _parse_repo_id(word: str) -> str:
    """The `type` of the name of a repository."""
    if not REPO_ID.fullmatch(word):
        raise argparse.ArgumentTypeError(f"{word!r} is no USER/NAME, as the Hub has them")
    return word


def _run(options: argparse.Namespace) -> int:
    """Stage, check and upload a model, or write the staged folder."""
    try:
        _check_options(options)
    except ValueError as error:
        options.refuse(str(error))
    console = Console(options)
    if console.quiet:
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()
    from .files import replacing
    from .jobs import make_folder
    from .loading import find_checkpoint
    from .plots import require_matplotlib
    from .publishing import check_access, check_source, copy_folder, make_snapshot, stage, upload, validate_card
    from .publishing_check import check_apart

    require_matplotlib()
    source = Path(find_checkpoint(options.model))
    check_source(source)
    if options.dry_run:
        make_folder(options.output.absolute().parent)
    else:
        check_access()
    with tempfile.TemporaryDirectory(prefix="audioslots-publish-") as temporary:
        cache = Path(temporary)
        folder = make_snapshot(cache, options.repo_id)
        stage(source, options.repo_id, folder)
        check_apart(folder, options.repo_id, cache)
        console.note(
            "The snippet of the card separates the sample without this package, as the stored tracks have it."
        )
        try:
            validate_card(folder)
            console.note("The Hub finds the card valid.")
        except OSError as error:
            # without a network, a dry run goes on
            if not options.dry_run:
                raise
            console.note(f"The card was not validated: {error}")
        if options.dry_run:
            with replacing(options.output) as complete:
                copy_folder(folder, complete)
            address = str(options.output)
        else:
            address = upload(folder, options.repo_id, options.private)
    console.result(address)
    console.data({"published": not options.dry_run, "address": address})
    return 0


def _check_options(options: argparse.Namespace) -> None:
    """Raise a `ValueError` if options do not fit together, before anything is imported."""
    names = list_checkpoints()
    if options.model not in names and not Path(options.model).is_dir():
        known = suggest(options.model, names) or f". Shipped are {', '.join(names)}."
        raise ValueError(f"{options.model!r} is neither a folder with a model nor a shipped checkpoint{known}")
    if options.dry_run and options.output is None:
        raise ValueError("`--dry-run` writes the repository to a folder: name it with `--output`.")
    if options.output is not None and not options.dry_run:
        raise ValueError(f"`--output` is {options.output}, and belongs to `--dry-run`: add that, or leave it out.")
    if options.output is not None and options.output.exists():
        raise ValueError(f"`--output` is {options.output}, which exists: remove it, or choose another folder.")


__all__ = ["add_publish"]
