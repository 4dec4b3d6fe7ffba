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
"""Contracts that every family passes: subclass [`SeparationContracts`] once per variant, all but the first beside [`FamilyVariant`]."""

import copy
import pickle
import sys

import pytest
import torch
from accelerate import cpu_offload
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor, Trainer, TrainingArguments
from transformers.dynamic_module_utils import get_imports


LOAD_WITHOUT_PACKAGE = """
import sys
import torch
from transformers import AutoFeatureExtractor, AutoModel
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True).eval()
feature_extractor = AutoFeatureExtractor.from_pretrained(sys.argv[1], trust_remote_code=True)
assert "transformers_modules" in type(model).__module__, type(model)
case = torch.load(sys.argv[2])
features = feature_extractor(case["audio"], sampling_rate=feature_extractor.sampling_rate)
with torch.no_grad():
    outputs = model(**features)
torch.save(feature_extractor.post_process_audio_separation(outputs, features), sys.argv[3])
"""


def replicate(model):
    """A replica of `nn.DataParallel` for another GPU: its parameters are plain attributes."""
    modules = list(model.modules())
    replicas = {module: module._replicate_for_data_parallel() for module in modules}
    for module, replica in replicas.items():
        for name, child in module.named_children():
            setattr(replica, name, replicas[child])
        for name, parameter in module._parameters.items():
            setattr(replica, name, None if parameter is None else parameter.clone())
    return replicas[model]


class FamilyVariant:
    """Leaves out, if it comes first, the contracts of the files that travel and of the class that Trainer sees: they are those of the family."""

    test_remote_code_is_exact_where_the_package_is_not_installed = None
    test_trainer_accumulates_gradients_to_those_of_the_whole_batch = None
    test_trainer_predicts_the_estimates_alone = None


