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
"""The tiny run that the tests of training share."""

import json
from pathlib import Path

from tests.conftest import SAMPLES
from training.arguments import load_arguments


CONFIGS = Path(__file__).parents[1] / "training" / "configs"
DEBUG = CONFIGS / "debug.yaml"


def debug_arguments(output_dir: Path, *overrides: str):
    overrides = (f"output_dir={output_dir}", f"speech.0.root={SAMPLES / 'speech'}", *overrides)
    validation = (f"valid.metadata={SAMPLES / 'valid.csv'}", f"valid.root={SAMPLES / 'speech'}")
    return load_arguments(DEBUG, [*overrides, *validation])


def read_log(folder: Path, key: str = "loss") -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line[key] for line in lines if key in line}
