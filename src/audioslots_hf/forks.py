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
"""A process that was forked after torch had started its threads: it waits for ever for threads that only its parent has."""

import os

import torch
from transformers.utils.logging import get_logger


logger = get_logger(__name__)


def use_one_thread_if_forked(process: int) -> None:
    """
    Keep a forked process from hanging: torch gets one thread in it, as in the workers of a data loader, with a warning.

    Args:
        process (`int`):
            The process in which the model was loaded.
    """
    if os.getpid() == process or torch.get_num_threads() == 1:
        return
    torch.set_num_threads(1)
    logger.warning(
        "This process was forked from the one that loaded the model, and torch's threads do not survive that: it uses one thread. "
        "Load the model in each process to use more."
    )


__all__ = ["use_one_thread_if_forked"]
