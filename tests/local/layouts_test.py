#!/usr/bin/env python3
"""The same weights in other forms on disk: a job over each form publishes the same weight files, experts one by one under
published names. Encoded sources (FP8, MXFP4) publish what a job over the decoded weights publishes, and nothing in the
artifact says any more how they were stored."""
import argparse
import array
import concurrent.futures
import copy
import json
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

SECONDS = 120
HIDDEN, WIDTH, EXPERTS, LAYERS, VOCAB = 64, 32, 4, 2, 4096
COMMON = {
    "vocab_size": VOCAB, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 32, "num_experts_per_tok": 2, "hidden_act": "silu",
    "max_position_embeddings": 512, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 1,
    "torch_dtype": "float32"}
QWEN = {**COMMON, "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": EXPERTS,
        "moe_intermediate_size": WIDTH, "intermediate_size": WIDTH, "norm_topk_prob": True}
GPT_OSS = {**COMMON, "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "num_local_experts": EXPERTS,
           "intermediate_size": WIDTH, "attention_bias": True, "sliding_window": 16, "swiglu_limit": 7.0,
           "rope_theta": 150000.0,
           "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
                            "original_max_position_embeddings": 4096}}
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [32, 48]}
MXFP4 = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}


# --- tensors: {name: (dtype, shape, bytes)} -----------------------------------------------------------------------------

def floats(values):
    return array.array("f", values).tobytes()


def gauss(generator, *shape, spread=0.05):
    count = 1
    for size in shape:
        count *= size
    return "F32", list(shape), floats(generator.gauss(0, spread) for _ in range(count))


def ones(size):
    return "F32", [size], floats([1.0] * size)


def attention(generator, tensors, prefix, bias):
    for name in "qkvo":
        tensors[f"{prefix}self_attn.{name}_proj.weight"] = gauss(generator, HIDDEN, HIDDEN)
        if bias:
            tensors[f"{prefix}self_attn.{name}_proj.bias"] = gauss(generator, HIDDEN)


def frame(generator):
    tensors = {"model.embed_tokens.weight": gauss(generator, VOCAB, HIDDEN), "model.norm.weight": ones(HIDDEN),
               "lm_head.weight": gauss(generator, VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{norm}.weight"] = ones(HIDDEN)
    return tensors


def qwen():
    generator = random.Random(7)
    tensors = frame(generator)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        attention(generator, tensors, prefix, bias=False)
        for name in "qk":
            tensors[f"{prefix}self_attn.{name}_norm.weight"] = ones(32)
        tensors[f"{prefix}mlp.gate.weight"] = gauss(generator, EXPERTS, HIDDEN, spread=0.5)
        for expert in range(EXPERTS):
            for name, shape in (("gate", (WIDTH, HIDDEN)), ("up", (WIDTH, HIDDEN)), ("down", (HIDDEN, WIDTH))):
                tensors[f"{prefix}mlp.experts.{expert}.{name}_proj.weight"] = gauss(generator, *shape)
    return tensors


def transposed(data, rows, columns):
    values = array.array("f", data)
    return floats(values[row * columns + column] for column in range(columns) for row in range(rows))


def fused(tensors, in_major):
    tensors = dict(tensors)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}.mlp.experts."
        both, down = b"", b""
        for expert in range(EXPERTS):
            part = {name: tensors.pop(f"{prefix}{expert}.{name}_proj.weight")[2] for name in ("gate", "up", "down")}
            gate_up = part["gate"] + part["up"]
            both += transposed(gate_up, 2 * WIDTH, HIDDEN) if in_major else gate_up
            down += transposed(part["down"], HIDDEN, WIDTH) if in_major else part["down"]
        shapes = ([HIDDEN, 2 * WIDTH], [WIDTH, HIDDEN]) if in_major else ([2 * WIDTH, HIDDEN], [HIDDEN, WIDTH])
        tensors[prefix + "gate_up_proj"] = ("F32", [EXPERTS, *shapes[0]], both)
        tensors[prefix + "down_proj"] = ("F32", [EXPERTS, *shapes[1]], down)
    return tensors


def e4m3(byte):
    exponent, mantissa = byte >> 3 & 15, byte & 7
    magnitude = mantissa * 2.0 ** -9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10)
    return -magnitude if byte & 128 else magnitude


