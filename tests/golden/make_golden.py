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
Write the golden file: tiny random weights, an input and the output of the model.

Run `python -m tests.golden.make_golden` only when the arithmetic changes on purpose.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

from audioslots_hf import AudioSlotsForAudioSeparation
from tests.conftest import tiny_audioslots_config


def main():
    """Write audioslots.safetensors beside this file."""
    torch.manual_seed(0)
    model = AudioSlotsForAudioSeparation(tiny_audioslots_config()).eval()
    inputs = {"input_features": torch.rand(1, 64, 16), "labels": torch.rand(1, 2, 64, 16)}
    with torch.no_grad():
        outputs = model(**inputs)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    tensors |= {f"inputs.{name}": tensor for name, tensor in inputs.items()}
    tensors |= {f"outputs.{name}": outputs[name] for name in ("loss", "estimates", "last_hidden_state")}
    save_file(tensors, Path(__file__).parent / "audioslots.safetensors")


if __name__ == "__main__":
    main()
