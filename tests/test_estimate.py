"""`camelid estimate`: known sizes, devices that are not here, what fits, and what is said to be unknown."""

import json
import math

import pytest

pytest.importorskip("transformers")

from camelid.cli import main
from camelid.costs import Cost, Drawing
from camelid.models.devices import DEVICES, READING, Device, find_device
from camelid.models.loading import SIZES, resolve_model, sizes_only
from camelid.models.memory import Training
from camelid.models.model_settings import ModelSettings
from camelid.models.shape import Shape

SEVEN = Shape.read(SIZES / "llama-2-7b")
FULL = ModelSettings(lora_rank=0)


def answer(capsys, *words):
    assert main(["estimate", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# --- sizes of models that are not here ---


@pytest.mark.parametrize(
    ("name", "published", "norms"),
    [
        # Parameters as transformers counts them; 2 norms a layer and one at the end, each as wide as the model.
        ("llama-2-7b", 6_738_415_616, 65 * 4096),
        ("llama-2-13b", 13_015_864_320, 81 * 5120),
        ("llama-2-70b", 68_976_648_192, 161 * 8192),
        ("llama-3.1-8b", 8_030_261_248, 65 * 4096),
        ("llama-3.2-1b", 1_235_814_400, 33 * 2048),
        ("mistral-7b", 7_241_732_096, 65 * 4096),
        ("smollm2-135m", 134_515_008, 61 * 576),
    ],
)
def test_well_known_models_have_their_published_size(name, published, norms):
    assert Shape.read(SIZES / name).parameters == published - norms


def test_an_estimate_needs_a_config_and_nothing_else(tmp_path):
    (tmp_path / "config.json").write_text((SIZES / "llama-2-7b" / "config.json").read_text())
    with pytest.raises(ValueError, match=r"no \.safetensors file"):
        resolve_model(str(tmp_path))
    with sizes_only():
        assert resolve_model(str(tmp_path)) == resolve_model(str(tmp_path / "config.json")) == tmp_path
        assert Shape.read(resolve_model("LLaMA-2-7B")) == SEVEN
        with pytest.raises(ValueError, match=r"size of 'nosuch' is not known: .* llama-2-70b"):
            resolve_model("nosuch")


def test_a_mixture_of_experts_is_not_counted_as_if_it_were_none(tmp_path):
    config = json.loads((SIZES / "mistral-7b" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_local_experts": 8}))
    with pytest.raises(ValueError, match="mixture of experts"):
        Shape.read(tmp_path)


# --- memory ---


def test_full_weights_of_seven_billion_do_not_fit_eighty_gigabytes():
    cost = Cost(DEVICES["h100"])
    cost.load_for_training(SEVEN, FULL)
    # Weights, gradients and two moments in float32: 16 bytes each of 6.738e9; all but the embedding in bfloat16 too.
    numbers = 6_738_415_616 - 65 * 4096
    assert cost.held_bytes == 16 * numbers + 2 * (numbers - 32_000 * 4096)
    cost.train(SEVEN, FULL, 1e6, with_head=5e5)
    assert cost.memory_bytes > 108e9
    assert cost.recomputed == {"layers": 32, "of": 32}  # all that can be done, and not enough


def test_layers_are_computed_again_only_where_the_memory_asks_for_it():
    def recomputed(gigabytes, **settings):
        model = ModelSettings(lora_rank=16, micro_batch_tokens=8192, **settings)
        cost = Cost(Device("one", False, 2, gigabytes * 1e9, 1e15, 1e12, 0.4))
        cost.load_for_training(SEVEN, model)
        cost.train(SEVEN, model, 1e6, with_head=5e5)
        return cost.recomputed["layers"], cost.memory_bytes, cost.operations["adapters"]

    most, few, none = recomputed(24), recomputed(40), recomputed(200)
    assert most[0] > few[0] > none[0] == 0
    assert most[1] < 24e9 and few[1] < 40e9 < none[1]
    assert most[2] > few[2] > none[2]  # computing twice takes longer
    assert recomputed(200, checkpointing="always")[0] == 32
    assert recomputed(24, checkpointing="never") == none[:1] + recomputed(200)[1:]


def test_memory_of_a_step_by_hand():
    """Hidden 4, MLP 8, 2 heads and 1 key head of width 2; 3 layers; full weights in float32 on a CPU."""
    shape = Shape(4, 8, 3, 2, 1, 2, 10, False, 4)
    training = Training.of(shape, FULL, 4)
    # Norms 2 x (4 + 1), inputs of linear maps 2 x 4, attention 2 x 4 + 2 x 2 + weights 2 x 32 (10 keys fill a
    # line of 32), MLP 2 x 8: 110 numbers.
    assert training.layer_bytes(10) == 110 * 4
    assert training.input_bytes == 4 * 4
    # Products in bfloat16: norms as before, the rest in two bytes; weights are copied.
    mixed = Training.of(shape, FULL, 2)
    assert mixed.layer_bytes(10) == 10 * 4 + (8 + 76 + 16) * 2
    # A layer: q and o 4 x 4, k and v 4 x 2, MLP 3 x 4 x 8. The head: 10 x 4.
    assert mixed.copied_bytes == 2 * (432 + 40)
    assert training.copied_bytes == 0


# --- time ---


def test_time_on_a_device_that_is_not_here():
    device = Device("one", False, 2, 80e9, 1e15, 1e12, 0.5)
    cost = Cost(device)
    cost.train(SEVEN, ModelSettings(checkpointing="never"), 1000)
    # Forward and backward through the activations: 4 operations a weight of the trunk and token, at half the peak.
    assert cost.total_seconds == pytest.approx(4 * 1000 * SEVEN.trunk_parameters / 0.5e15)
    sampled = Cost(device)
    sampled.sample(SEVEN, Drawing(10, 8), 8, 100)
    # Ten steps read the weights (trunk and head) once each, and each of 8 rows its cache of 105 tokens on average.
    cache = 8 * 10 * 105 * 2 * 32 * 2 * 4096
    read = 10 * 2 * (SEVEN.trunk_parameters + SEVEN.head_parameters) + cache
    assert sampled.read_bytes == read
    prefill = 2 * (800 * SEVEN.trunk_parameters + 8 * SEVEN.head_parameters) / 0.5e15
    assert sampled.total_seconds == pytest.approx(read / (READING * 1e12) + prefill)


def test_what_is_not_known_is_not_a_number():
    no_speed, no_bandwidth = find_device("memory=80GB"), find_device("memory=80GB,tflops=990")
    trained = Cost(no_speed)
    trained.train(SEVEN, ModelSettings(), 1000)
    assert math.isnan(trained.total_seconds) and trained.memory_bytes > 0
    sampled = Cost(no_bandwidth)
    sampled.sample(SEVEN, Drawing(10, 8), 8, 100)
    assert math.isnan(sampled.total_seconds)
    in_float32 = Cost(DEVICES["h100"].in_precision("float32"))
    in_float32.train(SEVEN, ModelSettings(), 1000)
    assert math.isnan(in_float32.total_seconds)  # the table has bfloat16 alone
    unknown = Cost(no_bandwidth)
    unknown.sample(SEVEN, Drawing(10, 8), math.nan, math.nan)
    assert math.isnan(unknown.memory_bytes)


# --- devices ---


def test_devices_by_name_and_by_description():
    assert find_device("H100").memory_bytes == 80e9
    assert find_device("h100", 0.55).utilisation == 0.55
    own = find_device("memory=24GB, tflops=165, bandwidth=1.0TB/s")
    assert (own.memory_bytes, own.operations_per_second, own.bytes_per_second) == (24e9, 165e12, 1e12)
    assert all(device.source for device in DEVICES.values())


@pytest.mark.parametrize(
    ("text", "utilisation", "reason"),
    [
        ("h1000", None, "no device 'h1000'; there are: here, h200, h100"),
        ("memory=lots", None, "'lots' is no amount"),
        ("memory=0GB", None, "is no amount"),
        ("memory=80GB,cores=5", None, "no 'cores'"),
        ("h100", 40.0, "utilisation of 40"),
    ],
)
def test_a_device_that_makes_no_sense(text, utilisation, reason):
    with pytest.raises(ValueError, match=reason):
        find_device(text, utilisation)


# --- the command ---


def test_a_stage_without_its_files_tells_memory_and_no_time(capsys):
    words = ["sft", "--model", "llama-2-7b", "--device", "h100", "--set", "model.lora_rank=0"]
    plan = answer(capsys, *words)
    [stage] = plan["stages"]
    assert stage["seconds"] is None and stage["trained_tokens"] is None
    assert stage["memory_bytes"] > 108e9 and stage["fits"] is False
    fitting = {way["lora_rank"] for way in plan["ways"] if way["fits"]}
    assert fitting == {16}
    assert main(["estimate", *words]) == 0
    text = capsys.readouterr().out
    assert "does not fit: it needs" in text and "rows that were not given" in text and "40% of the peak" in text


def test_rows_can_be_said_in_place_of_a_file(capsys):
    words = ["sft", "--model", "llama-2-7b", "--device", "h100", "--rows", "1000", "--set", "epochs=2"]
    [stage] = answer(capsys, *words, "--prompt-tokens", "100", "--answer-tokens", "300")["stages"]
    assert stage["trained_tokens"] == 2 * 1000 * 400
    assert stage["seconds"] > 0 and stage["fits"] is True
    [half] = answer(capsys, *words, "--prompt-tokens", "100")["stages"]
    assert half["seconds"] is None  # the answers' length is still not known


def test_every_training_stage_can_be_asked_for(capsys):
    common = ["--model", "llama-2-7b", "--device", "h200", "--rows", "100", "--prompt-tokens", "50"]
    for stage in ("sft", "reward", "distill", "ppo", "best"):
        reward = ["--reward_model", "llama-2-7b"] if stage in ("ppo", "best") else []
        [line] = answer(capsys, stage, *common, *reward, "--answer-tokens", "100")["stages"]
        assert line["seconds"] > 0 and line["memory_bytes"] > 13e9, stage


def test_a_recipe_on_another_device(capsys):
    plan = answer(capsys, "quickstart", "--device", "l4", "--set", "start_model=llama-3.2-1b", "--set", "rounds=1")
    assert {line["state"] for line in plan["stages"]} == {"to do"}
    assert plan["total"]["memory_bytes"] == max(line["memory_bytes"] for line in plan["stages"]) > 2.4e9
    assert plan["speeds"] == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nosuch"], "no recipe 'nosuch'"),
        (["sft", "--model", "nosuch", "--device", "h100"], "size of 'nosuch' is not known"),
        (["sft", "--device", "h100"], "stage 'sft' has no input 'model'"),
        (["sft", "--model", "llama-2-7b", "--demonstrations", "nosuch.jsonl", "--device", "h100"], "no such file"),
        (["sft", "--model", "llama-2-7b", "--utilisation", "0.4"], "this machine is measured"),
        (["sft", "--model", "llama-2-7b", "--set", "nosuch=1", "--device", "h100"], "no setting 'nosuch'"),
        (["quickstart", "--model", "llama-2-7b", "--device", "h100"], "a recipe names its inputs itself"),
    ],
)
def test_wrong_words_are_one_line(capsys, words, reason):
    assert main(["estimate", *words]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert reason in lines[-1]
