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
"""
transformers' own tests of models, configurations and feature extractors, on all families.

`SKIPPED` and the attribute `skipped` of a class give the reason of each skip. A test that differs from transformers' is a
method of a class here, and its docstring says why.
"""

import fnmatch
import unittest

import pytest
import torch

from audioslots_hf import AudioSlotsFeatureExtractor, DprnnConfig, GalrConfig, SlotGalrConfig, WaveformFeatureExtractor
from audioslots_hf.configuration_voice_encoder import VoiceEncoderConfig
from audioslots_hf.configuration_voice_ensemble import VoiceEncoderEnsembleConfig
from audioslots_hf.families import FAMILIES
from audioslots_hf.modeling_voice_encoder import VoiceEncoderModel
from audioslots_hf.modeling_voice_ensemble import VoiceEncoderEnsembleModel
from tests.conftest import TINY_DUAL_PATH, tiny_audioslots_config
from tests.test_modeling_slot_galr import TINY as TINY_SLOT_GALR
from tests.test_voice_encoder import TINY as TINY_VOICE_ENCODER
from tests.test_voice_ensemble import TINY_ENCODERS
from tests.transformers_source import find_fault, guard_tests, list_tests, load_module


if fault := find_fault():
    pytest.skip(fault, allow_module_level=True)

from parameterized import parameterized  # noqa: E402


pytestmark = pytest.mark.slow
common = load_module("test_modeling_common")
configuration = load_module("test_configuration_common")
feature_extraction = load_module("test_feature_extraction_common")
# by this list, transformers' tests know the models without a loss
common.MODEL_MAPPING_NAMES = common.MODEL_MAPPING_NAMES | {
    "voice_encoder": VoiceEncoderModel.__name__,
    "voice_encoder_ensemble": VoiceEncoderEnsembleModel.__name__,
    **{name: family.model_class.model_class.__name__ for name, family in FAMILIES.items()},
}

# what all families lack, and the tests of it
SKIPPED: dict[str, tuple[str, ...]] = {
    "no family reads tokens or writes text": (
        "test_bc_cache_name_forward",
        "test_causal_lm_loss_honors_shift_labels",
        "test_encoder_decoder_loss_no_double_shift",
        "test_inputs_embeds*",
        "test_resize_*",
    ),
    "no family is a composite of models with their own configurations": (
        "test_attn_implementation_composite_models",
        "test_can_set_attention_dynamically_composite_model",
        "test_internal_model_config_and_subconfig_are_same",
        "test_sdpa_can_dispatch_composite_models",
    ),
    "positions are sines or Fourier features, not rotations": ("test_model_rope_*", "test_vision_axial_rope"),
    "no family has experts": (
        "test_eager_matches_batched_and_grouped_inference_*",
        "test_moe_models_record_router_logits",
        "test_output_router_logits_from_config",
    ),
    "no layer stays in float32 when the others are loaded in half precision": ("test_keep_in_fp32_modules*",),
    "no weights are renamed when a checkpoint is loaded": (
        "test_can_load_from_already_mapped_keys",
        "test_reverse_loading_mapping",
    ),
    "attention reaches over the whole chunk": ("test_sliding_window_mask",),
    "no family splits its layers over devices": ("test_tp_plan_matches_params",),
    "an encoder has several weights, and the test asks for the one of an embedding": (
        "test_enable_input_require_grads_with_gradient_checkpointing",
    ),
}
NO_ATTENTION = {
    "the model has no attention layers of transformers' kind": (
        "test_attention_outputs",
        "test_attn_implementation_composite_models",
        "test_can_set_attention_dynamically",
        "test_eager_matches_sdpa_inference_*",
        "test_multimodal_outputs_are_returned",
        "test_sdpa_can_dispatch_*",
        "test_sliding_window_mask",
    )
}


