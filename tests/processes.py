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
"""Programs in processes where our package cannot be imported, as on the machine of somebody who only has transformers."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


# One process loads torch and transformers, which takes seconds, and every program is a fork of it.
SERVER = """
import json, os, sys, traceback
sys.modules["audioslots_hf"] = None
import numpy, torch
import transformers.dynamic_module_utils
from transformers import AutoFeatureExtractor, AutoModel, pipeline
torch.set_num_threads(1)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["program", *job["arguments"]]
        transformers.dynamic_module_utils.HF_MODULES_CACHE = job["modules"]
        status = 1
        try:
            exec(job["code"], {"__name__": "__main__"})
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class BareProcesses:
    """Starts programs in forks of one process that holds torch and transformers, and lacks our package."""

    def __init__(self):
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, code: str, *arguments: str | Path) -> None:
        """Run a program with an empty cache of remote code; fail with its output if it fails."""
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "output"
            job = {"code": code, "arguments": [str(argument) for argument in arguments]}
            job |= {"output": str(output), "modules": f"{folder}/modules"}
            print(json.dumps(job), file=self.server.stdin, flush=True)
            status = self.server.stdout.readline().strip()
            assert status == "0", output.read_text() if output.exists() else f"status {status}"

    def close(self) -> None:
        """End the process."""
        self.server.kill()
        # waits, and closes both pipes
        self.server.communicate()
