#!/usr/bin/env python3
"""A job on a model of each family that has matrices of its own kinds, through `quantmoe-local`: it is published, what is not
quantized is carried over bit by bit, and the artifact scores what the job said. The goldens have no tokenizer, so each
model gets one with a token for every byte; the golden of DeepSeek has widths that cannot be packed, so a copy with wider
ones is drawn here."""
import argparse
import array
import json
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile

SECONDS = 300
TEXT = "It was the best of times, it was the worst of times. " * 12
JOB = ("--budget", "4.5", "--samples", "8", "--sequence-length", "64", "--window", "64", "--effort", "0")


def byte_tokenizer():
    """Byte-level BPE without merges: the byte alphabet of GPT-2 in its own order."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    alphabet = [chr(byte) for byte in shown] + [chr(256 + i) for i in range(len(hidden))]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": level, "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                      "vocab": {text: i for i, text in enumerate(alphabet)}, "merges": []}}


def read_tensors(path):
    """name -> (dtype, shape, bytes)"""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    body = data[8 + size:]
    return {name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def write_tensors(path, shapes):
    header, data, generator = {}, bytearray(), random.Random(7)
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        spread = 1 / shape[-1] ** 0.5
        values = [1.0 if "norm" in name else generator.gauss(0, spread) for _ in range(count)]
        begin = len(data)
        data += array.array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))


def wide_deepseek(config):
    """Widths that are multiples of 32, and the shapes of every tensor they imply."""
    config.update(num_hidden_layers=2, moe_intermediate_size=32, n_routed_experts=4, num_experts_per_tok=2, n_group=2,
                  topk_group=1, qk_nope_head_dim=32, qk_rope_head_dim=32, v_head_dim=32)
    if config["q_lora_rank"]:
        config["q_lora_rank"] = 32
    hidden, heads, kv = config["hidden_size"], config["num_attention_heads"], config["kv_lora_rank"]

    def mlp(prefix, width):
        return {f"{prefix}gate_proj.weight": [width, hidden], f"{prefix}up_proj.weight": [width, hidden],
                f"{prefix}down_proj.weight": [hidden, width]}

    shapes = {"model.embed_tokens.weight": [320, hidden], "lm_head.weight": [320, hidden], "model.norm.weight": [hidden]}
    for layer in range(config["num_hidden_layers"] + config.get("num_nextn_predict_layers", 0)):
        prefix = f"model.layers.{layer}."
        attention = prefix + "self_attn."
        shapes |= {f"{prefix}{norm}.weight": [hidden] for norm in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {attention + "kv_a_proj_with_mqa.weight": [kv + 32, hidden], attention + "kv_a_layernorm.weight": [kv],
                   attention + "kv_b_proj.weight": [heads * 64, kv], attention + "o_proj.weight": [hidden, heads * 32]}
        if config["q_lora_rank"]:
            shapes |= {attention + "q_a_proj.weight": [32, hidden], attention + "q_a_layernorm.weight": [32],
                       attention + "q_b_proj.weight": [heads * 64, 32]}
        else:
            shapes[attention + "q_proj.weight"] = [heads * 64, hidden]
        if layer < config["first_k_dense_replace"]:
            shapes |= mlp(prefix + "mlp.", config["intermediate_size"])
            continue
        shapes[prefix + "mlp.gate.weight"] = [4, hidden]
        if config["topk_method"] == "noaux_tc":
            shapes[prefix + "mlp.gate.e_score_correction_bias"] = [4]
        shapes |= mlp(prefix + "mlp.shared_experts.", 32 * config["n_shared_experts"])
        for expert in range(4):
            shapes |= mlp(f"{prefix}mlp.experts.{expert}.", 32)
    return shapes


class Bench:
    def __init__(self, options, directory):
        self.local, self.goldens, self.directory = options.local, options.testdata / "goldens", directory
        self.text = directory / "text.txt"
        self.text.write_text(TEXT)

    def run(self, *arguments):
        command = [str(part) for part in (self.local, "--threads", "1", *arguments)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        assert result.returncode == 0, f"{command}: {result.stderr}"
        return result.stdout

    def model(self, family):
        path = self.directory / family
        path.mkdir()
        (path / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
        config = json.loads((self.goldens / family / "config.json").read_text())
        if family.startswith("deepseek"):
            write_tensors(path / "model.safetensors", wide_deepseek(config))
        else:
            shutil.copy(self.goldens / family / "model.safetensors", path)
        (path / "config.json").write_text(json.dumps(config))
        return path

    def quantize(self, family):
        model, out = self.model(family), self.directory / f"{family}.out"
        self.run("quantize", "--model", model, "--out", out, "--text", self.text, *JOB)
        return model, out

    def check(self, family, kinds):
        model, out = self.quantize(family)
        before, after = read_tensors(model / "model.safetensors"), read_tensors(out / "model.safetensors")
        plan = json.loads((out / "quantmoe_plan.json").read_text())
        linears = [planned["linear"] for planned in plan["linears"]]
        names = {linear["name"] for linear in linears}
        assert kinds <= {linear["kind"] for linear in linears}, linears
        for name, tensor in before.items():
            if name.endswith(("input_linear.weight", "output_linear.weight", ".experts.gate_up_proj", ".experts.down_proj")):
                assert name not in after, f"{name} is fused"
            elif name.removesuffix(".weight") in names:
                assert name not in after and name.replace(".weight", ".qweight") in after, name
            else:
                assert after[name] == tensor, f"{name} is not carried over"
        scores = json.loads((out / "quantmoe_scores.json").read_text())["planned"]
        again = json.loads(self.run("evaluate", "--model", out, "--text", self.text, "--window", "64"))
        told, found = scores["perplexity"]["value"], again["perplexity"]["value"]
        assert abs(told - found) < 1e-3 * told, f"the job said {told}, the artifact gives {found}"
        return model, out, before


def check_extra_layer(bench, model, out, before):
    """The next-token prediction layer stays as it is, and loaders are told so."""
    extra = [name for name in before if name.startswith("model.layers.2.")]
    assert extra
    dynamic = json.loads((out / "quantize_config.json").read_text())["dynamic"]
    assert next(iter(dynamic.items())) == (r"-:^model\.layers\.2\.", {}), dynamic
    kept = json.loads(bench.run("inspect", model))["kept"]
    assert kept["next-token prediction layer, not run"]["tensors"] == len(extra), kept


def check_vision(model, out, before, tower):
    """What is beside the language model is carried (bit by bit, as everything is), and loaders are told so."""
    assert any(name.startswith(tower) for name in before)
    dynamic = json.loads((out / "quantize_config.json").read_text())["dynamic"]
    assert dynamic["-:^" + tower.replace(".", r"\.")] == {}, dynamic
    config = json.loads((out / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "gptq" and "vision_config" in config


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", type=pathlib.Path, required=True)
    parser.add_argument("--testdata", type=pathlib.Path, required=True)
    options = parser.parse_args()
    latent = {"key_value_a", "key_value_b", "output", "shared_down", "expert_down"}
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(options, pathlib.Path(directory))
        bench.check("olmoe", {"query", "expert_gate"})
        check_vision(*bench.check("llama4", {"query", "dense_gate", "shared_gate", "expert_down"}), "vision_model.")
        check_vision(*bench.check("qwen3_vl_moe", {"query", "expert_gate"}), "model.visual.")
        bench.check("ernie4_5_moe", {"query", "dense_gate", "shared_gate", "expert_gate"})
        bench.check("minimax_m2", {"query", "expert_gate"})
        bench.check("hunyuan_v1_moe", {"query", "shared_gate", "expert_gate"})
        bench.check("glm4_moe", {"query", "dense_gate", "shared_gate"})
        bench.check("granitemoe", {"query", "expert_gate"})
        bench.check("phimoe", {"query", "expert_gate"})
        bench.check("deepseek_v2", latent | {"query"})
        check_extra_layer(bench, *bench.check("deepseek_v3", latent | {"query_a", "query_b"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
