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
which does, and for a model of magnitudes with Wiener and with binary masks; beside it the oracle (the true magnitudes in
the same framing, through the paper's masks, where the model's own under the practical protocol may be softer). `--oracle SECONDS`
scores the oracle alone, with chunks of that length. Writes `results.json`, which `python -m training.report` turns into tables
and figures.

Under `accelerate launch` or `python -m torch.distributed.run` each process takes a share of the mixtures.
"""

import argparse
import hashlib
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env, tqdm
from huggingface_hub.errors import StrictDataclassError
from torch.utils.data import DataLoader, Dataset
from transformers import FeatureExtractionMixin, PreTrainedModel
from transformers.utils import cached_file

from audioslots_hf import load_separator
from audioslots_hf.allocator import keep_freed_memory
from audioslots_hf.families import DEFAULT_FAMILY
from audioslots_hf.jobs import make_folder
from audioslots_hf.loading import DEFAULT_CHECKPOINT, find_checkpoint
from audioslots_hf.resources import count_macs

from .arguments import MIX_TYPES, MixtureArguments, SettingsError, describe_error
from .data.augmentations import LOWEST_CUTOFF_HZ
from .data.effects import high_pass, match_spectra
from .data.mixtures import Mixture, MixtureList, load_mixtures
from .evaluation import PROTOCOLS, evaluate_mixtures, summarize
from .pitch import median_f0s, require_torchaudio
from .reporting.results import write_results
from .stopwatch import Stopwatch


METADATA = Path(__file__).parent / "metadata" / "libri2mix_test.csv"
# Mixtures are read in groups, and each group goes through all rows, so that none is read twice.
GROUP_SIZE = 16


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.run_evaluation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument(
        "--model", default=DEFAULT_CHECKPOINT, help=f"name, folder or repository ({DEFAULT_CHECKPOINT})"
    )
    subject.add_argument(
        "--oracle", type=float, metavar="SECONDS", help="no model: the oracle of AudioSlots with such chunks"
    )
    parser.add_argument("--root", type=Path, help="folder that the paths in the metadata start from")
    parser.add_argument("--metadata", type=Path, default=METADATA, help=f"LibriMix csv ({METADATA.name})")
    parser.add_argument("--noise-root", type=Path, help="folder that its paths of noise start from")
    parser.add_argument("--mode", choices=("min", "max"), default="min", help="how the metadata is mixed (min)")
    parser.add_argument("--tree", type=Path, help="in place of both: a split of a generated Libri2Mix")
    parser.add_argument("--mix-type", choices=MIX_TYPES, default="mix_clean", help="(mix_clean)")
    parser.add_argument(
        "--high-pass",
        type=float,
        metavar="HZ",
        help="take the lows off all mixtures first; a telephone's band begins at 300",
    )
    parser.add_argument(
        "--shared-channel",
        action="store_true",
        help="give the voices of a mixture, not the noise, one spectrum first, as from one microphone",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for results.json")
    parser.add_argument("--num-mixtures", type=int, help="only the first so many")
    parser.add_argument("--num-workers", type=int, default=2, help="processes that read the mixtures (2)")
    parser.add_argument("--device", help="of the model (a GPU if there is one)")
    return parser


@dataclass
class Row:
    """One row of results: what is scored (the oracle without a model), under which protocol, with which masks."""

    name: str
    model: PreTrainedModel | None
    protocol: str
    masks: dict[str, str | float] = field(default_factory=dict)
    results: list[dict[str, float | str]] = field(default_factory=list)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def describe(self) -> dict[str, str | float]:
        """Means over the mixtures, and what they were measured with."""
        return {
            "protocol": self.protocol,
            **self.masks,
            **summarize(self.results),
            "seconds": self.stopwatch.seconds["all"],
        }


def plan_rows(model: PreTrainedModel | None, feature_extractor: FeatureExtractionMixin) -> list[Row]:
    """What is scored of a model, or of the oracle alone."""
    if not feature_extractor.mask_kinds:
        # without masks, an oracle would give the references themselves
        return [Row(f"model_{protocol}", model, protocol) for protocol in PROTOCOLS]
    first, *others = feature_extractor.mask_kinds
    masks = feature_extractor.mask_kinds[first]
    rows = []
    for name, subject in {"oracle": None, "model": model}.items():
        if name == "oracle" or subject is not None:
            # the oracle and the paper's protocol have the paper's masks, the practical one those of the checkpoint
            own = masks if subject is None else feature_extractor.default_masks
            rows += [
                Row(f"{name}_practical", subject, "practical", own),
                Row(f"{name}_paper", subject, "paper", masks),
            ]
            rows += [
                Row(f"{name}_paper_{kind}", subject, "paper", feature_extractor.mask_kinds[kind]) for kind in others
            ]
    return rows


@dataclass
class Channel:
    """What the mixtures of a list come through before they are separated."""

    is_shared: bool = False
    high_pass_hz: float | None = None

    def check(self, sampling_rate: int) -> None:
        """Raise a `ValueError` where a filter would leave nothing, or be none."""
        if self.high_pass_hz is not None and not LOWEST_CUTOFF_HZ <= self.high_pass_hz < sampling_rate / 2:
            raise ValueError(
                f"--high-pass is {self.high_pass_hz:g}: it must be at least {LOWEST_CUTOFF_HZ:g} Hz and below "
                f"{sampling_rate / 2:g} Hz, half of the sampling rate."
            )

    def carry(self, mixture: Mixture, sampling_rate: int) -> Mixture:
        """A mixture, and what it consists of, at the other end."""
        references, rest = mixture.references, mixture.rest
        if self.high_pass_hz is not None:
            references = high_pass(references, self.high_pass_hz, sampling_rate)
            rest = None if rest is None else high_pass(rest, self.high_pass_hz, sampling_rate)
        if self.is_shared:
            references = match_spectra(references, sampling_rate)
        return replace(mixture, references=references, rest=rest)

    def describe(self) -> list[str]:
        """What is done, in words."""
        return [
            *(["shared channel"] if self.is_shared else []),
            *([] if self.high_pass_hz is None else [f"high-pass {self.high_pass_hz:g} Hz"]),
        ]


class MixtureReader(Dataset):
    """The mixtures of a list, come through a channel, each with what is known of its voices."""

    def __init__(self, mixtures: MixtureList, indices: list[int], with_pitch: bool, channel: Channel):
        self.mixtures = mixtures
        self.indices = indices
        self.with_pitch = with_pitch
        self.channel = channel

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Mixture, dict[str, str | float]]:
        mixture = self.mixtures[self.indices[index]]
        voices = describe_speakers(self.mixtures.rows[self.indices[index]])
        if self.with_pitch:
            for number, f0_hz in enumerate(median_f0s(mixture.references, self.mixtures.sampling_rate), start=1):
                voices[f"source_{number}_f0_hz"] = f0_hz
        return self.channel.carry(mixture, self.mixtures.sampling_rate), voices


def describe_speakers(row: dict) -> dict[str, str]:
    """Speakers and their sex, where the list tells them."""
    return {
        f"source_{number}_{name}": value
        for name, values in (("speaker", row["speakers"]), ("sex", row["sexes"]))
        for number, value in enumerate(values, start=1)
        if value
    }


def evaluate_rows(
    rows: list[Row], reader: MixtureReader, extractor: FeatureExtractionMixin, num_workers: int
) -> float:
    """Score every mixture for every row, and return the seconds of waiting for the mixtures."""
    loader = DataLoader(reader, GROUP_SIZE, num_workers=num_workers, collate_fn=list)
    reading = Stopwatch()
    with tqdm(total=len(reader) * len(rows), unit="score", desc="Evaluating") as bar:
        for group in reading.waiting_for(loader, "all"):
            mixtures, voices = zip(*group, strict=True)
            for row in rows:
                bar.set_postfix_str(row.name)
                scores = evaluate_mixtures(
                    mixtures, row.model, extractor, row.protocol, stopwatch=row.stopwatch, **row.masks
                )
                with row.stopwatch.measure("all"):
                    for score, known in zip(scores, voices, strict=True):
                        check_score(row, score)
                        row.results.append(score | known)
                        bar.update()
    return reading.seconds["all"]


def check_score(row: Row, score: dict[str, float | str]) -> None:
    """Stop at a score that no table could hold."""
    if not math.isfinite(score["si_snri"]):
        raise SystemExit(
            f"error: the score of {score['mixture_id']} in {row.name} is {score['si_snri']}: the model makes no numbers of it, "
            "train it with a lower `learning_rate` or take an earlier checkpoint."
        )


def gather_rows(rows: list[Row]) -> None:
    """Put the results of all processes into each row, in the order of the list, and add up their seconds."""
    for row in rows:
        row.results = gather_object(row.results)
        row.stopwatch.seconds = sum(gather_object([row.stopwatch.seconds]), start=Counter())


def describe_time(rows: list[Row], reading_s: float) -> dict[str, float]:
    """Where the seconds of all processes went; reading is what they waited for it."""
    model_rows = [row for row in rows if row.model is not None]
    model_s = sum(row.stopwatch.seconds["model"] for row in model_rows)
    return {
        "model": model_s,
        "reading": reading_s,
        "stitching and metrics": sum(row.stopwatch.seconds["all"] for row in model_rows) - model_s,
        "oracle": sum(row.stopwatch.seconds["all"] for row in rows if row.model is None),
    }


def format_time(seconds: dict[str, float]) -> str:
    """One line that says where the time went; what the oracle took is no part of the whole."""
    oracle = f"oracle {seconds['oracle']:.1f} s"
    if seconds["model"] == 0:
        return f"{oracle}, reading {seconds['reading']:.1f} s"
    total = sum(seconds.values()) - seconds["oracle"]
    parts = [f"{name} {100 * seconds[name] / total:.0f} %" for name in ("reading", "stitching and metrics")]
    line = f"model {100 * seconds['model'] / total:.0f} % of {total:.1f} s, {', '.join(parts)}"
    return f"{line}; {oracle} on top" if seconds["oracle"] else line


def describe_model(
    options: argparse.Namespace, model: PreTrainedModel | None, extractor: FeatureExtractionMixin
) -> dict:
    """What was scored: names, weights, and operations of one chunk per second of audio."""
    if model is None:
        return {"model": "oracle", "model_type": "oracle", "weights": None, "macs_per_s": None}
    weights = Path(cached_file(find_checkpoint(options.model), "model.safetensors"))
    return {
        "model": name_run(options.model),
        "model_type": model.config.model_type,
        "num_sources": model.config.num_sources,
        "is_autoencoder": model.config.is_autoencoder,
        "weights": {
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "num_parameters": model.num_parameters(),
        },
        "macs_per_s": count_macs(model, extractor) * extractor.sampling_rate / extractor.chunk_length,
    }


def name_run(model: str) -> str:
    """What a model is called in results: its own name, or that of the run whose best, last or checkpointed weights it has."""
    path = Path(model)
    if path.is_dir() and re.fullmatch(r"best|last|checkpoint-\d+", path.name):
        return path.resolve().parent.name
    return path.name


def load_subject(
    options: argparse.Namespace, device: str | torch.device
) -> tuple[PreTrainedModel | None, FeatureExtractionMixin]:
    """The model and its feature extractor; for the oracle only the paper's feature extractor."""
    if options.oracle is None:
        pipeline = load_separator(options.model, device=device)
        return pipeline.model, pipeline.feature_extractor
    config_class = DEFAULT_FAMILY.config_class
    chunk_length = round(options.oracle * config_class().sampling_rate)
    try:
        config = config_class(chunk_length=chunk_length)
    except StrictDataclassError as error:
        raise ValueError(f"--oracle is {options.oracle:g} s, {chunk_length} samples: {error}") from error
    return None, DEFAULT_FAMILY.feature_extractor_class.from_config(config)


