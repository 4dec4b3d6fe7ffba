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
"""`audioslots evaluate`: score separated files."""

import argparse
from contextlib import nullcontext
from pathlib import Path

from .command_line import FOLDERS, Console, add_output_options, report_failures
from .layouts import LAYOUTS


def add_evaluate(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "evaluate",
        help="score separated files, from any tool, against their references",
        description="Score separated files, from any tool, against their references. Recordings are matched by NAME, sources in "
        f"the best order. Both folders may hold {LAYOUTS}. Channels are averaged.",
    )
    parser.add_argument(
        "--estimates", type=Path, required=True, metavar="DIR", help="the separated files"
    ).complete = FOLDERS
    parser.add_argument(
        "--references", type=Path, required=True, metavar="DIR", help="the true sources"
    ).complete = FOLDERS
    parser.add_argument(
        "--mixtures", type=Path, metavar="DIR", help="NAME.wav, ...: also score the improvement"
    ).complete = FOLDERS
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="folder for tables and a plot"
    ).complete = FOLDERS
    parser.add_argument("--force", action="store_true", help="overwrite existing results")
    add_output_options(parser, "print a line of JSON for each source and one for the summary")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Score every recording, print the summary and write the results."""
    from .bars import hiding_bars
    from .scoring import format_summary, plan_outputs, plan_scoring, score_jobs, summarize_scores, write_scores

    console = Console(options)
    with hiding_bars() if options.quiet else nullcontext():
        jobs = plan_scoring(options.estimates, options.references, options.mixtures)
        if options.output is not None:
            plan_outputs(options.output, force=options.force)
        rows, failures = score_jobs(jobs)
    for recording, error in failures:
        console.data({"recording": recording, "status": "failed", "error": error})
    if rows:
        summary = summarize_scores(rows)
        console.result(format_summary(summary))
        for row in rows:
            console.data(row)
        console.data(summary)
    if rows and options.output is not None:
        for path in write_scores(options.output, rows):
            console.result(str(path))
    return report_failures(failures, len(jobs), "recordings")


__all__ = ["add_evaluate"]