class SeparationContracts:
    """
    A family gives `config_class`, `model_class`, `make_config(**overrides)` (tiny), `make_feature_extractor()` and
    `invalid_configs`; the rest holds for any.
    """

    config_class: type
    model_class: type
    invalid_configs: list[dict]
    num_sources = 2
    bfloat16_tolerance = 0.1

    def make_config(self, **overrides):
        """A tiny configuration."""
        raise NotImplementedError

    def is_idle(self, name: str) -> bool:
        """Whether a parameter has no effect by design."""
        return False

    def make_feature_extractor(self):
        """The feature extractor that fits it."""
        raise NotImplementedError

    @pytest.fixture
    def model(self):
        torch.manual_seed(0)
        return self.model_class(self.make_config()).eval()

    @pytest.fixture
    def feature_extractor(self):
        return self.make_feature_extractor()

    @pytest.fixture
    def references(self):
        num_samples = self.make_config().chunk_length
        return torch.randn(3, self.num_sources, num_samples, generator=torch.Generator().manual_seed(0))

    @pytest.fixture
    def features(self, feature_extractor, references):
        return feature_extractor(
            references.sum(dim=1), sampling_rate=feature_extractor.sampling_rate, labels=references
        )

    def separate(self, model, feature_extractor, audio):
        features = feature_extractor(audio, sampling_rate=feature_extractor.sampling_rate)
        with torch.no_grad():
            return feature_extractor.post_process_audio_separation(model(**features), features)

    def test_forward_and_backward_run(self, model, features):
        outputs = model.train()(**features)
        outputs.loss.backward()
        assert outputs.loss.shape == () and torch.isfinite(outputs.loss)
        assert outputs.estimates.shape[:2] == (3, self.num_sources)

    def test_invalid_configs_raise_a_sentence_with_field_and_value(self):
        for values in self.invalid_configs:
            with pytest.raises(StrictDataclassError) as error:
                self.make_config(**values)
            field, value = next(iter(values.items()))
            assert field in str(error.value) and str(value).strip("[]()'") in str(error.value)

    def test_config_survives_a_round_trip(self, tmp_path):
        config = self.make_config()
        config.save_pretrained(tmp_path)
        reloaded = AutoConfig.from_pretrained(tmp_path)
        assert isinstance(reloaded, self.config_class)
        changed = {"transformers_version", "auto_map", "_name_or_path"}
        before, after = ({k: v for k, v in c.to_dict().items() if k not in changed} for c in (config, reloaded))
        assert {k: list(v) if isinstance(v, tuple) else v for k, v in before.items()} == after

    @pytest.mark.parametrize("shortage", [0, 1, 77])
    def test_odd_lengths_keep_their_length(self, model, feature_extractor, references, shortage):
        mixture = references.sum(dim=1)
        mixture = mixture[:, : mixture.shape[-1] - shortage]
        assert self.separate(model, feature_extractor, mixture).shape == (3, self.num_sources, mixture.shape[-1])

    def test_batched_equals_single_also_when_ragged(self, model, feature_extractor, references):
        mixtures = [mixture[: len(mixture) - 99 * index] for index, mixture in enumerate(references.sum(dim=1))]
        batched = self.separate(model, feature_extractor, mixtures)
        for mixture, estimates in zip(mixtures, batched, strict=True):
            single = self.separate(model, feature_extractor, [mixture])[0]
            # other batch sizes sum in another order
            torch.testing.assert_close(estimates[:, : len(mixture)], single, atol=1e-5, rtol=0)

    def test_estimates_add_up_to_the_mixture_and_take_its_gain(self, model, feature_extractor, references):
        mixtures = references.sum(dim=1)
        estimates = self.separate(model, feature_extractor, mixtures)
        torch.testing.assert_close(estimates.sum(dim=1), mixtures, atol=1e-5, rtol=0)
        louder = self.separate(model, feature_extractor, 100 * mixtures)
        torch.testing.assert_close(louder / 100, estimates, atol=1e-5, rtol=0)

    def test_silence_stays_silent(self, model, feature_extractor, references):
        assert not self.separate(model, feature_extractor, torch.zeros_like(references[:, 0])).any()

    def test_a_crop_in_which_nobody_sounds_has_a_finite_loss_and_gradients(self, model, feature_extractor, references):
        """Beside a full overlap and a lone voice, as in batches of training with turns."""
        references = references.clone()
        references[1, 1:] = 0
        references[2] = 0
        rate = feature_extractor.sampling_rate
        features = feature_extractor(references.sum(dim=1), sampling_rate=rate, labels=references)
        for rows in ([0, 1, 2], [2]):
            loss = model(**{name: value[rows] for name, value in features.items()}).loss
            gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
            found = [gradient for gradient in gradients if gradient is not None]
            assert torch.isfinite(loss) and found and all(torch.isfinite(gradient).all() for gradient in found)

    def test_permuting_the_references_leaves_the_loss(self, model, feature_extractor, references):
        rate = feature_extractor.sampling_rate
        losses = [
            model(**feature_extractor(references.sum(dim=1), sampling_rate=rate, labels=labels)).loss
            for labels in (references, references.flip(1))
        ]
        torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=0)

    def test_save_and_load_is_exact(self, model, features, tmp_path):
        model.save_pretrained(tmp_path)
        for loader in (self.model_class, AutoModel):
            reloaded = loader.from_pretrained(tmp_path).eval()
            assert isinstance(reloaded, self.model_class)
            assert torch.equal(reloaded(**features).estimates, model(**features).estimates)

    def test_feature_extractor_survives_a_round_trip(self, model, feature_extractor, references, tmp_path):
        model.save_pretrained(tmp_path)
        feature_extractor.save_pretrained(tmp_path)
        reloaded = AutoFeatureExtractor.from_pretrained(tmp_path)
        expected = self.separate(model, feature_extractor, references.sum(dim=1))
        assert torch.equal(self.separate(model, reloaded, references.sum(dim=1)), expected)

    def test_auto_processor_is_the_feature_extractor(self, model, feature_extractor, tmp_path, monkeypatch):
        model.save_pretrained(tmp_path)
        feature_extractor.save_pretrained(tmp_path)
        monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail(prompt))
        assert type(AutoProcessor.from_pretrained(tmp_path)) is type(feature_extractor)

    def test_remote_code_is_exact_where_the_package_is_not_installed(
        self, model, feature_extractor, references, tmp_path, bare_processes
    ):
        repository, case, result = tmp_path / "repository", tmp_path / "case.pt", tmp_path / "result.pt"
        model.save_pretrained(repository)
        feature_extractor.save_pretrained(repository)
        mixtures = references.sum(dim=1)
        torch.save({"audio": mixtures}, case)
        bare_processes.run(LOAD_WITHOUT_PACKAGE, repository, case, result)
        # another process may sum with another number of threads
        expected = self.separate(model, feature_extractor, mixtures)
        torch.testing.assert_close(torch.load(result), expected, atol=1e-6, rtol=0)

    def test_files_that_travel_import_only_what_transformers_users_have(self, model, feature_extractor, tmp_path):
        model.save_pretrained(tmp_path)
        feature_extractor.save_pretrained(tmp_path)
        files = sorted(tmp_path.glob("*.py"))
        assert files
        allowed = {"torch", "numpy", "transformers", "huggingface_hub"}
        imported = {name for file in files for name in get_imports(file)} - set(sys.stdlib_module_names)
        assert imported <= allowed

    def test_bfloat16_stays_close(self, model, features, tmp_path):
        model.save_pretrained(tmp_path)
        half = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
        expected = model(**features).estimates
        # bfloat16 keeps 8 bits, and errors add up over the layers
        scale = expected.abs().max()
        torch.testing.assert_close(
            half(**features).estimates.float() / scale, expected / scale, atol=self.bfloat16_tolerance, rtol=0
        )

    def test_autocast_gives_a_finite_loss_and_gradients(self, model, features):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model.train()(**features).loss
        loss.backward()
        assert loss.dtype == torch.float32
        assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_the_default_dtype_of_torch_changes_nothing(self, model, feature_extractor, references, dtype):
        expected = self.separate(model, feature_extractor, references.sum(dim=1))
        torch.set_default_dtype(dtype)
        try:
            estimates = self.separate(model, feature_extractor, references.sum(dim=1))
        finally:
            torch.set_default_dtype(torch.float32)
        assert torch.equal(estimates, expected)

    def test_tuples_replace_outputs_where_the_configuration_says_so(self, model, features):
        expected = model(**features).to_tuple()
        model.config.return_dict = False
        outputs = model(**features)
        assert isinstance(outputs, tuple) and len(outputs) == len(expected)
        assert all(torch.equal(*pair) for pair in zip(outputs, expected, strict=True))

    def test_a_pickled_model_gives_the_same(self, model, features):
        twin = pickle.loads(pickle.dumps(model))
        assert torch.equal(twin(**features).estimates, model(**features).estimates)

    def test_shards_of_which_some_stay_on_the_disk_give_the_same(self, model, features, tmp_path):
        model.save_pretrained(tmp_path / "model", max_shard_size="4KB")
        assert len([*(tmp_path / "model").glob("*.safetensors")]) > 1
        memory = {"max_memory": {"cpu": "8KB"}, "offload_folder": tmp_path / "offload"}
        loaded = AutoModel.from_pretrained(tmp_path / "model", device_map="auto", **memory).eval()
        assert "disk" in loaded.hf_device_map.values()
        with torch.no_grad():
            assert torch.equal(loaded(**features).estimates, model(**features).estimates)

    def test_gradients_can_begin_behind_the_encoder_of_a_frozen_model(self, model, features):
        model.requires_grad_(False)
        assert not model(**features).loss.requires_grad
        model.enable_input_require_grads()
        assert model(**features).loss.requires_grad

    @pytest.mark.slow
    def test_adapters_train_behind_checkpointed_layers_and_can_be_merged(self, model, features):
        peft = pytest.importorskip("peft")
        adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules="all-linear"))
        adapted.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": True})
        optimizer = torch.optim.Adam((p for p in adapted.parameters() if p.requires_grad), lr=1e-2)
        before = adapted.eval()(**features).estimates
        # the second half of an adapter starts at zero, and lets no gradient through to the first
        for _ in range(2):
            optimizer.zero_grad()
            adapted.train()(**features).loss.backward()
            optimizer.step()
        assert all(
            p.grad.any() for name, p in adapted.named_parameters() if p.requires_grad and not self.is_idle(name)
        )
        expected = adapted.eval()(**features).estimates
        assert not torch.equal(expected, before)
        torch.testing.assert_close(adapted.merge_and_unload()(**features).estimates, expected, atol=1e-4, rtol=0)

    def test_every_parameter_gets_a_gradient(self, model, features):
        model.train()(**features).loss.backward()
        norms = {name: 0.0 if p.grad is None else p.grad.norm().item() for name, p in model.named_parameters()}
        # rounding alone gives the gradients that cancel about 1e-8 of the others
        dead = [name for name, norm in norms.items() if norm < 1e-6 * max(norms.values())]
        assert [name for name in dead if not self.is_idle(name)] == []

    def test_a_replica_for_another_gpu_gives_the_same(self, model, features):
        with torch.no_grad():
            torch.testing.assert_close(replicate(model)(**features).loss, model(**features).loss, atol=0, rtol=0)

    def test_weights_that_are_brought_when_a_module_is_called_give_the_same(self, model, features):
        with torch.no_grad():
            expected = model(**features).estimates
            estimates = cpu_offload(copy.deepcopy(model), torch.device("cpu"))(**features).estimates
        torch.testing.assert_close(estimates, expected, atol=0, rtol=0)

    def test_trainer_predicts_the_estimates_alone(self, model, features, tmp_path):
        rows = [{key: value[index] for key, value in features.items()} for index in range(len(features["labels"]))]
        arguments = TrainingArguments(
            str(tmp_path), per_device_eval_batch_size=2, use_cpu=True, report_to=[], disable_tqdm=True
        )
        prediction = Trainer(model, arguments).predict(rows)
        with torch.no_grad():
            expected = model(**features)
        torch.testing.assert_close(torch.from_numpy(prediction.predictions), expected.estimates, atol=1e-4, rtol=1e-4)
        assert prediction.metrics["test_loss"] == pytest.approx(expected.loss.item(), rel=1e-3)

    def test_trainer_accumulates_gradients_to_those_of_the_whole_batch(self, model, features, tmp_path):
        batch = len(next(iter(features.values())))
        rows = [{key: value[index] for key, value in features.items()} for index in range(batch)]
        logs = []
        for split in (1, batch):
            arguments = TrainingArguments(
                str(tmp_path),
                max_steps=1,
                per_device_train_batch_size=batch // split,
                gradient_accumulation_steps=split,
                use_cpu=True,
                report_to=[],
                disable_tqdm=True,
                logging_steps=1,
                save_strategy="no",
            )
            trainer = Trainer(copy.deepcopy(model), arguments, train_dataset=rows)
            trainer.train()
            logs.append(trainer.state.log_history[0])
        for key in ("loss", "grad_norm"):
            # the dropout is another one
            assert logs[1][key] == pytest.approx(logs[0][key], rel=0.1), key

    def test_hidden_states_are_recorded(self, model, features):
        outputs = model(**features, output_hidden_states=True)
        assert len(outputs.hidden_states) > 1
        assert all(torch.isfinite(state).all() for state in outputs.hidden_states)

    def test_gradient_checkpointing_gives_equal_gradients(self, model, features):
        gradients = []
        for checkpointing in (False, True):
            twin = copy.deepcopy(model).train()
            if checkpointing:
                # transformers 5.17 knows only the old name
                enable = getattr(twin, "activation_checkpointing_enable", None) or twin.gradient_checkpointing_enable
                enable()
                assert any(getattr(module, "gradient_checkpointing", False) for module in twin.modules())
            # the same dropout in both
            torch.manual_seed(0)
            twin(**features).loss.backward()
            gradients.append([parameter.grad for parameter in twin.parameters()])
        for plain, checkpointed in zip(*gradients, strict=True):
            torch.testing.assert_close(checkpointed, plain, atol=1e-6, rtol=1e-5)

    @pytest.mark.slow
    def test_compiled_gives_the_eager_result(self, model, features):
        # the limit of recompilations counts the models of earlier tests of the process too
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True)
        # by default, Dynamo leaves LSTMs out of its graphs
        with torch.no_grad(), torch._dynamo.config.patch(allow_rnn=True):
            outputs = compiled(**features)
            expected = model(**features)
        torch.testing.assert_close(outputs.estimates, expected.estimates, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(outputs.loss, expected.loss, atol=1e-4, rtol=1e-4)

    def test_exported_gives_the_eager_result(self, model, features):
        inputs = {model.main_input_name: features[model.main_input_name]}
        exported = torch.export.export(model, (), inputs, strict=False)
        estimates = exported.module()(**inputs)["estimates"]
        torch.testing.assert_close(estimates, model(**features).estimates, atol=1e-5, rtol=0)
