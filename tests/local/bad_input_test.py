#!/usr/bin/env python3
"""Bad input is refused before work starts, or at `prepare`: with the field, the file and the value, a stable reason, and
nothing half-written. Every case spoils one thing of a sound tiny model or of the flags; the sound one is published first,
so a refusal cannot come from anything else."""
import argparse
import array
import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Callable

from live_service import LiveService, last_lines

REFUSED = 2  # exit code of both clients
FAILED = 1   # exit code of a client that watched a job to its failure
SHORT = {"--samples": "4", "--sequence-length": "64", "--no-evaluation": None}
SCORED = {"--samples": "4", "--sequence-length": "64", "--window": "64"}
SECONDS = 60
CONFIG = {
    "architectures": ["Qwen2MoeForCausalLM"], "model_type": "qwen2_moe", "vocab_size": 4096, "hidden_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 64,
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2,
    "norm_topk_prob": False, "decoder_sparse_step": 1, "mlp_only_layers": [], "qkv_bias": True, "hidden_act": "silu",
    "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False,
    "bos_token_id": 0, "eos_token_id": 1, "torch_dtype": "float32"}
QUERY = "model.layers.0.self_attn.q_proj.weight"
LAST = "model.layers.1.mlp.experts.3.down_proj.weight"


# --- a sound model -----------------------------------------------------------------------------------------------------

