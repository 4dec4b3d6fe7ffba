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
"""`audioslots demo`: a page in the browser."""

import argparse

from .command_line import add_device, add_model, choose_device


def add_demo(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("demo", help="open a page for the browser that separates recordings")
    add_model(parser)
    add_device(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860 on)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    from .demo import build_demo, launch, require_gradio

    require_gradio()
    launch(build_demo(options.model, choose_device(options.device)), options.host, options.port)
    return 0


__all__ = ["add_demo"]
