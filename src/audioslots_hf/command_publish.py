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
"""`audioslots publish`: upload a model to the Hub, with the code that opens it, a card and a sample, or the page as a Space."""

import argparse
import re
import shutil
import tempfile
from pathlib import Path

from .command_line import HUB_NAME, Console, add_output_options, suggest
from .shipped import list_checkpoints


REPO_ID = re.compile(r"(?!.*(--|\.\.))[\w.-]+/[a-zA-Z0-9_]([\w.-]{0,94}[a-zA-Z0-9_])?", re.ASCII)
DESCRIPTION = """\
Publish a model on the Hub, in one commit: weights, configurations, the code that opens them where only transformers is installed, a
card, and a sample with its tracks. The card is made of card.yaml, which states licence and data, and of results.json, if there is one.
With --space, publish the page of `audioslots demo` as a Space instead. Nothing is uploaded if the model does not separate without this
package, if the page does not start, or if the card is invalid.
"""


def add_publish(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "publish", help="publish a model, or a page that runs it, on the Hub", description=DESCRIPTION
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="folder of a model, or name of a shipped checkpoint; with --space a shipped checkpoint or a repository on the Hub",
    )
    targets = parser.add_mutually_exclusive_group(required=True)
    targets.add_argument("--repo-id", type=_parse_repo_id, metavar="USER/NAME", help="repository of the model")
    targets.add_argument(
        "--space", type=_parse_repo_id, metavar="USER/NAME", help="Space with the page of `audioslots demo`"
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
    """Stage, check and upload a model or a Space, or write the staged folder."""
    try:
        _check_options(options)
    except ValueError as error:
        options.refuse(str(error))
    console = Console(options)
    if console.quiet:
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()
    from .files import replacing
    from .hub_errors import explaining_full_disks
    from .jobs import make_folder
    from .publishing import check_access, upload

    _check_source(options)
    if options.dry_run:
        make_folder(options.output.absolute().parent)
    else:
        check_access()
    with tempfile.TemporaryDirectory(prefix="audioslots-publish-") as temporary:
        stage, repo_type = (_stage_model, "model") if options.space is None else (_stage_space, "space")
        folder = stage(options, Path(temporary), console)
        _validate_card(folder, repo_type, options, console)
        if options.dry_run:
            with explaining_full_disks(options.output.absolute().parent), replacing(options.output) as complete:
                shutil.copytree(folder, complete)
            address = str(options.output)
        else:
            address = upload(folder, options.space or options.repo_id, options.private, repo_type)
    console.result(address)
    console.data({"published": not options.dry_run, "address": address})
    return 0


def _stage_model(options: argparse.Namespace, cache: Path, console: Console) -> Path:
    """Write the folder of a model, and have its snippet run without this package."""
    from .loading import find_checkpoint
    from .publishing import make_snapshot, stage
    from .publishing_check import check_apart

    folder = make_snapshot(cache, options.repo_id)
    stage(Path(find_checkpoint(options.model)), options.repo_id, folder)
    check_apart(folder, options.repo_id, cache)
    console.note("The snippet of the card separates the sample without this package, as the stored tracks have it.")
    return folder


def _stage_space(options: argparse.Namespace, temporary: Path, console: Console) -> Path:
    """Write the folder of a Space, and have its page start."""
    from .hub_errors import explaining_full_disks
    from .spaces import check_space, write_space

    folder = temporary / "space"
    with explaining_full_disks(temporary):
        write_space(folder, options.model)
    check_space(folder)
    console.note("The page starts with the files of the Space alone.")
    return folder


def _check_source(options: argparse.Namespace) -> None:
    """Raise an error if a package is missing, or the facts of a model, before anything is loaded."""
    if options.space is not None:
        from .demo import require_gradio

        require_gradio()
        return
    from .loading import find_checkpoint
    from .plots import require_matplotlib
    from .publishing import check_source

    require_matplotlib()
    check_source(Path(find_checkpoint(options.model)))


def _validate_card(folder: Path, repo_type: str, options: argparse.Namespace, console: Console) -> None:
    """Have the Hub validate the card; without a network, a dry run goes on."""
    from .publishing import validate_card

    try:
        validate_card(folder, repo_type)
        console.note("The Hub finds the card valid.")
    except OSError as error:
        if not options.dry_run:
            raise
        console.note(f"The card was not validated: {error}")


def _check_options(options: argparse.Namespace) -> None:
    """Raise a `ValueError` if options do not fit together, before anything is imported."""
    names, model = list_checkpoints(), options.model
    known = suggest(model or "", names) or f". Shipped are {', '.join(names)}."
    if options.space is None:
        if model is None:
            raise ValueError("`--repo-id` publishes a model: name its folder, or a shipped checkpoint.")
        if model not in names and not Path(model).is_dir():
            raise ValueError(f"{model!r} is neither a folder with a model nor a shipped checkpoint{known}")
    elif model is not None and model not in names:
        if Path(model).is_dir():
            raise ValueError(
                f"{model!r} is a folder, which a Space cannot read: publish it by `--repo-id` first, and name that."
            )
        if not HUB_NAME.fullmatch(model):
            raise ValueError(
                f"{model!r} is neither a shipped checkpoint nor a repository of the form user/name{known}"
            )
    if options.dry_run and options.output is None:
        raise ValueError("`--dry-run` writes the repository to a folder: name it with `--output`.")
    if options.output is not None and not options.dry_run:
        raise ValueError(f"`--output` is {options.output}, and belongs to `--dry-run`: add that, or leave it out.")
    if options.output is not None and options.output.exists():
        raise ValueError(f"`--output` is {options.output}, which exists: remove it, or choose another folder.")


__all__ = ["add_publish"]
