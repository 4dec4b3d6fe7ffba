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
Tables and figures of evaluations: `python -m training.report --output DIR`.

Reads what `python -m training.run_evaluation` wrote below `--results` and writes `report.md`: Table 1 of the AudioSlots
paper, GALR against DPRNN, and figures of SI-SNRi by mixture, by level, by pitch and by sex. `--model` with `--root` adds the
paper's Figure 2, the spectrograms of the first mixture of the list, separated by that model.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedModel
from transformers.utils.logging import tqdm

from audioslots_hf import load_separator
from audioslots_hf.files import replacing, write_text
from audioslots_hf.metrics import order_estimates, si_snr_improvement
from audioslots_hf.pipeline_audio_separation import AudioSeparationPipeline
from audioslots_hf.plots import plot_separation, require_matplotlib
from audioslots_hf.separation import make_folder

from .arguments import MixtureArguments
from .data import Mixture, load_mixtures
from .evaluation import separate_mixtures
from .run_evaluation import METADATA
from .tables import (
    RESULTS_DIR,
    Conditions,
    format_dual_path,
    format_group,
    format_table_1,
    group_by_conditions,
    kind_of,
    load_evaluations,
    name_oracle,
    name_separator,
    read_scores,
)


ORACLE_NOTE = """\
STFT 512/125 means windows of 512 samples, 125 samples apart.

Here every chunk is padded for the STFT, whose inverse is then exact up to the edges of the chunk, so the oracle lacks nothing but the
phase. The paper's own oracle, 12 and 13 dB on all of the test set of Libri2Mix, depends on what its framing does at the edges of the
chunks, which it does not say; nothing here was set to come nearer to it.
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.report", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS_DIR, help="folder of folders with results.json (training/results)"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for report.md and the figures")
    parser.add_argument("--model", help="whose separation Figure 2 shows: name, folder or repository")
    parser.add_argument("--autoencoder", help="adds what this model of one source makes of the references")
    parser.add_argument("--root", type=Path, help="folder that the paths in the metadata start from")
    parser.add_argument("--metadata", type=Path, default=METADATA, help=f"LibriMix csv ({METADATA.name})")
    return parser


def load_series(evaluations: list[dict]) -> dict[str, list[dict[str, str]]]:
    """The scores without references of every model, and of every oracle once."""
    series = {}
    for results in evaluations:
        names = {
            "oracle_practical": f"oracle, {name_oracle(results)}",
            "model_practical": name_separator(results, evaluations),
        }
        for row, name in names.items():
            if row in results["rows"] and name not in series:
                series[name] = read_scores(results, row)
    return series


def draw_figures(folder: Path, prefix: str, series: dict[str, list[dict[str, str]]]) -> list[str]:
    """Write the figures, and return the Markdown that shows each or says why there is none."""
    # matplotlib is looked for before any work
    from .figures import by_input_si_snr, by_pitch_distance, by_sex, plot_groups, plot_histogram

    name = f"{prefix}_histogram.png"
    plot_histogram(folder / name, series)
    parts = [f"![How many mixtures reach which SI-SNRi]({name})\n"]
    kinds = {
        "input_si_snr": (by_input_si_snr, "SI-SNR of a voice in the mixture, dB", "voices"),
        "pitch_distance": (
            by_pitch_distance,
            "distance of the median pitches of the nearest two voices, semitones",
            "mixtures",
        ),
        "sex": (by_sex, "sex of the voices", "mixtures"),
    }
    for kind, (group, xlabel, unit) in kinds.items():
        groups = {model: group(scores) for model, scores in series.items()}
        groups = {model: values for model, values in groups.items() if values}
        if groups:
            name = f"{prefix}_{kind}.png"
            plot_groups(folder / name, groups, xlabel, unit)
            parts.append(f"![SI-SNRi by {xlabel}]({name})\n")
        if missing := [f"`{model}`" for model in series if model not in groups]:
            parts.append(f"By {xlabel}: the csv files of {', '.join(missing)} do not tell it.\n")
    return parts


def format_section(folder: Path, conditions: Conditions, evaluations: list[dict]) -> str:
    """All that is known under the same conditions; its figures are written."""
    kinds = {kind_of(results) for results in evaluations}
    parts = [f"## {conditions}\n", format_group(conditions, evaluations)]
    if kinds & {"oracle", "audioslots", "autoencoder"}:
        title = "### Table 1 of AudioSlots: disjoint chunks, ordered by the references; dB\n"
        parts += [title, format_table_1(evaluations), ORACLE_NOTE]
    if kinds & {"galr", "dprnn"}:
        parts += ["### GALR against DPRNN\n", format_dual_path(evaluations)]
    parts += [
        "### Figures: no reference orders the sources\n",
        *draw_figures(folder, conditions.slug, load_series(evaluations)),
    ]
    return "\n".join(parts)


@dataclass
class Separated:
    """Estimates of one mixture in the order of its references, `(num_sources, num_samples)`, and their SI-SNRi in dB."""

    estimates: torch.Tensor
    improvements: list[float]


def separate(mixture: Mixture, pipeline: AudioSeparationPipeline) -> Separated:
    """What a model makes of one mixture without references, except for the final order."""
    ((_, estimates),) = separate_mixtures([mixture], pipeline.model, pipeline.feature_extractor)
    references = mixture.references[None]
    _, improvements = si_snr_improvement(estimates[None], references, mixture.waveform[None])
    return Separated(order_estimates(estimates[None], references)[0], improvements[0].tolist())


def draw_separation(path: Path, mixture: Mixture, separators: dict[str, AudioSeparationPipeline]) -> None:
    """The paper's Figure 2: the mixture, its references, and what each model makes of it."""
    tracks = {f"mixture {mixture.mixture_id}": mixture.waveform.numpy()}
    for number, reference in enumerate(mixture.references, start=1):
        tracks[f"reference {number}"] = reference.numpy()
    for name, pipeline in separators.items():
        separated = separate(mixture, pipeline)
        for number, improvement in enumerate(separated.improvements, start=1):
            title = f"{name}, source {number}: SI-SNRi {improvement:.1f} dB"
            tracks[title] = separated.estimates[number - 1].numpy()
    rate = next(iter(separators.values())).model.config.sampling_rate
    with replacing(path) as temporary:
        plot_separation(temporary, tracks, rate)


