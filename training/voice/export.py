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
Copy a voice encoder into the package: `python -m training.voice.export FIRST/last [SECOND/last ...] --name NAME`.

Several encoders become one ensemble.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import save_file
from torch import nn

from audioslots_hf.configuration_voice_ensemble import VoiceEncoderEnsembleConfig
from audioslots_hf.files import replacing
from audioslots_hf.modeling_voice_encoder import VoiceEncoderModel
from audioslots_hf.modeling_voice_ensemble import VoiceEncoderEnsembleModel
from audioslots_hf.voice_encoders import DEFAULT_VOICE_ENCODER, VOICES_DIR, load_voice_encoder


# minimum cosine between the embeddings before and after the conversion to half precision
MIN_COSINE = 0.999


def join(models: Sequence[VoiceEncoderModel | VoiceEncoderEnsembleModel]) -> VoiceEncoderEnsembleModel:
    """
    One ensemble of all encoders, in evaluation mode, which shares their weights.

    Raises:
        `StrictDataclassError`: their sampling rates or hop lengths differ.
    """
    parts = [[*model.encoders] if isinstance(model, VoiceEncoderEnsembleModel) else [model] for model in models]
    encoders = sum(parts, start=[])
    config = VoiceEncoderEnsembleConfig(encoders=[encoder.config for encoder in encoders])
    ensemble = VoiceEncoderEnsembleModel(config)
    ensemble.encoders = nn.ModuleList(encoders)
    return ensemble.eval()


def export(sources: Sequence[Path], target: Path) -> Path:
    """
    Write the weights in half precision, with a configuration that computes in float32, and keep the card that lies there.

    Args:
        sources (sequence of `Path`):
            Folders of voice encoders. Several become an ensemble.
        target (`Path`):
            The folder to write.

    Raises:
        `OSError`: a source does not exist. `ValueError`: a source cannot be loaded, weights are too large for half
        precision, or it changes the embeddings. `StrictDataclassError`: the sources do not fit each other.
    """
    if missing := [source for source in sources if not Path(source).is_dir()]:
        raise FileNotFoundError(f"{missing[0]} is no folder: pass that of a voice encoder, as runs/NAME/last.")
    models = [load_voice_encoder(Path(source)) for source in sources]
    model = models[0] if len(models) == 1 else join(models)
    halves = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    if too_large := [name for name, value in halves.items() if not value.isfinite().all()]:
        raise ValueError(f"In half precision the weights {too_large[0]} are infinite: train with more weight decay.")
    values = model.config.to_diff_dict() | {"architectures": [type(model).__name__], "dtype": "float32"}
    values.pop("auto_map", None)
    card = target / "README.md"
    text = card.read_text(encoding="utf-8") if card.exists() else f"# {target.name}\n"
    with replacing(target) as temporary:
        temporary.mkdir(parents=True)
        save_file(halves, temporary / "model.safetensors", metadata={"format": "pt"})
        config = json.dumps(values, indent=2, sort_keys=True) + "\n"
        (temporary / "config.json").write_text(config, encoding="utf-8")
        (temporary / "README.md").write_text(text, encoding="utf-8")
        check_equal(model, load_voice_encoder(temporary))
    return target


@torch.no_grad()
def check_equal(
    model: VoiceEncoderModel | VoiceEncoderEnsembleModel, copy: VoiceEncoderModel | VoiceEncoderEnsembleModel
) -> None:
    """
    Compare the embeddings of noise.

    Raises:
        `ValueError`: they differ.
    """
    noise = torch.randn(4, 2 * model.config.sampling_rate, generator=torch.Generator().manual_seed(0))
    cosine = (model(noise).embeddings * copy(noise).embeddings).sum(dim=1).min()
    # also where they are NaN
    if not cosine >= MIN_COSINE:
        raise ValueError(f"In half precision the embeddings have a cosine of {cosine:.4f} to those before.")


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and copy."""
    parser = argparse.ArgumentParser(prog="python -m training.voice.export", description=__doc__)
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="folder of a model, for instance runs/voice-encoder-small/last; several become an ensemble",
    )
    parser.add_argument("--name", default=DEFAULT_VOICE_ENCODER, help=f"(default: {DEFAULT_VOICE_ENCODER})")
    options = parser.parse_args(arguments)
    try:
        folder = export(options.sources, VOICES_DIR / options.name)
    except (OSError, StrictDataclassError, ValueError) as error:
        parser.error(str(error))
    print(f"The voice encoder is in {folder}")


if __name__ == "__main__":
    main()
