"""The plan of a run: sizes against real models, costs against hand-computed ones, and what it says beforehand."""

import copy
import importlib
import json
from dataclasses import replace

import pytest

from camelid.collect.self_chat import SelfChatSettings, self_chat
from camelid.collect.stage import ImportSettings, import_data
from camelid.cost_figures import CHECKPOINT_BYTES_A_SECOND, MODEL_SECONDS
from camelid.costs import Cost, Drawing
from camelid.estimates import TABLE
from camelid.expected import Rows
from camelid.models.devices import DEVICES, STAYS_BYTES, Device
from camelid.models.shape import Shape
from camelid.models.teacher import TeacherSettings
from camelid.plan import make_plan, print_plan
from camelid.runs import Output, Settings, Stage, execute, finished_stages
from camelid.table import shown_count, shown_seconds
from camelid.types import Conversation, Message, Preference, Prompt, write_records
from even_rates import even_rates

SMOLLM2 = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
    "dtype": "float32",
}
TINY = Shape(
    hidden=4, intermediate=8, layers=2, heads=2, kv_heads=1, head_width=2, vocabulary=10, has_head=False, file_bytes=4
)
"""A layer: queries and output 4 x 4, keys and values 4 x 2, MLP three times 4 x 8: 144 weights. Trunk 288, head 40."""


CPU = Device("here", True, number_bytes=2, memory_bytes=None, operations_per_second=1e12)


def model_folder(path, **changes):
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(SMOLLM2 | changes))
    (path / "model.safetensors").touch()
    return path


def speed(operations_per_second=1e12):
    """A probe that measures nothing."""
    measured = pytest.importorskip("camelid.models.probe").Speed
    rates = even_rates(operations_per_second)
    return lambda shape, precision: measured(operations_per_second, 2, "bfloat16", "cpu", rates=rates)


def question(text):
    return (Message(role="user", content=text),)


# --- sizes ---


def test_the_size_of_smollm2(tmp_path):
    shape = Shape.read(model_folder(tmp_path))
    # 134,515,008 by transformers, of which 61 norms of 576 are not counted.
    assert shape.parameters == 134_515_008 - 61 * 576
    # Rank 16 on 30 layers: 16 x (in + out) of q 1152, k and v 768, o 1152, gate and up and down 2112 = 10,176 a rank.
    assert shape.lora_parameters(16, 0) == 30 * 16 * 10_176
    assert shape.lora_parameters(16, 15) == 15 * 16 * 10_176
    assert shape.cached_numbers == 30 * 2 * 3 * 64


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_sizes_are_those_of_a_real_model(tmp_path, tied, kv_heads):
    transformers = pytest.importorskip("transformers")
    from camelid.models.lora_targets import add_lora

    config = transformers.LlamaConfig(
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        vocab_size=50,
        tie_word_embeddings=tied,
    )
    model = transformers.LlamaForCausalLM(config)
    config.save_pretrained(tmp_path)
    shape = Shape.read(tmp_path)
    assert shape.parameters == sum(p.numel() for p in model.parameters() if p.ndim == 2)
    reward = transformers.LlamaForSequenceClassification(config)
    trunk = [p for name, p in reward.named_parameters() if p.ndim == 2 and not name.startswith("score")]
    assert shape.as_reward_model(None).parameters == sum(p.numel() for p in trunk)
    counts = {}
    for targets in ("attention", "mlp", "q_proj, down_proj", "all"):
        adapted = copy.deepcopy(model)
        add_lora(adapted.model.layers, rank=4, alpha=8, first_layer=1, seed=0, targets=targets)
        counts[targets] = sum(p.numel() for name, p in adapted.named_parameters() if ".adapters." in name)
        assert shape.lora_parameters(4, 1, targets) == counts[targets]
    assert counts["all"] == counts["attention"] + counts["mlp"] == shape.lora_parameters(4, 1)


def test_a_config_without_sizes_is_an_error_that_names_the_missing_one(tmp_path):
    (tmp_path / "config.json").write_text('{"hidden_size": 4, "num_attention_heads": 2}')
    with pytest.raises(ValueError, match="no 'intermediate_size'"):
        Shape.read(tmp_path)


