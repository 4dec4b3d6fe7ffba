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
"""The checkpoints that ship with the package: where they lie, and what each is for."""

import json
import math
import re
from pathlib import Path
from typing import Any


DEFAULT_CHECKPOINT = "galr-small"
CHECKPOINTS_DIR = Path(__file__).parent / "checkpoints"


def list_checkpoints() -> list[str]:
    """Names of the checkpoints that ship with the package."""
    return sorted(path.parent.name for path in CHECKPOINTS_DIR.glob("*/config.json"))


def find_checkpoint(model: str | Path | None) -> str:
    """The folder of a shipped checkpoint by its name (`None`: the default); a `Path` or any other name is returned as is."""
    name = DEFAULT_CHECKPOINT if model is None else str(model)
    is_shipped = not isinstance(model, Path) and name in list_checkpoints()
    return str(CHECKPOINTS_DIR / name) if is_shipped else name


def describe_checkpoint(name: str) -> dict[str, Any]:
    """
    Describe a shipped checkpoint, without torch.

    Returns:
        `dict` with `name`, `is_default`, `use` (the title of its card), `family`, `sampling_rate` in hertz, `num_parameters`,
        `size_bytes` of its weights, and `path`.
    """
    folder = CHECKPOINTS_DIR / name
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    title = re.search(
        rf"^# {re.escape(name)}: (.+)$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    weights = folder / "model.safetensors"
    return {
        "name": name,
        "is_default": name == DEFAULT_CHECKPOINT,
        "use": title[1] if title else "",
        "family": config["model_type"],
        "sampling_rate": config["sampling_rate"],
        "num_parameters": _count_parameters(weights),
        "size_bytes": weights.stat().st_size,
        "path": str(folder),
    }


def _count_parameters(weights: Path) -> int:
    """The number of values in a file of safetensors, from its header: eight bytes with a length, then JSON."""
    with open(weights, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


__all__ = ["CHECKPOINTS_DIR", "DEFAULT_CHECKPOINT", "describe_checkpoint", "find_checkpoint", "list_checkpoints"]