def draw(*shape: int) -> torch.Tensor:
    """The same normal numbers in every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(common.torch_device)


class Tester:
    """What transformers' tests ask of a model: a tiny configuration, inputs for it, and sizes of its outputs."""

    batch_size = 3

    def __init__(self, case: "ModelCase"):
        self.case = case
        self.is_training = case.is_training
        self.__dict__.update(case.sizes)

    def get_config(self):
        return self.case.make_config()

    def prepare_config_and_inputs_for_common(self):
        return self.case.make_config(), self.case.make_inputs()


class ModelCase(common.ModelTesterMixin):
    """A family gives `all_model_classes`, `sizes`, `make_config` and `make_inputs`."""

    is_training = True
    # no model reads tokens
    test_resize_embeddings = False
    sizes: dict[str, int]
    common_properties = ["hidden_size", "num_hidden_layers", "num_attention_heads"]
    skipped: dict[str, tuple[str, ...]] = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if issubclass(cls, unittest.TestCase):
            guard_tests(cls, SKIPPED | cls.skipped)

    def setUp(self):
        self.model_tester = Tester(self)

    def make_labels(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        [mixtures] = inputs.values()
        return {"labels": draw(len(mixtures), self.make_config().num_sources, *mixtures.shape[1:])}

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class)
        is_separator = model_class.__name__.endswith("ForAudioSeparation")
        return inputs | self.make_labels(inputs_dict) if return_labels and is_separator else inputs

    def test_model_get_set_embeddings(self):
        """Adapted: the encoder of waveforms or spectrograms stands in for the embeddings of tokens."""
        for model_class in self.all_model_classes:
            model = model_class(self.make_config())
            encoder = model.get_input_embeddings()
            assert isinstance(encoder, torch.nn.Module) and encoder in [*model.modules()]
            model.set_input_embeddings(torch.nn.Identity())
            assert isinstance(model.get_input_embeddings(), torch.nn.Identity)
            assert model.get_output_embeddings() is None

    def test_config(self):
        """Run transformers' tests of configurations."""
        tester = configuration.ConfigTester(
            self,
            config_class=type(self.make_config()),
            has_text_modality=False,
            common_properties=self.common_properties,
        )
        tester.run_common_tests()


def list_model_classes(model_type: str) -> tuple[type, type]:
    """The model without masks and the separation model of a family."""
    model_class = FAMILIES[model_type].model_class
    return model_class.model_class, model_class


class TestAudioSlots(ModelCase, unittest.TestCase):
    all_model_classes = list_model_classes("audioslots")
    # the slots attend to 8 x 2 positions
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "seq_length": 2, "key_length": 16}

    def make_config(self):
        return tiny_audioslots_config(speaker_embedding_size=4)

    def make_inputs(self):
        config = self.make_config()
        return {"input_features": draw(3, config.num_bins, config.num_frames).abs()}

    def make_labels(self, inputs):
        # two chunks of one recording and one of another: the speaker embeddings also get a gradient
        return super().make_labels(inputs) | {"recording_ids": torch.tensor([0, 0, 1], device=common.torch_device)}


class DualPathCase(ModelCase):
    # 201 frames in halves of 5, and one half of zeros before and behind
    sizes = {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "seq_length": 42}

    def make_inputs(self):
        return {"input_values": draw(3, 800)}


class TestGalr(DualPathCase, unittest.TestCase):
    all_model_classes = list_model_classes("galr")

    def make_config(self):
        return GalrConfig(**TINY_DUAL_PATH, summary_length=4, num_attention_heads=2)


class TestDprnn(DualPathCase, unittest.TestCase):
    all_model_classes = list_model_classes("dprnn")
    has_attentions = False
    common_properties = ["hidden_size", "num_hidden_layers"]
    skipped = NO_ATTENTION

    def make_config(self):
        return DprnnConfig(**TINY_DUAL_PATH)