def f32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def in_fp8(tensors):
    """Every linear as random FP8 with a factor per block, and the same decoded."""
    generator, encoded, decoded = random.Random(11), dict(tensors), dict(tensors)
    for name, (_, shape, _) in tensors.items():
        if not re.search(r"(proj)\.weight$", name):
            continue
        rows, columns = shape
        across = -(-columns // 48)
        factors = [f32(generator.uniform(0.0005, 0.001)) for _ in range(-(-rows // 32) * across)]
        codes = bytes(generator.randrange(0x60) | generator.choice((0, 128)) for _ in range(rows * columns))
        encoded[name] = ("F8_E4M3", shape, codes)
        encoded[name + "_scale_inv"] = ("F32", [-(-rows // 32), across], floats(factors))
        decoded[name] = ("F32", shape, floats(e4m3(code) * factors[i // columns // 32 * across + i % columns // 48]
                                              for i, code in enumerate(codes)))
    return encoded, decoded


def e2m1(code):
    exponent, mantissa = code >> 1 & 3, code & 1
    magnitude = mantissa / 2 if exponent == 0 else (1 + mantissa / 2) * 2.0 ** (exponent - 1)
    return -magnitude if code & 8 else magnitude


def gpt_oss():
    """The experts in MXFP4 as published, and decoded in the plain published form."""
    generator = random.Random(13)
    encoded = frame(generator)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        attention(generator, encoded, prefix, bias=True)
        encoded[f"{prefix}self_attn.sinks"] = gauss(generator, 2, spread=1)
        encoded[f"{prefix}mlp.router.weight"] = gauss(generator, EXPERTS, HIDDEN, spread=0.5)
        encoded[f"{prefix}mlp.router.bias"] = gauss(generator, EXPERTS)
    decoded = dict(encoded)
    for layer in range(LAYERS):
        for name, rows, columns in (("gate_up_proj", 2 * WIDTH, HIDDEN), ("down_proj", HIDDEN, WIDTH)):
            name = f"model.layers.{layer}.mlp.experts.{name}"
            blocks = columns // 32
            packed = bytes(generator.randrange(256) for _ in range(EXPERTS * rows * blocks * 16))
            scales = bytes(generator.randrange(120, 124) for _ in range(EXPERTS * rows * blocks))
            values = [e2m1(code) * 2.0 ** (scales[i // 16] - 127)
                      for i, byte in enumerate(packed) for code in (byte & 15, byte >> 4)]
            encoded[name + "_blocks"] = ("U8", [EXPERTS, rows, blocks, 16], packed)
            encoded[name + "_scales"] = ("U8", [EXPERTS, rows, blocks], scales)
            size = rows * columns
            plain = b"".join(transposed(floats(values[e * size:(e + 1) * size]), rows, columns) for e in range(EXPERTS))
            decoded[name] = ("F32", [EXPERTS, columns, rows], plain)
            encoded[name + "_bias"] = decoded[name + "_bias"] = gauss(generator, EXPERTS, rows)
    return encoded, decoded


# --- files ---------------------------------------------------------------------------------------------------------------

def write_weights(path, tensors):
    header, data = {}, bytearray()
    for name, (dtype, shape, content) in sorted(tensors.items(), key=lambda item: (item[1][0] != "F32", item[0])):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_header(path):
    content = path.read_bytes()
    size = struct.unpack_from("<Q", content)[0]
    header = json.loads(content[8:8 + size])
    header.pop("__metadata__", None)
    return header


class Bench:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.text = directory / "perplexity.txt"
        self.text.write_text((options.testdata / "tiny_heldout.txt").read_text()[:4000])

    def quantize(self, name, config, tensors, quantization=None):
        """The directory of the artifact of a job over this model."""
        model, out = self.directory / name, self.directory / f"{name}.out"
        model.mkdir()
        config = copy.deepcopy(config)
        if quantization:
            config["quantization_config"] = quantization
        (model / "config.json").write_text(json.dumps(config))
        write_weights(model / "model.safetensors", tensors)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(self.options.testdata / "tiny-qwen2-moe" / file, model / file)
        self.check_inspection(model)
        self.run("quantize", "--model", model, "--out", out, "--budget", "4", "--samples", "4", "--sequence-length", "64",
                 "--text", self.text, "--window", "64", "--effort", "0")
        return out

    def check_inspection(self, model):
        """Nothing is wrong, and every byte of the file belongs to one kind of linear or is kept."""
        told = json.loads(self.run("inspect", model))
        assert told["problems"] == [], told["problems"]
        counted = sum(entry["bytes"] for group in ("quantized", "kept") for entry in told[group].values())
        assert counted == told["bytes"], f"{model}: {counted} of {told['bytes']} bytes"

    def run(self, *arguments):
        command = [str(part) for part in (self.options.local, "--threads", "1", *arguments)]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
        assert result.returncode == 0, f"{command}: {result.stderr}"
        return result.stdout


def check_plain(out, config):
    """Nothing in the artifact says how the source was stored."""
    published = json.loads((out / "config.json").read_text())
    assert published.pop("quantization_config")["quant_method"] == "gptq"
    assert published == config, published
    header = read_header(out / "model.safetensors")
    assert {entry["dtype"] for entry in header.values()} <= {"I32", "F16", "F32"}, "a dtype of the source is left"
    left = [name for name in header if re.search(r"_scale_inv$|_blocks$|_scales$|gate_up_proj", name)]
    assert not left, left
    for layer in range(LAYERS):
        for expert in range(EXPERTS):
            for name in ("gate", "up", "down"):
                assert f"model.layers.{layer}.mlp.experts.{expert}.{name}_proj.qweight" in header


def check_same(bench, one, other, config):
    for out in (one, other):
        check_plain(out, config)
    for name in ("model.safetensors", "quantmoe_plan.json", "quantmoe_scores.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), f"{other}/{name} differs"


def all_stories(bench):
    plain = qwen()
    encoded, decoded = in_fp8(plain)
    mxfp4, oss = gpt_oss()
    jobs = {"plain": (QWEN, plain), "fused": (QWEN, fused(plain, False)), "transposed": (QWEN, fused(plain, True)),
            "decoded": (QWEN, decoded), "fp8": (QWEN, encoded, FP8), "oss": (GPT_OSS, oss), "mxfp4": (GPT_OSS, mxfp4, MXFP4)}
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        outs = dict(zip(jobs, pool.map(lambda job: bench.quantize(job[0], *job[1]), jobs.items())))
    check_same(bench, outs["plain"], outs["fused"], QWEN)
    check_same(bench, outs["plain"], outs["transposed"], QWEN)
    check_same(bench, outs["decoded"], outs["fp8"], QWEN)
    check_same(bench, outs["oss"], outs["mxfp4"], GPT_OSS)
    scores = json.loads((outs["mxfp4"] / "quantmoe_scores.json").read_text())["planned"]
    again = json.loads(bench.run("evaluate", "--model", outs["mxfp4"], "--text", bench.text, "--window", "64"))
    told, found = scores["perplexity"]["value"], again["perplexity"]["value"]
    assert abs(told - found) < 1e-3 * told, f"the job said {told}, the artifact gives {found}"
    header = read_header(outs["mxfp4"] / "model.safetensors")
    assert header["model.layers.0.mlp.experts.3.gate_proj.bias"]["shape"] == [WIDTH]
    assert header["model.layers.0.self_attn.sinks"]["shape"] == [2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", type=pathlib.Path, required=True)
    parser.add_argument("--testdata", type=pathlib.Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        all_stories(Bench(options, pathlib.Path(directory)))
    print("every form gives the same artifact")


if __name__ == "__main__":
    sys.exit(main())