# --- costs ---


def test_scoring():
    cost = Cost(CPU)
    cost.score(TINY, 100, with_head=10)
    # 2 x (100 tokens x 288 weights + 10 tokens x 40 weights) = 58,400
    assert cost.operations == {"scoring": 57_600, "scoring head": 800}
    assert (cost.scored_tokens, cost.trained_tokens, cost.sampled_tokens) == (100, 0, 0)


@pytest.mark.parametrize(
    ("rank", "first_layer", "trunk"),
    [
        (16, 0, 4 * 288),  # forward, and backward through all layers to the adapters
        (16, 1, 3 * 288),  # backward through one layer of two
        (0, 0, 6 * 288),  # gradients of the weights on top of those of the activations
    ],
)
def test_training(rank, first_layer, trunk):
    trunk_settings = pytest.importorskip("camelid.models.model_settings").ModelSettings
    cost = Cost(CPU)
    cost.train(TINY, trunk_settings(lora_rank=rank, lora_first_layer=first_layer), 100, with_head=10)
    # The head: logits forward, again in the backward pass, and the gradient of the hidden state, 2 x 40 each.
    kind = "adapters" if rank else "full"
    assert cost.operations == {kind: 100 * trunk, f"{kind} head": 10 * 6 * 40}
    assert cost.trained_tokens == 100


def test_optimizer_steps_are_counted_where_their_size_is_known():
    full = pytest.importorskip("camelid.models.model_settings").ModelSettings(lora_rank=0)
    cost = Cost(CPU)
    cost.train(TINY, full, 100, step_tokens=25)
    assert cost.updated == 4 * 328  # four steps, each over 288 numbers of the trunk and 40 of the head
    rates = even_rates(1e12)._replace(update=1e-3)
    timed = Cost(replace(CPU, rates=rates), operations=cost.operations, updated=cost.updated)
    assert timed.total_seconds == pytest.approx(1.312 + 100 * 6 * 288 / 1e12)


def test_checkpoints_take_their_time():
    full = pytest.importorskip("camelid.models.model_settings").ModelSettings(lora_rank=0)

    def seconds(**more):
        cost = Cost(replace(CPU, rates=even_rates(1e12)))
        cost.train(TINY, full, 1000, step_tokens=100, **more)
        return cost.total_seconds

    # Ten steps, of which every fourth leaves 328 numbers with two moments, 12 bytes each.
    assert seconds(checkpoint_every=4) - seconds() == pytest.approx(2 * 328 * 12 / CHECKPOINT_BYTES_A_SECOND)


def test_passes_are_counted_by_the_steps_that_they_are_of():
    model = pytest.importorskip("camelid.models.model_settings").ModelSettings(micro_batch_tokens=100)
    rates = even_rates(1e12)._replace(passes={"adapters": 1e-3, "adapters head": 1e-2, "scoring": 1e-1})

    def seconds(**more):
        cost = Cost(replace(CPU, rates=rates))
        cost.train(TINY, model, 1000, **more)
        return cost.total_seconds

    arithmetic = 1000 * 4 * 288 / 1e12
    assert seconds() == pytest.approx(10 * 288e-3 + arithmetic)  # 1,000 tokens, 100 a pass
    # Steps of 250 tokens are of three passes; the head's 40 numbers are read in each of all twelve.
    assert seconds(step_tokens=250) == pytest.approx(12 * 288e-3 + arithmetic)
    assert seconds(step_tokens=250, with_head=1e-9) == pytest.approx(12 * (288e-3 + 40e-2) + arithmetic)
    scored = Cost(replace(CPU, rates=rates))
    scored.score(TINY, 1000, at_once=500)
    assert scored.total_seconds == pytest.approx(2 * 28.8 + 2000 * 288 / 1e12)


