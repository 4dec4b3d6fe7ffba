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
Evaluate a model on a list of mixtures: `python -m training.run_evaluation --model NAME --root DIR --output DIR`.

Scores the model under the practical protocol, which needs no reference to order the sources, and under the AudioSlots paper's,
which does; for a model of magnitudes also the oracle (the true ones through the same masks and framing). Writes
`results.json` and one csv per row.
"""

import argparse
import csv
import hashlib
import json
import time
from pathlib import Path

import torch
from accelerate.utils import tqdm
from safetensors import safe_open
from transformers import PreTrainedConfig, PreTrainedModel

from audioslots_hf import AudioSeparationPipeline, AudioSlotsFeatureExtractor, load_separator
from audioslots_hf.separator import DEFAULT_CHECKPOINT, find_checkpoint

from .arguments import MixtureArguments
from .data import Mixture, load_mixtures
from .evaluation import PROTOCOLS, evaluate_mixtures, summarize
from .files import write_atomically


METADATA = Path(__file__).parent / "metadata" / "libri2mix_test.csv"


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.run_evaluation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--model", default=DEFAULT_CHECKPOINT, help=f"name, folder or repository ({DEFAULT_CHECKPOINT})"
    )
    parser.add_argument("--root", type=Path, required=True, help="folder that the paths in the metadata start from")
    parser.add_argument("--metadata", type=Path, default=METADATA, help=f"LibriMix csv ({METADATA.name})")
    parser.add_argument("--output", type=Path, required=True, help="folder for results.json and the csv files")
    parser.add_argument("--num-mixtures", type=int, help="only the first so many")
    parser.add_argument("--mask", choices=("wiener", "binary"), default="wiener")
    parser.add_argument("--device", default="cpu")
    return parser


def read_mixtures(options: argparse.Namespace, config: PreTrainedConfig) -> list[Mixture]:
    """Every mixture of the list, in memory; a missing file is an error before any work."""
    listed = MixtureArguments(metadata=str(options.metadata), root=str(options.root))
    mixtures = load_mixtures(listed, config.sampling_rate, config.num_sources, options.num_mixtures)
    return [mixtures[index] for index in tqdm(range(len(mixtures)), desc="Reading", unit="mixture")]


def evaluate_rows(mixtures: list[Mixture], pipeline: AudioSeparationPipeline, mask: str) -> dict[str, dict]:
    """Score the model, and the oracle if it has one, under both protocols: a summary and the results per mixture for each."""
    rows = {}
    for protocol in PROTOCOLS:
        for name, model, masks in plan_rows(pipeline, protocol, mask):
            started = time.monotonic()
            results = evaluate_mixtures(mixtures, model, pipeline.feature_extractor, protocol, **masks)
            results = list(tqdm(results, total=len(mixtures), desc=f"{name}, {protocol}", unit="mixture"))
            seconds = time.monotonic() - started
            rows[f"{name}_{protocol}"] = {**summarize(results), "seconds": seconds, "results": results}
    return rows


def plan_rows(
    pipeline: AudioSeparationPipeline, protocol: str, mask: str
) -> list[tuple[str, PreTrainedModel | None, dict[str, str | float]]]:
    """What is scored under a protocol: names, models and masks."""
    if not isinstance(pipeline.feature_extractor, AudioSlotsFeatureExtractor):
        # what a model of waveforms estimates are the references themselves
        return [("model", pipeline.model, {})]
    # the oracle and the paper's protocol have the paper's masks, the practical one those of the checkpoint
    papers_masks = {"mask": mask, "mask_exponent": 1.0}
    return [
        ("oracle", None, papers_masks),
        ("model", pipeline.model, {"mask": mask} if protocol == "practical" else papers_masks),
    ]


def describe_weights(folder: Path) -> dict[str, str | int]:
    """What tells one set of weights from another."""
    weights = folder / "model.safetensors"
    with safe_open(weights, framework="pt") as file:
        num_parameters = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    return {"sha256": hashlib.sha256(weights.read_bytes()).hexdigest(), "num_parameters": num_parameters}


def describe_masks(pipeline: AudioSeparationPipeline, mask: str) -> dict[str, str | float]:
    """The masks of a model of magnitudes."""
    feature_extractor = pipeline.feature_extractor
    if not isinstance(feature_extractor, AudioSlotsFeatureExtractor):
        return {}
    return {"mask": mask, "practical_mask_exponent": feature_extractor.mask_exponent}


def write_csv(path: Path, results: list[dict]) -> None:
    """One line per mixture."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(results[0]))
        writer.writeheader()
        writer.writerows(results)


def main(arguments: list[str] | None = None) -> None:
    """Evaluate and write the results."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.num_mixtures is not None and options.num_mixtures < 1:
        parser.error(f"--num-mixtures is {options.num_mixtures}: it must be at least 1.")
    try:
        pipeline = load_separator(options.model, device=options.device)
        mixtures = read_mixtures(options, pipeline.model.config)
        folder = Path(find_checkpoint(options.model))
        weights = describe_weights(folder) if folder.is_dir() else None
    except (ValueError, OSError, RuntimeError) as error:
        parser.error(str(error))
    rows = evaluate_rows(mixtures, pipeline, options.mask)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, row in rows.items():
        write_csv(options.output / f"{name}.csv", row.pop("results"))
    results = {
        "model": Path(options.model).name,
        "model_type": pipeline.model.config.model_type,
        "weights": weights,
        "metadata": options.metadata.name,
        "sampling_rate": pipeline.model.config.sampling_rate,
        "mode": "min, clean",
        "chunk_length": pipeline.model.config.chunk_length,
        **describe_masks(pipeline, options.mask),
        "device": options.device,
        "torch": torch.__version__,
        "rows": rows,
    }
    if "oracle_practical" in rows:
        # the share of the reachable improvement that the model reaches
        results["ratio_to_oracle"] = {
            protocol: rows[f"model_{protocol}"]["si_snri"] / rows[f"oracle_{protocol}"]["si_snri"]
            for protocol in PROTOCOLS
        }
    write_atomically(options.output / "results.json", json.dumps(results, indent=2) + "\n")
    for name, row in rows.items():
        print(f"{name:<18} SI-SNR {row['si_snr']:6.2f} dB   SI-SNRi {row['si_snri']:6.2f} dB")
    print(f"results in {options.output / 'results.json'}")


if __name__ == "__main__":
    main()
