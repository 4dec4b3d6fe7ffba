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
"""The memory allocator of a process that is ours: a command, a training run, a benchmark."""

import ctypes
import sys


# of malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """
    Have the allocator keep what is freed for the next tensor, rather than give it back to the system.

    By default glibc maps every tensor of some megabytes afresh, and the system zeroes it page by page: for a model that goes
    over such tensors a few times only, a third to a half of the time. For the whole process, so a library must not do it unasked.

    Returns:
        Whether this system's allocator could be told.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    largest = 2**31 - 1
    options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: largest, M_TOP_PAD: 2**29}
    return all(libc.mallopt(option, value) == 1 for option, value in options.items())