def test_sampling_pays_a_step_once_a_batch():
    sampling = pytest.importorskip("camelid.models.sampling").Sampling
    rates = even_rates(1e6, fixed_rows=32)

    def decoding(**more):
        cost = Cost(replace(CPU, rates=rates))
        cost.sample(TINY, sampling(max_new_tokens=5, batch_rows=40), 20, 7, **more)
        prefill = Cost(replace(CPU, rates=rates))
        prefill.score(TINY, 20 * 7, with_head=cost.sampled_tokens / 5)
        return cost.sampled_tokens, (cost.total_seconds - prefill.total_seconds) * 1e6

    # 5 steps of 2 x (288 + 40) operations a row, and of 32 rows' besides
    assert decoding() == (100, pytest.approx((20 + 32) * 5 * 656))
    assert decoding(calls=4) == (100, pytest.approx((20 + 4 * 32) * 5 * 656))
    # 60 rows at most 40 at a time, though all were asked for in one call
    assert decoding(copies=3) == (300, pytest.approx((60 + 1.5 * 32) * 5 * 656))


def test_memory_is_the_peak_of_what_is_held_at_one_time():
    one = Cost(CPU)
    one.load(TINY)
    two = Cost(CPU)
    two.load(TINY)
    two.unload()
    two.load(TINY)
    both = Cost(CPU)
    both.load(TINY)
    both.load(TINY)
    assert two.memory_bytes == one.memory_bytes
    assert both.memory_bytes == one.memory_bytes + 328 * 2  # 288 of the trunk and 40 of the embedding, 2 bytes each
    assert both.seconds == 2 * MODEL_SECONDS
    assert Cost(CPU).memory_bytes == 0


def test_the_sampler_holds_a_prompt_once_for_all_its_rows():
    """20 tokens more in each prompt, 2 bytes a number: of 20 rows four have one in common."""

    def memory(length, copies):
        cost = Cost(CPU)
        cost.sample(TINY, Drawing(5, 40), 20 / copies, length, copies=copies)
        return cost.memory_bytes

    for copies in (1, 4):
        more = 20 / copies * 20 * TINY.cached_numbers * 2 * CPU.slack
        assert memory(27, copies) - memory(7, copies) == pytest.approx(more)


# --- rows ---


def test_rows_are_counted_by_bytes_and_turns():
    conversation = Conversation(
        messages=(*question("x" * 40), Message(role="assistant", content="y" * 80)), source="a", licence="MIT"
    )
    # 40 / 4 + 5 tokens before the answer, 80 / 4 + 5 in it
    assert Rows.of([conversation]) == (1, 15, 25, 1)
    pair = Preference(prompt=question("x" * 40), chosen="y" * 80, rejected="z" * 40)
    assert Rows.of([pair, pair]) == (2, 15, 20, 2)  # the mean of answers of 25 and 15
    assert Rows.of([Prompt(prompt=question("é" * 20))]) == (1, 15, 0, 0)  # bytes, not letters
    two = [Prompt(prompt=question("x" * length)) for length in (40, 120)]
    assert Rows.of(two) == (2, 25, 0, 0)  # means


def test_files_are_joined_by_their_weights():
    assert Rows.join([Rows(1, 10, 40, 2), Rows(3, 30, 0, 6)]) == (4, 25, 10, 5)
    assert Rows.join([]) == (0, 0, 0, 0)


# --- plans ---


def prompts_file(path, number=10):
    write_records(path, [Prompt(prompt=question(f"{i:040}")) for i in range(number)])
    return path


def forget(run):
    (run.path / "rows.jsonl").write_text("")
    return {}


def by_name(lines):
    return {line.stage.name: line for line in lines}


def best_plan(folder, *names):
    from camelid.models.sampling import Sampling
    from camelid.train.rejection import BestSettings, sample_best

    model = model_folder(folder / "model")
    inputs = {"model": model, "reward_model": model, "prompts": prompts_file(folder / "prompts.jsonl")}
    settings = BestSettings(sampling=Sampling(max_new_tokens=4))
    return [Stage(name, sample_best, settings, inputs) for name in names or ("one",)]


