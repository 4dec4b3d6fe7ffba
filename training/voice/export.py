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
"""Copy a voice encoder into the package: `python -m training.voice.export RUN/last --name NAME`."""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from audioslots_hf.files import replacing
from audioslots_hf.modeling_voice_encoder import VoiceEncoderModel
from audioslots_hf.voice_encoders import DEFAULT_VOICE_ENCODER, VOICES_DIR, load_voice_encoder


# minimum cosine between the embeddings before and after the conversion to half precision
MIN_COSINE = 0.999


def export(source: Path, target: Path) -> Path:
    """
    Write the weights in half precision, with a configuration that computes in float32, and keep the card that lies there.

    Raises:
        `ValueError`: weights are too large for half precision, or it changes the embeddings.
    """
    model = VoiceEncoderModel.from_pretrained(source).eval()
    halves = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    if too_large := [name for name, value in halves.items() if not value.isfinite().all()]:
        raise ValueError(f"In half precision the weights {too_large[0]} are infinite: train with more weight decay.")
    values = json.loads((source / "config.json").read_text(encoding="utf-8"))
    values.pop("auto_map", None)
    card = target / "README.md"
    text = card.read_text(encoding="utf-8") if card.exists() else f"# {target.name}\n"
    with replacing(target) as temporary:
        temporary.mkdir(parents=True)
        save_file(halves, temporary / "model.safetensors", metadata={"format": "pt"})
        config = json.dumps(values | {"dtype": "float32"}, indent=2, sort_keys=True) + "\n"
        (temporary / "config.json").write_text(config, encoding="utf-8")
        (temporary / "README.md").write_text(text, encoding="utf-8")
        check_equal(model, load_voice_encoder(temporary))
    return target


@torch.no_grad()
def check_equal(model: VoiceEncoderModel, copy: VoiceEncoderModel) -> None:
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
    parser.add_argument("source", type=Path, help="folder of a model, for instance runs/voice-encoder-small/last")
    parser.add_argument("--name", default=DEFAULT_VOICE_ENCODER, help=f"(default: {DEFAULT_VOICE_ENCODER})")
    options = parser.parse_args(arguments)
    try:
        folder = export(options.source, VOICES_DIR / options.name)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"The voice encoder is in {folder}")


if __name__ == "__main__":
    main()