class TestSlotGalr(ModelCase, unittest.TestCase):
    all_model_classes = list_model_classes("slot_galr")
    # Hidden states of 4 bands and attention weights of 4 slots: the tests have one name for both lengths. Three layers of the
    # map follow its first state, and the slots attend to 5 x 1 positions
    sizes = {
        "num_hidden_layers": 2,
        "expected_num_hidden_layers": 4,
        "hidden_size": 8,
        "num_attention_heads": 2,
        "seq_length": 4,
        "key_length": 5,
    }

    def make_config(self):
        bands = {"band_widths": [4, 12], "num_bands_per_width": [2, 2], "num_slots": 4}
        return SlotGalrConfig(**(TINY_SLOT_GALR | bands))

    def make_inputs(self):
        return {"input_values": draw(3, 800)}

    @parameterized.expand(common.TEST_EAGER_MATCHES_SDPA_INFERENCE_PARAMETERIZATION)
    def test_eager_matches_sdpa_inference(self, name, dtype, *options):
        """Adapted: the tiny map reaches values of 8, where float16 has steps of 0.008, and float32 of 1e-6."""
        tolerances = {torch.float16: 2e-2, torch.bfloat16: 1e-2, torch.float32: 1e-5}
        atols = {
            (common.torch_device, kernels, key): value
            for kernels in (False, True)
            for key, value in tolerances.items()
        }
        common._test_eager_matches_sdpa_inference(self, name, dtype, *options, atols=atols)


class TestVoiceEncoder(ModelCase, unittest.TestCase):
    all_model_classes = (VoiceEncoderModel,)
    has_attentions = False
    # its loss is part of the training
    is_training = False
    common_properties = ["hidden_size", "num_hidden_layers"]
    # hidden states have the frames last
    sizes = {"num_hidden_layers": 2, "seq_length": 12, "hidden_size": 26}
    skipped = NO_ATTENTION | {
        "the loss belongs to the training of the encoder": (
            "test_training*",
            "test_enable_input_require_grads_with_gradient_checkpointing",
        )
    }

    def make_config(self):
        return VoiceEncoderConfig(**TINY_VOICE_ENCODER)

    def make_inputs(self):
        return {"input_values": draw(3, 8000)}


class TestVoiceEncoderEnsemble(TestVoiceEncoder):
    all_model_classes = (VoiceEncoderEnsembleModel,)
    common_properties = []
    # two encoders, each with its input and two layers
    sizes = TestVoiceEncoder.sizes | {"expected_num_hidden_layers": 6}

    def make_config(self):
        return VoiceEncoderEnsembleConfig(encoders=TINY_ENCODERS)

    def test_can_capture_specific_layers_hidden_states(self):
        """Adapted: indices count the layers of each encoder."""
        model = VoiceEncoderEnsembleModel(self.make_config()).to(common.torch_device).eval()
        states = model(**self.make_inputs(), output_hidden_states=[0, -1]).hidden_states
        assert [state is not None for state in states] == 2 * [True, False, True]


class TestAudioSlotsFeatureExtractor(feature_extraction.FeatureExtractionSavingTestMixin, unittest.TestCase):
    feature_extraction_class = AudioSlotsFeatureExtractor
    feat_extract_dict = {"sampling_rate": 8000, "chunk_length": 800, "n_fft": 128, "hop_length": 50}


class TestWaveformFeatureExtractor(feature_extraction.FeatureExtractionSavingTestMixin, unittest.TestCase):
    feature_extraction_class = WaveformFeatureExtractor
    feat_extract_dict = {"sampling_rate": 8000, "chunk_length": 800}


@pytest.mark.parametrize(
    "case", [TestAudioSlots, TestGalr, TestDprnn, TestSlotGalr, TestVoiceEncoder, TestVoiceEncoderEnsemble]
)
def test_every_entry_of_the_tables_matches_a_test(case):
    for pattern in (pattern for patterns in (SKIPPED | case.skipped).values() for pattern in patterns):
        assert fnmatch.filter(list_tests(case), pattern), pattern