def load_figure_2(options: argparse.Namespace) -> tuple[Mixture, dict[str, AudioSeparationPipeline]]:
    """
    The first mixture of the list, and the models that separate it.

    Raises:
        `ValueError`: a model or a file cannot be loaded, or the models do not fit together.
    """
    separators = {}
    if options.autoencoder is not None:
        separators["autoencoder"] = load_separator(options.autoencoder, device="cpu")
        check_autoencoder(options.autoencoder, separators["autoencoder"].model)
    separators[Path(options.model).name] = pipeline = load_separator(options.model, device="cpu")
    rates = {separator.model.config.sampling_rate for separator in separators.values()}
    if len(rates) > 1:
        raise ValueError(f"--model and --autoencoder work at different sampling rates: {sorted(rates)} Hz.")
    listed = MixtureArguments(metadata=str(options.metadata), root=str(options.root))
    mixtures = load_mixtures(listed, rates.pop(), pipeline.model.config.num_sources, 1, show_progress=False)
    return mixtures[0], separators


def check_autoencoder(name: str, model: PreTrainedModel) -> None:
    """Raise a `ValueError` unless a model is one of single sources."""
    if model.config.num_sources != 1:
        raise ValueError(f"--autoencoder {name} separates {model.config.num_sources} sources: it must have one.")


def main(arguments: list[str] | None = None) -> None:
    """Write the report."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if (options.model is None) != (options.root is None):
        parser.error("--model and --root make Figure 2 together: give both or none.")
    if options.autoencoder is not None and options.model is None:
        parser.error(
            f"--autoencoder {options.autoencoder} needs --model and --root: it stands beside them in Figure 2."
        )
    try:
        require_matplotlib()
        evaluations = load_evaluations(options.results)
        if not evaluations:
            parser.error(f"--results {options.results} holds no folder with a results.json: run the evaluation first.")
        figure_2 = None if options.model is None else load_figure_2(options)
        make_folder(options.output)
        groups = group_by_conditions(evaluations).items()
        sections = [format_section(options.output, *group) for group in tqdm(groups, desc="Drawing", unit="list")]
    except (ImportError, ValueError, OSError, RuntimeError, StrictDataclassError) as error:
        parser.error(str(error))
    if figure_2 is not None:
        draw_separation(options.output / "separation.png", *figure_2)
        sections.append(f"## Figure 2 of AudioSlots\n\n![Spectrograms of {figure_2[0].mixture_id}](separation.png)\n")
    report = options.output / "report.md"
    write_text(report, "\n".join(["# Results\n", *sections]))
    print(f"report in {report}")


if __name__ == "__main__":
    main()
