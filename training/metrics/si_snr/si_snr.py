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
"""SI-SNR, SDR and their improvements as a module of the `evaluate` library: `evaluate.load("training/metrics/si_snr")`."""

from typing import Any

import datasets
import evaluate
import torch

from audioslots_hf.metrics import score_separation


DESCRIPTION = """\
Scores of blind source separation in dB, with the best order of the estimates by SI-SNR: zero-mean scale-invariant
signal-to-noise ratio (SI-SNR, Luo and Mesgarani 2018), signal-to-distortion ratio with a filter of 512 taps (SDR, Vincent et al.
2006), and the improvement of both over the mixture.
"""

INPUTS_DESCRIPTION = """
Args:
    predictions (`list`): per example the estimates in any order, `(num_sources, num_samples)`.
    references (`list`): per example the true sources, of the same shape.
    mixtures (`list`, *optional*): per example the mixture, `(num_samples,)`; needed for the improvements.

Examples may differ in length and in number of sources. Samples pass through Arrow in float32.

Returns:
    `si_snr`, `sdr`, and with mixtures `si_snri` and `sdri`: means in dB over all sources of all examples.
    `order`: per example a list; reference j goes with estimate `order[j]`.

Examples:
    >>> si_snr = evaluate.load("training/metrics/si_snr")
    >>> scores = si_snr.compute(predictions=[[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]], references=[[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> scores["order"]
    [[1, 0]]
"""

CITATION = """\
@inproceedings{luo2018tasnet,
  title     = {{TasNet}: Time-domain Audio Separation Network for Real-time, Single-channel Speech Separation},
  author    = {Luo, Yi and Mesgarani, Nima},
  booktitle = {IEEE International Conference on Acoustics, Speech and Signal Processing (ICASSP)},
  year      = {2018}
}
@article{vincent2006performance,
  title   = {Performance measurement in blind audio source separation},
  author  = {Vincent, Emmanuel and Gribonval, R{\\'e}mi and F{\\'e}votte, C{\\'e}dric},
  journal = {IEEE Transactions on Audio, Speech, and Language Processing},
  year    = {2006}
}
"""


class SiSnr(evaluate.Metric):
    """Scores of separated sources; see [`INPUTS_DESCRIPTION`]."""

    def _info(self) -> evaluate.MetricInfo:
        waveform = datasets.List(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.List(waveform), "references": datasets.List(waveform), "mixtures": waveform}
            ),
        )

    def compute(self, *, predictions: Any = None, references: Any = None, mixtures: Any = None) -> dict | None:
        """Score all examples, given here or added before."""
        # the library expects every feature by name
        return super().compute(predictions=predictions, references=references, mixtures=mixtures)

    def add_batch(self, *, predictions: Any = None, references: Any = None, mixtures: Any = None) -> None:
        """Add examples to score."""
        if predictions is None or references is None:
            raise ValueError("Give both `predictions` and `references`.")
        if mixtures is None:
            mixtures = [None] * len(references)
        super().add_batch(predictions=predictions, references=references, mixtures=mixtures)

    def add(self, *, prediction: Any = None, reference: Any = None, mixtures: Any = None) -> None:
        """Add one example to score."""
        super().add(prediction=prediction, reference=reference, mixtures=mixtures)

    def _compute(self, predictions: list, references: list, mixtures: list) -> dict[str, float | list]:
        if not predictions:
            raise ValueError("There are no examples to score.")
        if 0 < mixtures.count(None) < len(mixtures):
            raise ValueError(
                f"{mixtures.count(None)} of {len(mixtures)} examples have no mixture: give all of them or none."
            )
        totals: dict[str, list[torch.Tensor]] = {}
        for index, example in enumerate(zip(predictions, references, mixtures, strict=True)):
            for name, scores in score_example(index, *example).items():
                totals.setdefault(name, []).append(scores[0])
        orders = [order.tolist() for order in totals.pop("order")]
        return {name: torch.cat(scores).mean().item() for name, scores in totals.items()} | {"order": orders}


def score_example(
    index: int, estimates: list[list[float]], references: list[list[float]], mixture: list[float] | None
) -> dict[str, torch.Tensor]:
    """[`score_separation`] of one example, after checking that its parts belong together."""
    if len(estimates) != len(references):
        raise ValueError(
            f"Example {index} has {len(estimates)} predictions and {len(references)} references: give one estimate per reference."
        )
    named = {f"prediction {i}": estimate for i, estimate in enumerate(estimates)}
    named |= {f"reference {i}": reference for i, reference in enumerate(references)}
    if mixture is not None:
        named["mixture"] = mixture
    lengths = {name: len(waveform) for name, waveform in named.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        lengths = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"The waveforms of example {index} must have one length, but have, in samples: {lengths}.")
    mixtures = None if mixture is None else torch.tensor([mixture])
    return score_separation(torch.tensor([estimates]), torch.tensor([references]), mixtures)