def test_a_stage_after_another_finds_what_that_left_in_the_process(tmp_path):
    pytest.importorskip("transformers")
    plan = best_plan(tmp_path, "one", "two", "three")
    memory = [line.cost.memory_bytes for line in make_plan(plan, tmp_path / "run", speed())[0]]
    assert memory == [memory[0], memory[0] + STAYS_BYTES, memory[0] + STAYS_BYTES]  # once: what stays is bounded
    elsewhere, _ = make_plan(plan, tmp_path / "run", speed(), device=DEVICES["h100"])
    assert len({line.cost.memory_bytes for line in elsewhere}) == 1  # measured here, not there


def test_every_kind_of_the_table_is_a_stage_that_exists():
    pytest.importorskip("transformers")
    for name in TABLE:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(module), function))


def test_every_stage_of_a_recipe_can_be_estimated_before_it_has_run(tmp_path):
    pytest.importorskip("transformers")
    from camelid.recipes.quickstart import Quickstart, stages

    plan = stages(Quickstart(start_model=str(model_folder(tmp_path / "model")), rounds=2))
    lines, _ = make_plan(plan, tmp_path / "run", speed())
    costs = {line.stage.name: line.cost for line in lines}
    assert {line.state for line in lines} == {"to do"}
    trains = [name for name, cost in costs.items() if cost.trained_tokens]
    samples = [name for name, cost in costs.items() if cost.sampled_tokens]
    rounds = ("round-1", "round-2")
    assert trains == ["judge", "annotator", "sft", *(f"{r}/{s}" for r in rounds for s in ("reward", "reject", "ppo"))]
    steps = ("pairs", "best", "evaluate-reject", "ppo", "evaluate-ppo")
    assert samples == ["evaluate-start", "evaluate-sft", *(f"{r}/{s}" for r in rounds for s in steps)]
    # The second round's reward model sees the verdicts of both rounds, its best of K those of both.
    for stage in ("reward", "reject"):
        assert costs[f"round-2/{stage}"].trained_tokens > costs[f"round-1/{stage}"].trained_tokens
    assert all(line.cost.memory_bytes > 2 * 134e6 for line in lines if line.cost.operations)
    assert not (tmp_path / "run").exists()


def test_best_of_k_leaves_at_most_a_row_a_prompt_for_fine_tuning(tmp_path):
    pytest.importorskip("transformers")
    from camelid.models.sampling import Sampling
    from camelid.train.rejection import BestSettings, sample_best
    from camelid.train.sft import SftSettings, train_sft

    model = model_folder(tmp_path / "model")
    settings = BestSettings(num_samples=8, max_prompts=6, sampling=Sampling(max_new_tokens=32))
    inputs = {"model": model, "reward_model": model, "prompts": prompts_file(tmp_path / "prompts.jsonl")}
    plan = [
        Stage("best", sample_best, settings, inputs),
        Stage(
            "sft", train_sft, SftSettings(epochs=2), {"model": model, "demonstrations": Output("best", "best.jsonl")}
        ),
    ]
    best, sft = make_plan(plan, tmp_path / "run", speed())[0]
    assert best.cost.sampled_tokens == 6 * 8 * 32
    assert best.cost.scored_tokens == 6 * 8 * (15 + 32)  # a prompt is 40 bytes: 10 tokens, and 5 of its turn
    assert sft.cost.trained_tokens == 2 * 6 * (15 + 32)


def test_ppo_asks_no_more_prompts_an_iteration_than_there_are(tmp_path):
    pytest.importorskip("transformers")
    from camelid.models.sampling import Sampling
    from camelid.train.ppo import PpoSettings, train_ppo

    model = model_folder(tmp_path / "model")
    inputs = {"model": model, "reward_model": model, "prompts": prompts_file(tmp_path / "prompts.jsonl")}

    def cost(**settings):
        s = PpoSettings(num_iterations=3, sampling=Sampling(max_new_tokens=20), **settings)
        return make_plan([Stage("ppo", train_ppo, s, inputs)], tmp_path / "run", speed())[0][0].cost

    assert cost(batch_size=4).sampled_tokens == 3 * 4 * 20
    assert cost(batch_size=64).sampled_tokens == 3 * 10 * 20
    assert cost(batch_size=4, ppo_epochs=2).trained_tokens == 2 * 3 * 4 * 35
    # Without adapters every weight has a gradient and moments, and the reference is a model of its own.
    full = cost(batch_size=4, model={"lora_rank": 0})
    assert full.memory_bytes - cost(batch_size=4).memory_bytes > 134e6 * 14


