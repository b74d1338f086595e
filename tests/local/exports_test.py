#!/usr/bin/env python3
"""Exports of a finished artifact, read by readers of their own: the same numbers at the widths that a runtime loads. The
readers know nothing but docs/formats.md: they unpack GPTQ and compressed-tensors bit by bit, compare every weight with the
artifact's, and give the plain weights back to `quantmoe-local`, which must score them as it scores the artifact."""
import argparse
import array
import collections
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from family_jobs_test import TEXT, byte_tokenizer
from layouts_test import QWEN, qwen, write_weights

SECONDS = 300
GROUP = 32
# All four widths, within experts too; what is left goes by the budget.
PINS = {"*.layers.0.mlp.experts.0.*": 2, "*.layers.0.mlp.experts.1.*": 3, "*.layers.1.mlp.experts.*.down_proj": 3,
        "*.layers.1.self_attn.k_proj": 8, "*.layers.0.self_attn.o_proj": 8}


# --- readers -------------------------------------------------------------------------------------------------------------

def read_tensors(directory):
    """name -> (dtype, shape, bytes)"""
    data = (directory / "model.safetensors").read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    body = data[8 + size:]
    return {name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def numbers(tensor, code):
    return struct.unpack(f"<{len(tensor[2]) // struct.calcsize(code)}{code}", tensor[2])


def codes(words, bits):
    """The codes of a stream of words, lowest bit first."""
    stream = sum((word & 0xFFFFFFFF) << (32 * place) for place, word in enumerate(words))
    count = len(words) * 32 // bits
    return [stream >> (bits * i) & (1 << bits) - 1 for i in range(count)]


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def dequantized(column_codes, scales, zeros):
    """One output: a scale and a zero point for each group. The product is rounded to f32 as in the service."""
    return [f32(scales[i // GROUP] * (code - zeros[i // GROUP])) for i, code in enumerate(column_codes)]


def read_gptq(directory):
    """{module: (bits, [out][in])}; every scale, zero point and group index is checked."""
    tensors, weights = read_tensors(directory), {}
    config = json.loads((directory / "quantize_config.json").read_text())
    for name in tensors:
        if not name.endswith(".qweight"):
            continue
        module = name.removesuffix(".qweight")
        inputs = tensors[module + ".g_idx"][1][0]
        rows, outputs = tensors[name][1]
        bits = rows * 32 // inputs
        words, scales = numbers(tensors[name], "I"), numbers(tensors[module + ".scales"], "e")
        groups = inputs // GROUP
        assert tensors[module + ".scales"][:2] == ("F16", [groups, outputs])
        assert tensors[module + ".qzeros"][:2] == ("I32", [groups, outputs * bits // 32])
        assert min(scales) > 0, f"scales of {module}"
        zeros = [stored + 1 for stored in codes(numbers(tensors[module + ".qzeros"], "I"), bits)]
        middle, symmetric = 1 << bits - 1, rule_of(module, config).get("sym", True)
        assert set(zeros) == ({middle} if symmetric else {middle, middle - 1}), f"zero points of {module}"
        assert list(numbers(tensors[module + ".g_idx"], "i")) == [i // GROUP for i in range(inputs)]
        weights[module] = bits, [dequantized(codes(words[o::outputs], bits), scales[o::outputs], zeros[o::outputs])
                                 for o in range(outputs)]
    return weights


def read_compressed(directory):
    tensors, weights = read_tensors(directory), {}
    for name in tensors:
        if not name.endswith(".weight_packed"):
            continue
        module = name.removesuffix(".weight_packed")
        outputs, inputs = numbers(tensors[module + ".weight_shape"], "q")
        columns, groups = tensors[name][1][1], inputs // GROUP
        bits = columns * 32 // inputs
        assert tensors[name][:2] == ("I32", [outputs, columns])
        assert tensors[module + ".weight_scale"][:2] == ("F16", [outputs, groups])
        words, scales = numbers(tensors[name], "I"), numbers(tensors[module + ".weight_scale"], "e")
        zeros = [1 << bits - 1] * groups
        weights[module] = bits, [dequantized(codes(words[o * columns:(o + 1) * columns], bits),
                                             scales[o * groups:(o + 1) * groups], zeros) for o in range(outputs)]
    return weights


def rule_of(module, config):
    """The first `dynamic` rule that matches, or the fields for all."""
    for pattern, rule in config.get("dynamic", {}).items():
        if re.match(pattern[2:], module):
            return rule
    return config


def group_of(module, config):
    """Bits by the one group that has the module as a target; names win over the class."""
    def fits(entry):
        return re.match(entry[3:], module) if entry.startswith("re:") else entry == module
    assert not any(fits(entry) for entry in config["ignore"]), f"{module} is ignored"
    found = [group["weights"]["num_bits"] for group in config["config_groups"].values()
             if any(fits(target) for target in group["targets"])]
    assert len(found) <= 1, f"{module} is a target of {len(found)} groups"
    classes = [group["weights"]["num_bits"] for group in config["config_groups"].values() if "Linear" in group["targets"]]
    return (found or classes)[0]


# --- stories -------------------------------------------------------------------------------------------------------------

class Bench:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.text = directory / "text.txt"
        self.text.write_text((options.testdata / "tiny_heldout.txt").read_text()[:4000])

    def call(self, *arguments, program=None):
        command = [str(part) for part in (program or self.options.local, *arguments)]
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)

    def run(self, *arguments):
        result = self.call("--threads", "1", *arguments)
        assert result.returncode == 0, f"{arguments}: {result.stderr}"
        return result.stdout

    def score(self, directory):
        printed = json.loads(self.run("evaluate", "--model", directory, "--text", self.text, "--window", "64"))
        return printed["perplexity"]["value"]

    def verify(self, directory):
        result = self.call("artifact", "verify", directory, program=self.options.client)
        assert result.returncode == 0 and "is intact" in result.stdout, result.stdout + result.stderr

    def artifact(self):
        model, out = self.directory / "model", self.directory / "artifact"
        model.mkdir()
        (model / "config.json").write_text(json.dumps(QWEN))
        write_weights(model / "model.safetensors", qwen())
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(self.options.testdata / "tiny-qwen2-moe" / file, model / file)
        pins = [part for pattern, bits in PINS.items() for part in ("--pin", f"{pattern}={bits}")]
        self.run("quantize", "--model", model, "--out", out, "--budget", "4", "--widths", "2,3,4,8", "--heuristic", "random",
                 "--group-size", str(GROUP), "--samples", "4", "--sequence-length", "64", "--text", self.text,
                 "--window", "64", *pins)
        return out

    def export(self, artifact, form, profile):
        out = self.directory / f"{form}-{profile}"
        arguments = ("export", "--artifact", artifact, "--format", form, "--profile", profile)
        told = json.loads(self.run(*arguments, "--estimate"))
        result = json.loads(self.run(*arguments, "--out", out))
        assert told == {name: value for name, value in result.items() if name in told}
        assert result["weight_file_bytes"] == (out / "model.safetensors").stat().st_size
        assert not list(self.directory.glob("*.work")) and not list(self.directory.glob(".*"))
        return out, result


def check_export(bench, artifact, weights, form, profile):
    out, result = bench.export(artifact, form, profile)
    assert bool(result["warnings"]) == (form == "compressed-tensors" and profile != "sglang")
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    plan = json.loads((out / "quantmoe_plan.json").read_text())
    if form == "gptq":
        found, declared = read_gptq(out), lambda module, config: rule_of(module, config)["bits"]
        assert json.loads((out / "quantize_config.json").read_text()) == config
    else:
        found, declared = read_compressed(out), group_of
        assert not (out / "quantize_config.json").exists()
    planned = {linear["linear"]["name"]: linear for linear in plan["linears"]}
    assert found.keys() == weights.keys() == planned.keys()
    for module, (bits, values) in found.items():
        native, original = weights[module]
        assert values == original, f"{out.name}: {module} has other weights"
        assert bits >= native and bits == declared(module, config) == planned[module]["bits"], module
        assert planned[module]["native_bits"] <= native
    assert result["widened_linears"] == sum(found[module][0] != weights[module][0] for module in found)
    before, after = read_tensors(artifact), read_tensors(out)
    kept = [name for name in before if name.rpartition(".")[0] not in weights]
    assert kept and all(after[name] == before[name] for name in kept)
    for file in ("tokenizer.json", "quantmoe_scores.json"):
        assert (out / file).read_bytes() == (artifact / file).read_bytes()
    assert f"- {form}\n" in (out / "README.md").read_text()
    bench.verify(out)
    return out, {module: bits for module, (bits, _) in found.items()}


def joined(module, profile):
    """What a runtime loads as one."""
    if profile not in ("vllm", "sglang"):
        return module
    if ".experts." in module:
        return module.split(".experts.")[0] if profile == "vllm" else "experts"
    return re.sub(r"\.[qkv]_proj$", ".qkv", module)


def check_profile(widths, native, profile):
    groups = collections.defaultdict(set)
    for module, bits in widths.items():
        groups[joined(module, profile)].add(bits)
    assert all(len(group) == 1 for group in groups.values()), groups
    for group, (bits,) in groups.items():
        most = max(native[module][0] for module in widths if joined(module, profile) == group)
        allowed = (4, 8) if profile in ("vllm", "sglang") else (2, 3, 4, 8)
        assert bits == min(width for width in allowed if width >= most), group


def plain_story(bench, artifact, weights):
    """The weights that the reader here found, as a plain model, score as the artifact does."""
    plain = bench.directory / "plain"
    plain.mkdir()
    packed = (".qweight", ".qzeros", ".scales", ".g_idx")
    tensors = {name: tensor for name, tensor in read_tensors(artifact).items() if not name.endswith(packed)}
    for module, (_, values) in weights.items():
        content = array.array("f", [value for row in values for value in row]).tobytes()
        tensors[module + ".weight"] = "F32", [len(values), len(values[0])], content
    write_weights(plain / "model.safetensors", tensors)
    (plain / "config.json").write_text(json.dumps(QWEN))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(artifact / file, plain / file)
    assert bench.score(plain) == bench.score(artifact)


def mixtral_story(bench):
    """GPTQModel reads Mixtral's experts under its own names only; the weights are the same."""
    model, out, export = (bench.directory / name for name in ("mixtral", "mixtral-artifact", "mixtral-gptqmodel"))
    model.mkdir()
    for file in ("config.json", "model.safetensors"):
        shutil.copy(bench.options.testdata / "goldens" / "mixtral" / file, model / file)
    (model / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
    text = bench.directory / "mixtral.txt"
    text.write_text(TEXT)
    bench.run("quantize", "--model", model, "--out", out, "--budget", "4", "--heuristic", "random", "--group-size", str(GROUP),
              "--samples", "4", "--sequence-length", "64", "--calibration", text, "--no-evaluation")
    bench.run("export", out, "--out", export, "--profile", "gptqmodel")
    bench.verify(export)
    def renamed(name):
        for old, new in ((".block_sparse_moe.", ".mlp."), (".w1", ".gate_proj"), (".w3", ".up_proj"), (".w2", ".down_proj")):
            name = name.replace(old, new)
        return name
    before, after = read_gptq(out), read_gptq(export)
    assert after == {renamed(module): weight for module, weight in before.items()} and after != before
    assert {renamed(name) for name in read_tensors(out)} == set(read_tensors(export))
    config = json.loads((export / "quantize_config.json").read_text())
    assert all(rule_of(module, config)["bits"] == bits for module, (bits, _) in after.items())
    compressed = bench.directory / "mixtral-compressed"
    bench.run("export", "--artifact", out, "--out", compressed, "--format", "compressed-tensors")
    bench.verify(compressed)
    groups = json.loads((compressed / "config.json").read_text())["quantization_config"]
    assert read_compressed(compressed) == before
    for module, (bits, _) in before.items():
        assert group_of(module, groups) == group_of(renamed(module), groups) == bits, module


def refusal_story(bench, artifact):
    def refused(words, *arguments):
        result = bench.call("export", *arguments)
        assert result.returncode == 2, f"{arguments}: {result.returncode} {result.stderr}"
        assert all(word in result.stderr for word in words), f"{arguments}: {result.stderr}"
    out = bench.directory / "refused"
    refused(["--out", str(artifact)], "--artifact", artifact, "--out", artifact)
    refused(["--format", "gguf"], "--artifact", artifact, "--out", out, "--format", "gguf")
    refused(["--profile", "mlx", "sglang"], "--artifact", artifact, "--out", out, "--profile", "mlx")
    refused(["artifact.json"], "--artifact", bench.directory / "model", "--out", out)
    refused(["nowhere"], "--artifact", bench.directory / "nowhere", "--out", out)
    refused(["compressed-tensors", "config.json"], "--artifact", bench.directory / "compressed-tensors-any", "--out", out)
    for file in ("model.safetensors", "tokenizer.json", "quantmoe_plan.json"):
        copy = bench.directory / "damaged"
        shutil.copytree(artifact, copy)
        (copy / file).chmod(0o644)
        content = bytearray((copy / file).read_bytes())
        content[-2] ^= 1
        (copy / file).write_bytes(content)
        refused([file, "is damaged"], "--artifact", copy, "--out", out)
        result = bench.call("artifact", "verify", copy, program=bench.options.client)
        assert result.returncode == 1 and file in result.stdout, result.stdout
        (copy / file).unlink()
        refused([file], "--artifact", copy, "--out", out)
        shutil.rmtree(copy)
    assert not out.exists()


def all_stories(bench):
    artifact = bench.artifact()
    bench.verify(artifact)
    weights = read_gptq(artifact)
    assert {bits for bits, _ in weights.values()} == {2, 3, 4, 8}, "the artifact lacks a width"
    plain_story(bench, artifact, weights)
    for form, profile in (("gptq", "vllm"), ("gptq", "sglang"), ("compressed-tensors", "any"),
                          ("compressed-tensors", "vllm"), ("compressed-tensors", "sglang")):
        out, widths = check_export(bench, artifact, weights, form, profile)
        check_profile(widths, weights, profile)
        if form == "gptq":
            assert bench.score(out) == bench.score(artifact)
    same, _ = bench.export(artifact, "gptq", "any")
    assert (same / "model.safetensors").read_bytes() == (artifact / "model.safetensors").read_bytes()
    again, _ = check_export(bench, bench.directory / "gptq-vllm", read_gptq(bench.directory / "gptq-vllm"),
                            "compressed-tensors", "gptqmodel")
    vllm = bench.directory / "compressed-tensors-vllm"
    assert (again / "model.safetensors").read_bytes() == (vllm / "model.safetensors").read_bytes()
    refusal_story(bench, artifact)
    mixtral_story(bench)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for flag in ("--local", "--client", "--testdata"):
        parser.add_argument(flag, type=pathlib.Path, required=True)
    options = parser.parse_args()
    golden = codes([0x88FAC688, 0xC688FAC6, 0xFAC688FA], 3)
    assert golden == [0, 1, 2, 3, 4, 5, 6, 7] * 4, golden
    with tempfile.TemporaryDirectory() as directory:
        all_stories(Bench(options, pathlib.Path(directory)))
    print("every export holds the artifact's weights")


if __name__ == "__main__":
    sys.exit(main())
