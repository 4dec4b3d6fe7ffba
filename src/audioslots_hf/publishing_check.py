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
"""Whether a folder for the Hub works where only transformers is installed: its own snippet runs there, without this package."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .cards import MIXTURE_NAME, SAMPLES_NAME, format_snippet


TIMEOUT_S = 900
# of full scale: far above 16 bits and other numbers of threads, far below any other weights
TOLERANCE = 2**-10
PROGRAM = """
import json, sys
# an import of the package fails here, from wherever
sys.modules["audioslots_hf"] = None
job = json.load(sys.stdin)
namespace = {}
exec(job["code"], namespace)
import numpy, soundfile
# the snippet finds the people of the sample, and the stored tracks are the outputs of the model
tracks = namespace["separator"](namespace["mixture"], num_speakers="outputs")
assert type(namespace["separator"]).__module__.startswith("transformers_modules."), "the code is not that of the repository"
assert len(tracks) == len(job["stored"]), f"{len(tracks)} tracks instead of {len(job['stored'])}"
for track, path in zip(tracks, job["stored"]):
    stored, rate = soundfile.read(path, dtype="float32")
    assert (track["sampling_rate"], track["audio"].shape) == (rate, stored.shape), "another rate or length"
    difference = float(numpy.abs(track["audio"] - stored).max())
    assert difference <= job["tolerance"], f"a track differs by {difference:.4f} from {path}"
"""


def check_apart(folder: Path, repo_id: str, cache: Path) -> None:
    """
    Run the snippet of a card in a process without this package, and compare the outputs of its model with the stored tracks.

    Args:
        folder (`Path`):
            Folder of the repository.
        repo_id (`str`):
            Repository on the Hub, `user/name`.
        cache (`Path`):
            Cache of the Hub in which `repo_id` is this folder.

    Raises:
        `ValueError`: the snippet fails, or the tracks differ.
    """
    samples = folder / SAMPLES_NAME
    stored = sorted(samples.glob(f"{Path(MIXTURE_NAME).stem}_source_*.flac"), key=lambda path: (len(path.name), path))
    job = {"code": format_snippet(repo_id), "stored": [str(path) for path in stored], "tolerance": TOLERANCE}
    with tempfile.TemporaryDirectory() as modules:
        # everything comes from the cache, and every device gives the same on a CPU
        variables = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": modules}
        variables |= {"CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1"}
        try:
            process = subprocess.run(
                [sys.executable, "-c", PROGRAM],
                input=json.dumps(job),
                capture_output=True,
                text=True,
                env=os.environ | variables,
                cwd=modules,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise ValueError(
                f"The snippet of the card ran for more than {TIMEOUT_S} s: nothing was uploaded."
            ) from error
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
        raise ValueError(f"The model does not work where only transformers is installed: {lines[-1]}")


__all__ = ["PROGRAM", "TOLERANCE", "check_apart"]