def test_arithmetic_takes_half_the_time_at_twice_the_speed(tmp_path):
    pytest.importorskip("transformers")
    from camelid.train.sft import SftSettings, train_sft

    demonstrations = tmp_path / "a.jsonl"
    messages = (*question("x"), Message(role="assistant", content="y" * 400))
    write_records(demonstrations, [Conversation(messages=messages)])
    inputs = {"model": model_folder(tmp_path / "model"), "demonstrations": demonstrations}
    plan = [Stage("sft", train_sft, SftSettings(), inputs)]
    slow, fast = (make_plan(plan, tmp_path / "run", speed(s))[0][0] for s in (1e10, 2e10))
    fixed = slow.cost.seconds
    assert slow.seconds - fixed == pytest.approx(2 * (fast.seconds - fixed))


def test_what_is_done_costs_nothing_and_its_files_are_counted(tmp_path):
    prompts = prompts_file(tmp_path / "prompts.jsonl", number=10)
    imported = Stage("rows", import_data, ImportSettings(kind="prompts"), {"data": [prompts]})
    again = Stage("again", import_data, ImportSettings(kind="prompts"), {"data": Output("rows", "rows.jsonl")})
    root = tmp_path / "run"
    assert finished_stages([imported, again], root) == {}
    done = execute([imported], root)
    assert finished_stages([imported, again], root) == done
    lines = by_name(make_plan([imported, again], root, speed())[0])
    assert (lines["rows"].state, lines["rows"].seconds, lines["again"].state) == ("done", 0, "to do")
    # A changed setting is another stage.
    changed = Stage("rows", import_data, ImportSettings(kind="prompts", max_rows=3), {"data": [prompts]})
    assert finished_stages([changed, again], root) == {}


def test_the_rows_of_a_finished_stage_are_read_and_not_guessed(tmp_path):
    pytest.importorskip("transformers")
    from camelid.models.sampling import Sampling
    from camelid.train.rejection import BestSettings, sample_best

    prompts = prompts_file(tmp_path / "prompts.jsonl", number=10)
    prompts.write_text(prompts.read_text() + '{"prompt": []}\n' * 5)  # rows that import will set aside
    model = model_folder(tmp_path / "model")
    rows = Stage("rows", import_data, ImportSettings(kind="prompts", max_rows=8), {"data": [prompts]})
    settings = BestSettings(num_samples=2, sampling=Sampling(max_new_tokens=1))
    inputs = {"model": model, "reward_model": model, "prompts": Output("rows", "rows.jsonl")}
    plan = [rows, Stage("best", sample_best, settings, inputs)]
    before = by_name(make_plan(plan, tmp_path / "run", speed())[0])["best"].cost.sampled_tokens
    execute([rows], tmp_path / "run")
    after = by_name(make_plan(plan, tmp_path / "run", speed())[0])["best"].cost.sampled_tokens
    assert before == after == 8 * 2


def test_a_stage_of_an_unknown_kind_and_what_reads_it_are_not_counted(tmp_path, capsys):
    prompts = prompts_file(tmp_path / "prompts.jsonl")
    settings = ImportSettings(kind="prompts")
    plan = [
        Stage("mine", forget, Settings(), {"data": prompts}),
        Stage("after", import_data, settings, {"data": Output("mine", "rows.jsonl")}),
        Stage("beside", import_data, settings, {"data": prompts}),
    ]
    lines, speeds = make_plan(plan, tmp_path / "run", speed())
    assert [line.state for line in lines] == ["unknown", "unknown", "to do"]
    assert speeds == []  # no model, no probe
    print_plan(plan, tmp_path / "run")
    assert (
        "Not counted, since nothing is known of them: mine (no estimate of stages like mine), after (mine/rows.jsonl)."
        in capsys.readouterr().out
    )


