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
import os
import subprocess
import sys

import pytest


CODE = """
import os, sys
import numpy as np
import torch
from audioslots_hf import load_separator

torch.set_num_threads(2)
pipeline = load_separator(sys.argv[1], device="cpu", num_speakers="outputs")
separator = pipeline.separator
audio = (0.1 * np.sin(np.arange(8_000))).astype("float32")
waveforms = torch.from_numpy(audio)[None]
expected = [source["audio"] for source in pipeline(audio)]
# the threads of torch have started by now
torch.ones(1000, 1000) @ torch.ones(1000, 1000)
for call in (lambda: [source["audio"] for source in pipeline(audio)], lambda: separator.separate(waveforms)[0].numpy()):
    child = os.fork()
    if child == 0:
        np.testing.assert_allclose(np.stack(list(call())), np.stack(expected), atol=1e-5)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert torch.get_num_threads() == 2
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
def test_a_forked_process_separates_with_the_model_of_its_parent(checkpoint):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    process = subprocess.run(
        [sys.executable, "-c", CODE, checkpoint],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("This process was forked") == 2