def tensor_shapes():
    hidden, vocab, width = CONFIG["hidden_size"], CONFIG["vocab_size"], CONFIG["moe_intermediate_size"]
    shapes = {"model.embed_tokens.weight": [vocab, hidden], "lm_head.weight": [vocab, hidden],
              "model.norm.weight": [hidden]}
    for layer in range(CONFIG["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{prefix}{norm}.weight"] = [hidden]
        for name in "qkv":
            shapes[f"{prefix}self_attn.{name}_proj.weight"] = [hidden, hidden]
            shapes[f"{prefix}self_attn.{name}_proj.bias"] = [hidden]
        shapes[f"{prefix}self_attn.o_proj.weight"] = [hidden, hidden]
        shapes[f"{prefix}mlp.gate.weight"] = [CONFIG["num_experts"], hidden]
        shapes[f"{prefix}mlp.shared_expert_gate.weight"] = [1, hidden]
        for expert in ["shared_expert"] + [f"experts.{i}" for i in range(CONFIG["num_experts"])]:
            shapes[f"{prefix}mlp.{expert}.gate_proj.weight"] = [width, hidden]
            shapes[f"{prefix}mlp.{expert}.up_proj.weight"] = [width, hidden]
            shapes[f"{prefix}mlp.{expert}.down_proj.weight"] = [hidden, width]
    return shapes


def make_weights():
    """The header as a tree, and the data."""
    generator, header, data = random.Random(7), {}, bytearray()
    for name, shape in tensor_shapes().items():
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        values = [1.0] * count if name.endswith("norm.weight") else [generator.gauss(0, 0.05) for _ in range(count)]
        begin = len(data)
        data += array.array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    return header, bytes(data)


def write_weights(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class SoundModel:
    """A directory to copy, and what its weight file holds."""

    def __init__(self, directory, testdata):
        self.directory, self.testdata = directory, testdata
        self.header, self.data = make_weights()
        directory.mkdir(parents=True)
        (directory / "config.json").write_text(json.dumps(CONFIG))
        write_weights(directory / "model.safetensors", self.header, self.data)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(testdata / "tiny-qwen2-moe" / name, directory / name)


# --- ways to spoil a copy ----------------------------------------------------------------------------------------------

def with_config(**changes):
    def spoil(model, directory):
        config = {**CONFIG, **changes}
        (directory / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return spoil


def with_file(name, text):
    return lambda model, directory: (directory / name).write_text(text)


def without(name):
    return lambda model, directory: (directory / name).unlink()


def truncated(count):
    def spoil(model, directory):
        path = directory / "model.safetensors"
        path.write_bytes(path.read_bytes()[:count])
    return spoil


def with_header(change):
    """`change` edits the tree of the header, or gives its bytes."""
    def spoil(model, directory):
        header = json.loads(json.dumps(model.header))
        raw = change(header)
        write_weights(directory / "model.safetensors", raw if isinstance(raw, bytes) else header, model.data)
    return spoil


def with_tensor(name, **entry):
    return with_header(lambda header: header[name].update(entry))


def with_value(name, value):
    def spoil(model, directory):
        data = bytearray(model.data)
        struct.pack_into("<f", data, model.header[name]["data_offsets"][0], value)
        write_weights(directory / "model.safetensors", model.header, bytes(data))
    return spoil


def with_tokenizer(change):
    def spoil(model, directory):
        tree = json.loads((directory / "tokenizer.json").read_text())
        change(tree)
        (directory / "tokenizer.json").write_text(json.dumps(tree))
    return spoil


def lost_shard(model, directory):
    (directory / "model.safetensors").rename(directory / "model-00001-of-00002.safetensors")
    shard = {name: "model-00001-of-00002.safetensors" for name in model.header}
    index = {"weight_map": {**shard, QUERY: "model-00002-of-00002.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def undivided(model, directory):
    """The golden model: its experts are 24 wide."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(model.testdata / "goldens" / "qwen2_moe" / name, directory / name)


def overlap(header):
    header[QUERY]["data_offsets"] = list(header["model.layers.0.self_attn.k_proj.weight"]["data_offsets"])


def begin_with(token):
    def change(tree):
        tree["post_processor"] = {
            "type": "TemplateProcessing", "pair": [],
            "single": [{"SpecialToken": {"id": "<begin>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<begin>": {"id": "<begin>", "ids": [token], "tokens": ["<begin>"]}}}
    return change


def past_the_end(header):
    header[LAST]["shape"][0] += 1
    header[LAST]["data_offsets"][1] += 4 * header[LAST]["shape"][1]


def copa_line(**changes):
    item = {"premise": "Zena bought a horse.", "question": "cause", "choice1": "She saved.", "choice2": "She ran.", "label": 0}
    item.update(changes)
    return json.dumps({key: value for key, value in item.items() if value is not None}) + "\n"


# --- the cases ---------------------------------------------------------------------------------------------------------

@dataclass
class Case:
    name: str
    reason: str
    says: list                                # texts that name the field, the file and the value
    spoil: Callable = lambda model, directory: None
    flags: dict = field(default_factory=dict)  # over SHORT; "FILE" stands for a file with `text`
    text: str = None
    base: dict = field(default_factory=lambda: SHORT)
    at_prepare: bool = False                  # a service creates the job, and it fails there


def weight_cases():
    file = "model.safetensors"
    return [
        Case("no_weights", "MODEL_NOT_FOUND", [file], without(file)),
        Case("empty_file", "MODEL_INVALID", [file, "truncated"], truncated(0)),
        Case("cut_header", "MODEL_INVALID", [file, "truncated", "100"], truncated(100)),
        Case("cut_data", "MODEL_INVALID", [file, LAST, "truncated"], truncated(-1)),
        Case("lost_shard", "MODEL_INVALID", ["index.json", "model-00002-of-00002.safetensors"], lost_shard),
        Case("header_no_json", "MODEL_INVALID", [file, "JSON"], with_header(lambda header: b'{"a": nope}')),
        Case("offset_short", "MODEL_INVALID", [file, QUERY, "16384", "data_offsets"], with_tensor(QUERY, data_offsets=[0, 8])),
        Case("offset_negative", "MODEL_INVALID", [file, QUERY, "-4"], with_tensor(QUERY, data_offsets=[-4, 8])),
        Case("offset_overlap", "MODEL_INVALID", [file, "model.layers.0.self_attn"], with_header(overlap)),
        Case("offset_past_end", "MODEL_INVALID", [file, LAST], with_header(past_the_end)),
        Case("wrong_shape", "MODEL_INVALID", [QUERY, "[32, 128]", "[64, 64]"], with_tensor(QUERY, shape=[32, 128])),
        Case("unknown_dtype", "MODEL_INVALID", [file, QUERY, "F9"], with_tensor(QUERY, dtype="F9")),
        Case("nan_embedding", "MODEL_INVALID", [file, "embed_tokens", "NaN"],
             with_value("model.embed_tokens.weight", float("nan")), at_prepare=True),
        Case("nan_layer", "MODEL_INVALID", [file, QUERY, "NaN"], with_value(QUERY, float("nan")), at_prepare=True),
        Case("nan_head", "MODEL_INVALID", [file, "lm_head", "NaN"], with_value("lm_head.weight", float("nan")), at_prepare=True),
        Case("nan_norm", "MODEL_INVALID", [file, "model.norm", "NaN"], with_value("model.norm.weight", float("nan")),
             at_prepare=True),
    ]


def model_cases():
    return [
        Case("no_config", "MODEL_INVALID", ["config.json"], without("config.json")),
        Case("config_no_json", "MODEL_INVALID", ["config.json", "JSON"], with_file("config.json", '{"a":')),
        Case("unknown_architecture", "MODEL_UNSUPPORTED", ["config.json", "model_type", "bert"], with_config(model_type="bert")),
        Case("negative_size", "MODEL_INVALID", ["config.json", "hidden_size", "-64"], with_config(hidden_size=-64)),
        Case("text_size", "MODEL_INVALID", ["config.json", "hidden_size", '"64"'], with_config(hidden_size="64")),
        Case("too_many_experts", "MODEL_INVALID", ["num_experts_per_tok", "9"], with_config(num_experts_per_tok=9)),
        Case("unknown_rope", "MODEL_UNSUPPORTED", ["rope_scaling", "martian"],
             with_config(rope_scaling={"type": "martian", "factor": 2})),
        Case("rope_base_near_zero", "MODEL_INVALID", ["config.json", "rope_theta", "1e-320"], with_config(rope_theta=1e-320)),
        Case("quantized_already", "MODEL_UNSUPPORTED", ["quantization_config"],
             with_config(quantization_config={"quant_method": "gptq"})),
        Case("no_tokenizer", "MODEL_INVALID", ["tokenizer.json"], without("tokenizer.json")),
        Case("unknown_tokenizer", "TOKENIZER_UNSUPPORTED", ["tokenizer.json", "model", "Martian"],
             with_tokenizer(lambda tree: tree["model"].update(type="Martian"))),
        Case("unknown_pre_tokenizer", "TOKENIZER_UNSUPPORTED", ["tokenizer.json", "pre_tokenizer", "Martian"],
             with_tokenizer(lambda tree: tree.update(pre_tokenizer={"type": "Martian"}))),
        Case("token_beyond_vocabulary", "TOKENIZER_INVALID", ["tokenizer.json", "model.vocab", "'e'", "70000", "4096"],
             with_tokenizer(lambda tree: tree["model"]["vocab"].update(e=70000))),
        Case("begin_beyond_vocabulary", "TOKENIZER_INVALID", ["tokenizer.json", "texts get the id 9999", "4096"],
             with_tokenizer(begin_with(9999))),
        Case("tokenizer_no_json", "TOKENIZER_INVALID", ["tokenizer.json"], with_file("tokenizer.json", "{")),
        Case("undivided_width", "INVALID_FIELD", ["spec.gptq.group_size", "48", "32", "down_proj"], undivided),
    ]


def flag_cases():
    return [
        Case("budget_floor", "BIT_BUDGET_INFEASIBLE", ["1.5", "2", "8"], flags={"--budget": "1.5"}),
        Case("budget_bytes", "BIT_BUDGET_INFEASIBLE", ["1000000"], flags={"--budget": "1000000B"}),
        Case("heuristic", "INVALID_FIELD", ["spec.heuristic.name", "magic"], flags={"--heuristic": "magic"}),
        Case("parameter", "INVALID_FIELD", ["spec.heuristic.params[floor]", "5"],
             flags={"--heuristic": "attention-first", "--param": "floor=5"}),
        Case("profile", "INVALID_FIELD", ["spec.runtime_profile", "mars"], flags={"--profile": "mars"}),
        Case("group_size", "INVALID_FIELD", ["spec.gptq.group_size", "48"], flags={"--group-size": "48"}),
        Case("group_size_width", "INVALID_FIELD", ["spec.gptq.group_size", "64", "down_proj"], flags={"--group-size": "64"}),
        Case("widths", "INVALID_FIELD", ["spec.gptq.widths[0]", "5"], flags={"--widths": "5"}),
        Case("context", "INVALID_FIELD", ["spec.calibration.sequence_length", "100000", "512"],
             flags={"--sequence-length": "100000"}),
        Case("empty_calibration", "INVALID_FIELD", ["--calibration", "is empty"], flags={"--calibration": "FILE"}, text=""),
        Case("blank_calibration", "INVALID_FIELD", ["--calibration", "white space"], flags={"--calibration": "FILE"}, text=" \n\t\n"),
        Case("endless_calibration", "INVALID_FIELD", ["--calibration", "/dev/zero", "256 MiB"], flags={"--calibration": "/dev/zero"}),
        Case("calibration_folder", "INVALID_FIELD", ["--calibration", "directory"], flags={"--calibration": "/usr"}),
        Case("endless_job_file", "INVALID_FIELD", ["--file", "/dev/zero", "1.00 MiB"], flags={"--file": "/dev/zero"}),
        Case("idle_ranks", "INVALID_FIELD", ["--ranks", "--rank-bytes"], flags={"--ranks": "2"}),
        Case("idle_limit", "INVALID_FIELD", ["--limit", "--task"], flags={"--limit": "2"}),
        Case("short_calibration", "CALIBRATION_TEXT_TOO_SHORT", ["spec.calibration.text", "64"],
             flags={"--calibration": "FILE"}, text="hello", at_prepare=True),
        Case("no_calibration", "INVALID_FIELD", ["--calibration", "nowhere.txt"], flags={"--calibration": "nowhere.txt"}),
        Case("empty_text", "INVALID_FIELD", ["--text", "is empty"], base=SCORED, flags={"--text": "FILE"}, text=""),
        Case("short_text", "PERPLEXITY_TEXT_TOO_SHORT", ["perplexity"], base=SCORED, flags={"--text": "FILE"}, text="a", at_prepare=True),
        Case("blank_items", "INVALID_FIELD", ["--task", "white space"], base=SCORED, flags={"--task": "copa=FILE"}, text="\n\n"),
        Case("unknown_task", "INVALID_FIELD", ["evaluation.tasks[0].name", "gsm8k"], base=SCORED,
             flags={"--task": "gsm8k=FILE"}, text=copa_line()),
        Case("task_lacks_field", "TASK_DATA_INVALID", ["copa:2", "premise"], base=SCORED, flags={"--task": "copa=FILE"},
             text=copa_line() + copa_line(premise=None), at_prepare=True),
        Case("task_wrong_value", "TASK_DATA_INVALID", ["copa:1", "label", "5"], base=SCORED, flags={"--task": "copa=FILE"},
             text=copa_line(label=5), at_prepare=True),
        Case("task_no_json", "TASK_DATA_INVALID", ["copa:2", "JSON"], base=SCORED, flags={"--task": "copa=FILE"},
             text=copa_line() + '{"a"\n', at_prepare=True),
        Case("fewshot_alone", "INVALID_FIELD", ["--fewshot", "mmlu"], base=SCORED, flags={"--fewshot": "mmlu=FILE"}, text=""),
    ]


def all_cases():
    return weight_cases() + model_cases() + flag_cases()


# --- running one -------------------------------------------------------------------------------------------------------

class Bench:
    """The programs, the sound model, and a directory below the model root with one spoilt copy a case."""

    def __init__(self, programs, directory):
        self.programs, self.directory = programs, directory
        self.models = directory / "models"
        self.sound = SoundModel(self.models / "sound", programs.testdata)
        self.failures = []

    def spoilt(self, case):
        path = self.models / case.name
        if not path.exists():
            shutil.copytree(self.sound.directory, path)
            case.spoil(self.sound, path)
        return path

    def flags(self, case):
        file = self.directory / f"{case.name}.txt"
        if case.text is not None:
            file.write_text(case.text)
        merged = {"--budget": "3", **case.base, **case.flags}
        return {key: value and value.replace("FILE", str(file)) for key, value in merged.items()}

    def check(self, name, condition, what):
        if not condition:
            self.failures.append(f"{name}: {what}")

    def check_refusal(self, name, case, code, expected_code, reason, output):
        self.check(name, code == expected_code, f"exit code {code}, not {expected_code}: {output}")
        self.check(name, reason == case.reason, f"reason {reason}, not {case.reason}: {output}")
        for text in case.says:
            self.check(name, text in output, f"does not name {text!r}: {output}")


def as_arguments(flags):
    return [part for key, value in flags.items() for part in ([key] if value is None else [key, value])]


def run(command):
    command = [str(part) for part in command]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)


def quantize(bench, name, model, flags):
    out = bench.directory / f"{name}.out"
    result = run([bench.programs.local, "--threads", "1", "quantize", "--model", model, "--out", out, *as_arguments(flags)])
    return result, sorted(path.name for path in bench.directory.glob(f"{name}.out*"))


def local_story(bench):
    result, left = quantize(bench, "sound", bench.sound.directory, {"--budget": "3", **SHORT})
    bench.check("sound", result.returncode == 0 and left == ["sound.out"], f"is not published: {left} {result.stderr}")
    def attempt(case):
        return quantize(bench, case.name, bench.spoilt(case), bench.flags(case))

    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = list(pool.map(attempt, all_cases()))
    for case, (result, left) in zip(all_cases(), outcomes):
        reason = case.reason if f"reason: {case.reason}" in result.stderr else "another"
        bench.check_refusal(f"local {case.name}", case, result.returncode, REFUSED, reason, result.stderr)
        bench.check(f"local {case.name}", not left, f"leaves {left}")


def inspect_story(bench, command, who):
    """What a job refuses because of the model is found by `inspect`, unless only the weights themselves tell."""
    told_by_headers = [case for case in weight_cases() if not case.at_prepare]
    for case in told_by_headers + model_cases():
        result = run(command("inspect", bench.spoilt(case)))
        problems = parsed(result.stdout).get("problems", [])
        bench.check(f"{who} inspect {case.name}", problems or result.returncode == REFUSED, f"finds nothing: {result.stderr}")


def reason_of(status):
    """The reason in a google.rpc.Status as JSON."""
    return next((detail["reason"] for detail in status.get("details", []) if "reason" in detail), "")


def parsed(text):
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {}


def client_flags(flags):
    """The client takes bits and bytes apart."""
    budget = flags.pop("--budget")
    return {**({"--bytes": budget[:-1]} if budget.endswith("B") else {"--bits": budget}), **flags}


def submit(bench, service, uri, flags, *more):
    return run(service.client_command("submit", uri, *as_arguments(client_flags(dict(flags))), *more))


def service_story(bench, service):
    for case in all_cases():
        job, name = case.name.replace("_", "-"), f"service {case.name}"
        result = submit(bench, service, bench.spoilt(case), bench.flags(case), "--name", job, "--watch")
        if case.at_prepare:
            told = json.loads(service.client("get", job))
            bench.check(name, told["state"] == "FAILED" and told["artifact"] == "", f"is {told['state']}")
            error = told.get("error", {})
            bench.check_refusal(name, case, result.returncode, FAILED, reason_of(error), error.get("message", ""))
            stages = {stage["stage"]: stage for stage in told["progress"]["stages"]}
            bench.check(name, not stages.get("solve", {}).get("tasks_done"), "work was done before the refusal")
        else:
            error = parsed(result.stderr)
            bench.check_refusal(name, case, result.returncode, REFUSED, reason_of(error), error.get("message", ""))
            bench.check(name, run(service.client_command("get", job)).returncode == FAILED, "a job was created")
    published = service.data / "artifacts"
    bench.check("service", not published.exists() or not any(published.iterdir()), "something was published")


def location_story(bench, service):
    """URIs that leave the allowed root. The model behind each is sound."""
    outside = bench.directory / "outside"
    shutil.copytree(bench.sound.directory, outside)
    (bench.models / "link").symlink_to(outside)
    linked = bench.models / "linked_file"
    shutil.copytree(bench.sound.directory, linked)
    (linked / "tokenizer.json").unlink()
    (linked / "tokenizer.json").symlink_to(outside / "tokenizer.json")
    root, flags = bench.models, {"--budget": "3", **SHORT}
    uris = {
        f"{root}/../outside": "SOURCE_NOT_ALLOWED", f"{outside}": "SOURCE_NOT_ALLOWED", f"{root}/link": "SOURCE_NOT_ALLOWED",
        f"{linked}": "SOURCE_NOT_ALLOWED", f"file://{root}/../outside": "INVALID_FIELD",
        f"file://{root}/%2e%2e/outside": "INVALID_FIELD", f"file://other{root}/sound": "INVALID_FIELD",
        f"http://host{root}": "INVALID_FIELD", "s3://bucket/model": "SOURCE_NOT_ALLOWED", "": "INVALID_FIELD",
        f"{root}/nowhere": "MODEL_NOT_FOUND"}
    for uri, reason in uris.items():
        result = submit(bench, service, uri, flags, "--validate-only")
        shown = uri.rsplit("/", 1)[-1] if uri else "spec.model.uri"
        error = parsed(result.stderr)
        bench.check_refusal(f"uri {uri!r}", Case("uri", reason, [shown]), result.returncode, REFUSED, reason_of(error),
                            error.get("message", result.stderr))
    for uri in (bench.sound.directory, f"file://{bench.sound.directory}/"):
        result = submit(bench, service, uri, flags, "--validate-only")
        bench.check(f"uri {uri}", result.returncode == 0, f"is refused: {result.stderr}")


def instruction_set_story(bench):
    """Instructions that nobody knows, by flag and by environment."""
    commands = {"local": [bench.programs.local, "inspect", "--model", bench.sound.directory],
                "worker": ["timeout", "20", bench.programs.worker]}
    for program, command in commands.items():
        at = command.index(getattr(bench.programs, program)) + 1
        tries = {"flag": run([*command[:at], "--instruction-set", "sse9", *command[at:]]),
                 "environment": run(["env", "QUANTMOE_INSTRUCTION_SET=sse9", *command])}
        for way, result in tries.items():
            named = "--instruction-set" in result.stderr and "avx512, avx2 or baseline" in result.stderr
            bench.check(f"{program} instruction set by {way}", result.returncode == REFUSED and named,
                        f"ends with {result.returncode}: {result.stderr}")


def exposure_story(bench):
    """A listener that others can reach needs TLS or a word of its own."""
    for flag in ("--listen", "--worker-listen", "--http-listen"):
        addresses = {"--listen": "127.0.0.1:0", "--worker-listen": "127.0.0.1:0", "--http-listen": "127.0.0.1:0", flag: "0.0.0.0:0"}
        data = bench.directory / "exposed"
        try:
            result = run(["timeout", "20", bench.programs.server, "--data-dir", data, *as_arguments(addresses)])
        except subprocess.TimeoutExpired:
            result = None
        refused = result is not None and result.returncode not in (0, 124)
        bench.check(f"server {flag}", refused and "0.0.0.0:0" in result.stderr and "--insecure" in result.stderr,
                    f"is not refused: {result and result.stderr}")
        bench.check(f"server {flag}", not data.exists(), "leaves a data directory")


def second_server_story(bench, service):
    result = run(["timeout", "20", bench.programs.server, "--data-dir", service.data, "--listen", "127.0.0.1:0",
                  "--worker-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"])
    bench.check("second server", result.returncode not in (0, 124) and str(service.data) in result.stderr,
                f"is not refused: {result.stderr}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for program in ("server", "worker", "client", "local"):
        parser.add_argument(f"--{program}", type=pathlib.Path, required=True)
    parser.add_argument("--testdata", type=pathlib.Path, required=True)
    return parser.parse_args()


def main():
    programs = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="quantmoe-bad-input-") as scratch:
        directory = pathlib.Path(os.path.realpath(scratch))
        bench = Bench(programs, directory)
        local_story(bench)
        inspect_story(bench, lambda *arguments: [programs.local, *arguments], "local")
        instruction_set_story(bench)
        exposure_story(bench)
        with LiveService(programs, bench.models, directory / "service") as service:
            service.start_server()
            service.start_worker("worker", "--model-root", bench.models)
            inspect_story(bench, service.client_command, "service")
            service_story(bench, service)
            location_story(bench, service)
            second_server_story(bench, service)
            if bench.failures:
                print(last_lines(service.directory))
    print("\n".join(bench.failures) or f"{len(all_cases())} cases refused")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
