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

import json
import os
import re
import shutil

import numpy as np
import pytest

from audioslots_hf import load_separator
from audioslots_hf.publishing import PACKAGED_SAMPLES
from audioslots_hf.shipped import DEFAULT_CHECKPOINT
from tests.environments import make_environment, run_in
from tests.loopback_hub import USER, LoopbackHub, run_hub, start_publish


pytestmark = pytest.mark.slow
REPO_ID = f"{USER}/published"
USE = """
import json, re, sys
import numpy as np
repo_id, result = sys.argv[1:]
for name in ("audioslots_hf", "av", "matplotlib"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise AssertionError(f"{name} is installed")
from huggingface_hub import HfApi, hf_hub_download
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, pipeline
info = HfApi().model_info(repo_id)
assert (info.pipeline_tag, info.library_name) == ("audio-to-audio", "transformers"), info
assert {"README.md", "samples/mixture.flac"} <= {file.rfilename for file in info.siblings}
# the task is that of the repository
separator = pipeline(model=repo_id, trust_remote_code=True, device="cpu")
tracks = separator(hf_hub_download(repo_id, "samples/mixture.flac"))
np.save(result, np.stack([track["audio"] for track in tracks]))
# the voice encoder comes from the repository
people = separator(hf_hub_download(repo_id, "samples/mixture.flac"), num_speakers=2)
assert len(people) == 2 and all(person["segments"] for person in people)
config = AutoConfig.from_pretrained(repo_id, trust_remote_code=True)
extractor = AutoFeatureExtractor.from_pretrained(repo_id, trust_remote_code=True)
model = AutoModel.from_pretrained(repo_id, trust_remote_code=True)
features = extractor(np.zeros(config.chunk_length, dtype=np.float32), sampling_rate=config.sampling_rate)
assert extractor.post_process_audio_separation(model(**features), features).shape == (1, 2, config.chunk_length)
# the card's own snippet, as it stands
card = open(hf_hub_download(repo_id, "README.md"), encoding="utf-8").read()
[code] = re.findall(r"```python\\n(.*?)```", card, re.DOTALL)
namespace = {}
exec(code, namespace)
assert all(np.array_equal(new["audio"], old["audio"]) for new, old in zip(namespace["tracks"], tracks))
"""


@pytest.fixture
def hub():
    with run_hub() as hub:
        yield hub


def publish(hub: LoopbackHub, model: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run `audioslots publish` -> exit status, stdout and stderr."""
    process = start_publish(hub, model, REPO_ID, *arguments, **variables)
    output, error = process.communicate()
    return process.returncode, output, error


def test_the_default_opens_from_the_hub_where_the_package_is_not_installed(hub, tmp_path):
    status, output, error = publish(hub, DEFAULT_CHECKPOINT, "--json")
    assert status == 0, error
    assert json.loads(output) == {"published": True, "address": f"{hub.endpoint}/{REPO_ID}"}
    make_environment(tmp_path / "site", ["torch", "transformers", "soundfile", "scipy"])
    variables = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    run_in(tmp_path / "site", USE, REPO_ID, tmp_path / "tracks.npy", **variables)
    tracks = load_separator(DEFAULT_CHECKPOINT, device="cpu")(PACKAGED_SAMPLES / "two_voices.flac")
    for found, track in zip(np.load(tmp_path / "tracks.npy"), tracks, strict=True):
        # another process may sum with another number of threads
        np.testing.assert_allclose(found, track["audio"], rtol=0, atol=1e-5)


def test_a_model_that_fails_without_the_package_is_not_uploaded(hub, checkpoint, tmp_path):
    model = shutil.copytree(checkpoint, tmp_path / "model")
    (model / "card.yaml").write_text("license: mit\ndata:\n- {name: noise, license: CC0-1.0}\n")
    # a stored track that the model does not give
    breaking = tmp_path / "sitecustomize.py"
    breaking.write_text(
        "import soundfile\nread = soundfile.read\n"
        "soundfile.read = lambda *args, **kwargs: (0 * read(*args, **kwargs)[0], read(*args, **kwargs)[1])\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    status, output, error = publish(hub, str(model), PYTHONPATH=path)
    assert status == 1 and not output and hub.repositories == {}
    assert re.search(r"does not work where only transformers is installed: .*a track differs by 0\.\d+", error)