def ratios_to_oracle(rows: Iterable[Row]) -> dict[str, float]:
    """The share of the reachable improvement that the model reaches, for every row that both of them have."""
    scores = {row.name: summarize(row.results)["si_snri"] for row in rows}
    names = [name.removeprefix("model_") for name in scores if name.startswith("model_")]
    return {name: scores[f"model_{name}"] / scores[f"oracle_{name}"] for name in names if f"oracle_{name}" in scores}


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Stop with a message that names the option that cannot be."""
    if options.num_mixtures is not None and options.num_mixtures < 1:
        parser.error(f"--num-mixtures is {options.num_mixtures}: it must be at least 1.")
    if options.num_workers < 0:
        parser.error(
            f"--num-workers is {options.num_workers}: it must be at least 0, which reads between the batches."
        )
    if options.tree is None and options.root is None:
        parser.error(f"--root is missing: the folder that the paths in {options.metadata} start from. Or give --tree.")
    if options.tree is not None and (options.mode != "min" or options.noise_root is not None):
        parser.error(
            "--mode and --noise-root say how the metadata is mixed, and a --tree is mixed already: leave them out."
        )
    if options.oracle is not None and options.mix_type == "mix_single":
        parser.error(
            "--oracle has nothing to mask in --mix-type mix_single, where there is one source: take another type."
        )
    if options.shared_channel and options.mix_type == "mix_single":
        parser.error(
            "--shared-channel has nothing to match in --mix-type mix_single, where there is one voice: leave it out."
        )
    if options.oracle is not None and not 0 < options.oracle <= 60:
        parser.error(f"--oracle is {options.oracle:g}: it must be the length of a chunk in seconds, at most 60.")


def list_arguments(options: argparse.Namespace) -> MixtureArguments:
    """Where the mixtures come from."""
    if options.tree is not None:
        return MixtureArguments(tree=str(options.tree), mix_type=options.mix_type)
    return MixtureArguments(
        metadata=str(options.metadata),
        root=str(options.root),
        noise_root=None if options.noise_root is None else str(options.noise_root),
        mode=options.mode,
        mix_type=options.mix_type,
    )


def describe_list(listed: MixtureArguments, channel: Channel) -> dict[str, str]:
    """What was separated: the name of the list, how it was mixed, and what it came through."""
    kind = ", ".join(["clean" if listed.mix_type == "mix_clean" else listed.mix_type, *channel.describe()])
    if listed.tree is not None:
        split = Path(listed.tree).resolve()
        # Libri2Mix/wav16k/min/test
        return {"metadata": "/".join(split.parts[-4:]), "mode": f"{split.parent.name}, {kind}"}
    digest = hashlib.sha256(Path(listed.metadata).read_bytes()).hexdigest()
    return {"metadata": Path(listed.metadata).name, "metadata_sha256": digest, "mode": f"{listed.mode}, {kind}"}


def has_pitch() -> bool:
    """Whether the pitch of the voices can be measured; says why if not."""
    try:
        require_torchaudio()
    except ImportError as error:
        print(f"Without the pitch of the voices: {error}", file=sys.stderr)
        return False
    return True


def main(arguments: list[str] | None = None) -> None:
    """Evaluate and write the results."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    check_options(parser, options)
    keep_freed_memory()
    # without a device that computes, processes would each take themselves for the only one
    on_cpu = (
        options.device == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    )
    state = PartialState(cpu=on_cpu)
    device = options.device or state.device
    listed = list_arguments(options)
    channel = Channel(options.shared_channel, options.high_pass)
    try:
        model, extractor = load_subject(options, device)
        channel.check(extractor.sampling_rate)
        hears_references = model is None or model.config.is_autoencoder
        num_sources = None if hears_references else model.config.num_sources
        if hears_references and options.mix_type == "mix_single":
            raise ValueError(
                f"--mix-type mix_single has one source, and so has {options.model}: what adds up to the mixture is the mixture."
            )
        mixtures = load_mixtures(listed, extractor.sampling_rate, num_sources, options.num_mixtures)
        subject = describe_model(options, model, extractor)
        make_folder(options.output)
    except (ValueError, OSError, RuntimeError, StrictDataclassError) as error:
        parser.error(str(error))
    rows = plan_rows(model, extractor)
    started = time.perf_counter()
    with state.split_between_processes(list(range(len(mixtures)))) as share:
        reader = MixtureReader(mixtures, share, has_pitch(), channel)
        try:
            own_reading_s = evaluate_rows(rows, reader, extractor, options.num_workers)
        except SettingsError as error:
            parser.error(describe_error(error))
        reading_s = sum(gather_object([own_reading_s]))
    gather_rows(rows)
    if state.is_main_process:
        times = describe_time(rows, reading_s)
        run = {
            **describe_list(listed, channel),
            "sampling_rate": extractor.sampling_rate,
            "chunk_length": extractor.chunk_length,
            **extractor.describe_framing(),
            "device": str(device),
            "num_processes": state.num_processes,
            "torch": torch.__version__,
            "seconds": time.perf_counter() - started,
        }
        save_results(options.output, subject | run | describe_rows(rows, times), rows)
        print(format_time(times))
    # a process that ends with an open group may abort, and its launcher would then end the others before they have written
    state.destroy_process_group()


def describe_rows(rows: list[Row], times: dict[str, float]) -> dict:
    """The means of all rows, how near they come to the oracle's, and where the time went."""
    results = {"process_seconds": times}
    if times["model"] > 0:
        results["share_outside_model"] = 1 - times["model"] / (sum(times.values()) - times["oracle"])
    if ratios := ratios_to_oracle(rows):
        results["ratio_to_oracle"] = ratios
    return results | {"rows": {row.name: row.describe() for row in rows}}


def save_results(folder: Path, results: dict, rows: list[Row]) -> None:
    """Write results.json, and print the means."""
    for row in rows:
        means = results["rows"][row.name]
        print(f"{row.name:<19} SI-SNR {means['si_snr']:6.2f} dB   SI-SNRi {means['si_snri']:6.2f} dB")
    write_results(folder / "results.json", results, {row.name: row.results for row in rows})
    print(f"results in {folder / 'results.json'}")


if __name__ == "__main__":
    main()
