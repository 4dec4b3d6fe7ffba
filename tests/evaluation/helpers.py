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
"""The evaluation command on the recordings that ship with the tests."""

import json
from pathlib import Path

from tests.conftest import SAMPLES
from training import run_evaluation


def evaluate(checkpoint: Path, output: Path, *options) -> dict:
    """Evaluate a model -> the results that the command wrote."""
    arguments = ["--model", checkpoint, "--root", SAMPLES / "speech", "--metadata", SAMPLES / "valid.csv"]
    run_evaluation.main([str(word) for word in [*arguments, "--output", output, *options]])
    return json.loads((output / "results.json").read_text())


def run(checkpoint: Path, output: Path, *options) -> dict:
    """The same without people, whom random models do not tell apart, unless the options say otherwise."""
    return evaluate(checkpoint, output, "--num-speakers", "outputs", *options)