def asking_plan(folder, **server):
    (folder / "prices.json").write_text('{"m": {"input": 1, "output": 3}}')
    seeds = prompts_file(folder / "prompts.jsonl", number=100)
    return [
        Stage(
            name,
            self_chat,
            SelfChatSettings(decoding={"max_tokens": 1000}, teacher=TeacherSettings(server={"model": "m", **more})),
            {"seeds": seeds},
        )
        for name, more in server.items()
    ]


def test_a_plan_says_what_is_asked_of_servers_and_in_all(tmp_path, capsys):
    """100 questions of 15 + 150 tokens, answers of 1,000: (16,500 + 3 x 100,000) / 1e6 dollars."""
    priced = {"prices": str(tmp_path / "prices.json"), "requests_per_minute": 10}
    plan = asking_plan(tmp_path, one=priced, two=priced | {"tokens_per_minute": 1165, "budget_usd": 0.1})
    print_plan(plan, tmp_path / "run", as_json=True)
    told = json.loads(capsys.readouterr().out)
    one, two = (line["asked"] for line in told["stages"])
    assert one == {
        "model": "m",
        "requests": 100,
        "prompt_tokens": 16_500,
        "completion_tokens": 100_000,
        "usd": 0.3165,
        "seconds": round(600 / 0.98, 1),
    }
    assert two["seconds"] == round(6000 / 0.98, 1)  # one question's tokens a minute
    assert told["total"]["asked"]["usd"] == 0.633 and told["total"]["asked"]["requests"] == 200
    assert told["total"]["seconds"] < 1  # waiting is in no stage's time
    print_plan(plan, tmp_path / "run")
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["one", "m", "100", "16.5k", "100.0k", "0.3165", "10", "min", "12", "s"] in rows
    assert ["total", "200", "33.0k", "200.0k", "0.6330", "1", "h", "52", "min"] in rows
    assert "two: its budget of 0.1 dollars may not do; it stops there." in out
    assert "one: at its limit, if 8 at once have their answers within 49 s." in out


def test_what_is_not_known_of_a_server_is_said(tmp_path, capsys):
    plan = asking_plan(tmp_path, one={})
    print_plan(plan, tmp_path / "run")
    out = capsys.readouterr().out
    assert ["total", "100", "16.5k", "100.0k", "unknown", "unknown"] in [line.split() for line in out.splitlines()]
    assert "one: no dollars without a table of prices" in out and "one: no waiting time without the server's" in out
    print_plan(plan, tmp_path / "run", as_json=True)
    told = json.loads(capsys.readouterr().out)["total"]["asked"]
    assert told["usd"] is None and told["seconds"] is None


def test_a_teacher_on_this_machine_takes_the_time_that_a_rehearsal_says(tmp_path):
    [stage] = asking_plan(tmp_path, one={})
    here = replace(
        stage,
        settings=stage.settings.model_copy(update={"teacher": TeacherSettings()}),
        inputs=stage.inputs | {"teacher": model_folder(tmp_path / "model")},
    )
    (slow,), (speed_of,) = make_plan([here], tmp_path / "run", speed(1e10))
    (fast,), _ = make_plan([here], tmp_path / "run", speed(2e10))
    fixed = slow.cost.seconds
    assert slow.seconds - fixed == pytest.approx(2 * (fast.seconds - fixed)) and speed_of.device == "cpu"
    assert slow.cost.server is None and slow.cost.sampled_tokens == 100 * 1000


def test_a_missing_input_is_an_error_before_anything_runs(tmp_path):
    stage = Stage("rows", import_data, ImportSettings(), {"data": tmp_path / "nosuch.jsonl"})
    with pytest.raises(FileNotFoundError, match=r"stage 'rows': input .*nosuch.jsonl does not exist"):
        make_plan([stage], tmp_path / "run", speed())


def test_an_input_that_a_kind_needs_and_a_recipe_forgot(tmp_path):
    stage = Stage("rows", import_data, ImportSettings(), {"dta": prompts_file(tmp_path / "a.jsonl")})
    with pytest.raises(ValueError, match="stage 'rows' has no input 'data'; it has dta"):
        make_plan([stage], tmp_path / "run", speed())


