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
"""Peak memory of this process, on the CPU (Linux only) or on a GPU."""

import re
from pathlib import Path

import torch


class PeakMemory:
    """
    The increase of the peak memory since the construction of this object.

    On the CPU it measures the resident memory of the process, as reported by the kernel; on a GPU the bytes of its tensors.
    """

    def __init__(self, device: str):
        self.device = device
        if device == "cpu":
            # reset the peak in the kernel, for instance that of the imports
            Path("/proc/self/clear_refs").write_text("5")
            self.idle = read_status("VmRSS")
        else:
            torch.accelerator.reset_peak_memory_stats()
            self.idle = torch.accelerator.memory_allocated()

    def bytes(self) -> int:
        """Bytes above those held at the start."""
        peak = read_status("VmHWM") if self.device == "cpu" else torch.accelerator.max_memory_allocated()
        return peak - self.idle


def available_bytes() -> int:
    """Memory that is available without swapping."""
    return 1024 * int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1])


def read_status(name: str) -> int:
    """Bytes of one line of the kernel's status of this process, for instance VmRSS."""
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1])
