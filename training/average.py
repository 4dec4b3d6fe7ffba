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
The mean of the weights of models of one architecture: `python -m training.average MODEL MODEL [MODEL ...] --output DIR`.

`--shares` weighs the models, one number for each; they count equally by default.

A model that was trained on from another one, and that other one, often have a mean that separates unseen voices better than
either (Wortsman et al. 2022, arXiv 2109.01903 and 2203.05482). Each model is a folder, or a name of a shipped checkpoint.
"""

import argparse
import math
from pathlib import Path

import torch
from transformers import PreTrainedModel

from audioslots_hf import load_separator
from audioslots_hf.bars import hiding_bars
from audioslots_hf.files import replacing


# fields of a configuration that do not change the meaning of the weights
UNRELATED = ("_name_or_path", "architectures", "auto_map", "chunk_length", "dtype", "transformers_version")


def average(models: list[PreTrainedModel], shares: list[float]) -> dict[str, torch.Tensor]:
    """
    Mean of the weights by the shares of the models, in float32; numbers that are not floating-point come from the first model.

    Raises:
        `ValueError`: the models differ in a setting.
    """
    first, *others = (
        {name: value for name, value in model.config.to_dict().items() if name not in UNRELATED} for model in models
    )
    for values in others:
        if differing := sorted(name for name in {**first, **values} if first.get(name) != values.get(name)):
            # models of two families differ in most settings
            name = "model_type" if "model_type" in differing else differing[0]
            raise ValueError(
                f"The models differ in `{name}` ({first.get(name)!r} and {values.get(name)!r}): their weights have no common mean."
            )
    states = [model.state_dict() for model in models]
    return {
        name: sum(share / sum(shares) * state[name].float() for share, state in zip(shares, states, strict=True))
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }


def write_average(sources: list[str], output: Path, shares: list[float] | None = None) -> Path:
    """
    Write a model with the mean of the weights of others, and the settings of the first.

    Raises:
        `ValueError`: there are fewer than two models, they differ in a setting, or the shares are not one positive number for each.
        `OSError`: a model does not exist.
    """
    if len(sources) < 2:
        raise ValueError(f"There is one model, {sources[0]}: a mean needs two or more.")
    shares = [1.0] * len(sources) if shares is None else shares
    if len(shares) != len(sources) or not all(0 < share < math.inf for share in shares):
        raise ValueError(f"`--shares` ({shares}) must be {len(sources)} positive numbers, one for each model.")
    pipelines = [load_separator(source, device="cpu") for source in sources]
    model = pipelines[0].model
    model.load_state_dict(average([pipeline.model for pipeline in pipelines], shares))
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as temporary, hiding_bars():
        model.save_pretrained(temporary)
        pipelines[0].feature_extractor.save_pretrained(temporary)
    return output


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and average."""
    parser = argparse.ArgumentParser(prog="python -m training.average", description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="folder, or name of a shipped checkpoint")
    parser.add_argument("--shares", nargs="+", type=float, help="share of each model (default: equal shares)")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    options = parser.parse_args(arguments)
    try:
        folder = write_average(options.models, options.output, options.shares)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"The mean of {len(options.models)} models is in {folder}")


if __name__ == "__main__":
    main()