def test_the_table_is_plain_where_it_is_piped_and_says_the_same_as_json(tmp_path, capsys):
    prompts = prompts_file(tmp_path / "prompts.jsonl")
    plan = [Stage("rows", import_data, ImportSettings(kind="prompts"), {"data": prompts})]
    print_plan(plan, tmp_path / "run")
    text = capsys.readouterr().out
    print_plan(plan, tmp_path / "run", as_json=True)
    answer = json.loads(capsys.readouterr().out)
    lines = [line.split() for line in text.splitlines()]
    assert lines[:3] == [
        ["stage", "reads", "trained", "sampled", "scored", "time", "memory"],
        ["rows", "prompts.jsonl", "0.2", "s"],
        ["total", "0.2", "s"],
    ]
    assert "\x1b" not in text
    assert answer["stages"][0]["reads"] == [str(prompts)]
    assert answer["total"]["seconds"] == answer["stages"][0]["seconds"] == 0.2
    assert answer["stages"][0]["function"] == "camelid.collect.stage.import_data"


def test_the_probe_measures_this_machine():
    pytest.importorskip("torch")
    from camelid.models.probe import probe

    measured = probe(TINY, "float32", seconds=0.01)
    assert (measured.number_bytes, measured.precision) == (4, "float32")
    assert 0 <= measured.share_of_cores <= 1
    # At least a million multiplications a second, at most more than any machine has.
    assert 1e6 < measured.operations_per_second < 1e17
    rates = measured.rates
    kinds = {"full", "adapters", "scoring"}
    assert set(rates.operations) == {*kinds, *(f"{kind} head" for kind in kinds), "attention"}
    assert all(1e3 < rate < 1e17 for rate in rates.operations.values())
    assert rates.update > 0
    assert rates.step >= 0 and rates.head >= 0
    assert rates.step + 1000 * rates.step_row > 0 and rates.head + 1000 * rates.head_row > 0


def test_a_rehearsal_is_small_whatever_the_model():
    """No model's layers take more than a few times the weights of SmolLM2's to rehearse, and they keep their make."""
    from camelid.models.loading import SIZES
    from camelid.models.rehearsal import VOCABULARY, WEIGHTS, _reduced

    for folder in SIZES.iterdir():
        shape = Shape.read(folder)
        small = _reduced(shape)
        assert small.trunk_parameters < 3 * WEIGHTS, folder
        assert (small.head_width, small.heads / small.kv_heads) == (shape.head_width, shape.heads / shape.kv_heads)
        assert small.intermediate / small.hidden == pytest.approx(shape.intermediate / shape.hidden, rel=0.01)
        assert 1 <= small.layers <= shape.layers and small.vocabulary <= VOCABULARY


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.24, "0.2 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (750, "12 min 30 s"),
        (3600, "1 h 00 min"),
        (11_100, "3 h 05 min"),
    ],
)
def test_times_are_shown_in_units_that_can_be_read(seconds, shown):
    assert shown_seconds(seconds) == shown


@pytest.mark.parametrize(("number", "shown"), [(0, ""), (930, "930"), (52_834, "52.8k"), (1_200_000, "1.2M")])
def test_counts_are_shown_in_thousands(number, shown):
    assert shown_count(number) == shown


def test_a_busy_machine_is_said_to_be_one(tmp_path, capsys):
    pytest.importorskip("transformers")
    from camelid.cost_figures import STAGE_WITHIN
    from camelid.models.probe import Speed
    from camelid.plan_shown import plan_json, print_lines

    def said(share):
        measured = Speed(1e12, 2, "bfloat16", "cpu", None, share, even_rates(1e12))
        lines, speeds = make_plan(best_plan(tmp_path), tmp_path / "run", lambda shape, precision: measured)
        print_lines(lines, speeds)
        assert plan_json(lines, speeds)["seconds_within_factor"]["stage"] == STAGE_WITHIN
        return capsys.readouterr().out

    assert f"within a factor of {STAGE_WITHIN}" in said(1.0)
    assert "Other programs were running" not in said(1.0)
    assert "this process had 40% of the cores" in said(0.4)
