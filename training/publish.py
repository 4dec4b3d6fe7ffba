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
Turn a trained model into a checkpoint that ships, and results into its card.

`python -m training.publish export RUN/best --name NAME` writes half-precision weights into the package;
`python -m training.publish card --results RESULTS.json` writes the numbers of an evaluation into the cards and the README.
"""

import argparse
import json
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from audioslots_hf.separator import CHECKPOINTS_DIR, list_checkpoints

from .files import write_atomically


ROOT = Path(__file__).resolve().parents[1]
RESULTS_BLOCK = re.compile(r"(<!-- results:start -->\n).*?(<!-- results:end -->)", re.DOTALL)


def export(source: Path, name: str, mask_exponent: float = 1.0) -> Path:
    """
    Copy a model into the package, its weights in half precision, with the masks its pipeline uses by default.

    The configuration says float32, so the weights are computed with in float32: half precision is slow on a CPU. The
    remote code that `save_pretrained` adds is left out, for it is the package itself.
    """
    target, temporary = CHECKPOINTS_DIR / name, CHECKPOINTS_DIR / f"{name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    weights = load_file(source / "model.safetensors")
    halves = {key: value.to(torch.float16) if value.is_floating_point() else value for key, value in weights.items()}
    save_file(halves, temporary / "model.safetensors", metadata={"format": "pt"})
    for file in ("config.json", "preprocessor_config.json"):
        values = json.loads((source / file).read_text(encoding="utf-8"))
        values.pop("auto_map", None)
        if file == "config.json":
            values["dtype"] = "float32"
        else:
            values["mask_exponent"] = mask_exponent
        write_atomically(temporary / file, json.dumps(values, indent=2, sort_keys=True) + "\n")
    shutil.copy(ROOT / "model_card.md", temporary / "README.md")
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    return target


def format_results(results: dict) -> str:
    """The rows of a results file as a Markdown table, with what they were measured on."""
    protocols = {
        "practical": "practical: overlapping chunks, no reference",
        "paper": "paper: disjoint chunks, ordered by the references",
    }
    lines = [
        f"{results['rows']['model_practical']['num_mixtures']} mixtures of `{results['metadata']}`, "
        f"{results['sampling_rate']} Hz, {results['mode']}; mean over both sources in dB. "
        f"Masks: {results['mask']}, exponent 1; {results['practical_mask_exponent']:g} for the model's practical row.",
        "",
        "| protocol | oracle SI-SNR | oracle SI-SNRi | model SI-SNR | model SI-SNRi | model / oracle |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for protocol, description in protocols.items():
        oracle, model = (results["rows"][f"{name}_{protocol}"] for name in ("oracle", "model"))
        lines.append(
            f"| {description} | {oracle['si_snr']:.2f} | {oracle['si_snri']:.2f} | {model['si_snr']:.2f} "
            f"| {model['si_snri']:.2f} | {results['ratio_to_oracle'][protocol]:.2f} |"
        )
    lines += [
        "",
        f"Weights: {results['weights']['num_parameters']:,} parameters, sha256 `{results['weights']['sha256'][:16]}`.",
    ]
    return "\n".join(lines) + "\n"


def insert_results(path: Path, results: dict) -> None:
    """
    Replace what stands between the result marks of a Markdown file.

    Raises:
        `ValueError`: the file has no such marks.
    """
    text = path.read_text(encoding="utf-8")
    if not RESULTS_BLOCK.search(text):
        raise ValueError(f"{path} has no `<!-- results:start -->` and `<!-- results:end -->` to write between.")
    table = format_results(results)
    write_atomically(path, RESULTS_BLOCK.sub(lambda match: f"{match[1]}{table}{match[2]}", text))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.publish", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    export_command = commands.add_parser("export", help="copy a trained model into the package")
    export_command.add_argument("source", type=Path)
    export_command.add_argument("--name", required=True)
    export_command.add_argument("--mask-exponent", type=float, default=1.0, help="below 1: softer masks (default: 1)")
    card_command = commands.add_parser("card", help="write results into cards and README")
    card_command.add_argument("--results", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.command == "export":
        print(export(options.source, options.name, options.mask_exponent))
        return
    results = json.loads(options.results.read_text(encoding="utf-8"))
    if results["model"] not in list_checkpoints():
        parser.error(f"{options.results} is of {results['model']!r}, which does not ship: {list_checkpoints()}")
    for path in (ROOT / "README.md", ROOT / "model_card.md"):
        insert_results(path, results)
        print(path.relative_to(ROOT))
    # the card is written once, and lies beside the weights because that is where the Hub shows it
    shutil.copy(ROOT / "model_card.md", CHECKPOINTS_DIR / results["model"] / "README.md")


if __name__ == "__main__":
    main()
