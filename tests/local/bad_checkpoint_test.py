#!/usr/bin/env python3
"""Every golden with one thing broken gives an error that names tensor or field and file, whatever the family. `inspect` lists all
that is wrong with tensors and files; what config.json gets wrong and what cannot be read is refused. One table: a row a way to
break a checkpoint."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Callable

from family_jobs_test import byte_tokenizer

SECONDS = 120
REFUSED = 2
NAN = {"F32": struct.pack("<f", float("nan")), "F16": b"\x00\x7e", "BF16": b"\xc0\x7f"}
EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
OUTPUT = "self_attn.o_proj.weight"


class Copy:
    """A golden in a directory of its own, to break."""

    def __init__(self, golden, directory):
        self.directory = directory
        directory.mkdir()
        for path in golden.iterdir():
            if path.name != "golden.safetensors":
                (directory / path.name).symlink_to(path)
        (directory / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
        self.config = json.loads((golden / "config.json").read_text())
        self.text = self.config.get("text_config", self.config)  # what says how the language model computes
        self.files = sorted(path.name for path in golden.glob("model*.safetensors"))

    def replace(self, name, content):
        (self.directory / name).unlink()
        (self.directory / name).write_bytes(content)

    def write_config(self, **changes):
        self.config.update(changes)
        self.replace("config.json", json.dumps(self.config).encode())

    def write_text(self, **changes):
        self.text.update(changes)
        self.write_config()

    def read(self, file):
        content = (self.directory / file).read_bytes()
        size = struct.unpack_from("<Q", content)[0]
        return json.loads(content[8:8 + size]), content[8 + size:]

    def write(self, file, header, data):
        text = json.dumps(header).encode()
        self.replace(file, struct.pack("<Q", len(text)) + text + data)

    def find(self, ending):
        """The file and the name of the tensor of layer 1 that ends so."""
        return next((file, name) for file in self.files for name in self.read(file)[0] if name.endswith(f".layers.1.{ending}"))

    def expert(self):
        """The same for a weight of experts of layer 1, in whatever layout."""
        found = [(file, name) for file in self.files for name, entry in self.read(file)[0].items()
                 if ("expert" in name or "block_sparse_moe" in name) and len(entry.get("shape", [])) > 1 and "shared" not in name
                 and ".layers.1." in name]
        return max(found, key=lambda pair: pair[1], default=None)

    @property
    def routed(self):
        return next((key for key in EXPERT_COUNTS if self.text.get(key)), None)


# --- ways to break it: each returns the texts that the error must have, or None where it does not apply -------------------

def missing(copy, target):
    file, name = target
    header, data = copy.read(file)
    entry = header.pop(name)
    header["left.over"] = entry  # the data stays covered
    copy.write(file, header, data)
    return [file if len(copy.files) == 1 else "model.safetensors.index.json", name, "is missing"]


def missing_tensor(copy):
    return missing(copy, copy.find(OUTPUT))


def missing_norm(copy):
    return missing(copy, copy.find("post_attention_layernorm.weight"))


def missing_expert(copy):
    target = copy.expert()
    if target is None:
        return None
    file = missing(copy, target)[0]
    return [file, "layers.1.", "is missing"]  # a fused tensor is missed as the first linear that it would hold


def wrong_shape(copy):
    file, name = copy.find(OUTPUT)
    header, data = copy.read(file)
    rows, columns = header[name]["shape"]
    header[name]["shape"] = [rows // 2, columns * 2]
    copy.write(file, header, data)
    return [file, name, f"[{rows // 2}, {columns * 2}]", f"[{rows}, {columns}]"]


def wrong_expert_shape(copy):
    target = copy.expert()
    if target is None:
        return None
    file, name = target
    header, data = copy.read(file)
    shape = header[name]["shape"]
    shape[-1], shape[-2] = shape[-1] * 2, shape[-2] // 2
    copy.write(file, header, data)
    return [file, name, ", ".join(map(str, shape))]


def wrong_dtype(copy):
    file, name = copy.find(OUTPUT)
    header, data = copy.read(file)
    header[name]["dtype"] = {4: "I32", 2: "I16"}[2 if header[name]["dtype"] != "F32" else 4]
    copy.write(file, header, data)
    return [file, name, header[name]["dtype"]]


def lost_shard(copy):
    """Two tensors in a shard that is not there, and one that its shard lacks; all is told."""
    places = {name: file for file in copy.files for name in copy.read(file)[0] if name != "__metadata__"}
    names = sorted(places)
    for name in names[:2]:
        places[name] = "model-99999.safetensors"
    if copy.files == ["model.safetensors"]:
        os.rename(copy.directory / "model.safetensors", copy.directory / "model-1.safetensors")
        places = {name: "model-1.safetensors" if file == "model.safetensors" else file for name, file in places.items()}
    absent = places["left.out.weight"] = places[names[-1]]
    (copy.directory / "model.safetensors.index.json").unlink(missing_ok=True)
    (copy.directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return ["model.safetensors.index.json", "model-99999.safetensors", f"left.out.weight is missing from {absent}"]


def experts_count(copy):
    if copy.routed is None:
        return None
    count = copy.text[copy.routed]
    copy.write_text(**{copy.routed: count * 2})
    return ["tensor", "model.safetensors", "layers."]


def experts_fewer(copy):
    if copy.routed is None:
        return None
    groups = {key: 1 for key in ("n_group", "topk_group") if copy.text.get(key)}
    copy.write_text(**groups, **{copy.routed: copy.text[copy.routed] // 2})
    return ["tensor", "model", "layers."]


def unknown_rope(copy):
    copy.write_text(rope_scaling={"type": "martian", "factor": 2.0})
    return ["config.json", "rope_scaling", "martian"]


def unsupported_activation(copy):
    copy.write_text(hidden_act="martian")
    return ["config.json", "hidden_act", "martian"]


def contradicting_architecture(copy):
    other = "OlmoeForCausalLM" if copy.config["model_type"] != "olmoe" else "MixtralForCausalLM"
    copy.write_config(architectures=[other])
    return ["config.json", "architectures", other, copy.config["model_type"]]


def unknown_dtype(copy):
    key = "dtype" if "dtype" in copy.text else "torch_dtype"
    copy.write_text(**{key: "martian"})
    return ["config.json", key, "martian"]


def spoil_values(copy, target):
    file, name = target
    header, data = copy.read(file)
    begin, value = header[name]["data_offsets"][0], NAN[header[name]["dtype"]]
    copy.write(file, header, data[:begin] + value + data[begin + len(value):])
    return [file, name, "NaN"]


def nan_weight(copy):
    return spoil_values(copy, copy.find(OUTPUT))


def nan_expert(copy):
    """In every expert of the layer: which of them tokens reach is the router's choice."""
    target = copy.expert()
    if target is None:
        return None
    if not re.search(r"\.experts\.\d+\.", target[1]):
        return spoil_values(copy, target)
    suffix = re.split(r"\.experts\.\d+", target[1])[1]
    siblings = [(file, name) for file in copy.files for name in copy.read(file)[0] if ".layers.1." in name and "expert" in name
                and "shared" not in name and name.endswith(suffix)]
    for sibling in siblings:
        spoil_values(copy, sibling)
    return [target[0], suffix, "NaN"]


@dataclass
class Row:
    breaks: Callable
    by: str  # "problems" of inspect, "inspect" that is refused, or "logits" that are
    reason: str = "MODEL_INVALID"


TABLE = [Row(way, "problems") for way in (missing_tensor, missing_norm, missing_expert, wrong_shape, wrong_expert_shape, wrong_dtype,
                                          lost_shard, experts_count, experts_fewer)] + [
    Row(missing_tensor, "logits"), Row(wrong_expert_shape, "logits"), Row(lost_shard, "logits"),
    Row(unknown_rope, "inspect", "MODEL_UNSUPPORTED"), Row(unsupported_activation, "inspect", "MODEL_UNSUPPORTED"),
    Row(contradicting_architecture, "inspect", "MODEL_UNSUPPORTED"), Row(unknown_dtype, "inspect"),
    Row(nan_weight, "logits"), Row(nan_expert, "logits")]
COMPONENTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder", "model")


class Bench:
    def __init__(self, local, scratch):
        self.local, self.scratch, self.failures = local, scratch, []
        self.ids, self.text = scratch / "ids.json", scratch / "text.txt"
        self.ids.write_text(json.dumps([[(step * i + step) % 60 for i in range(60)] for step in (7, 11, 13, 17)]))
        self.text.write_text("some text")

    def run(self, *arguments):
        command = [str(part) for part in (self.local, "--threads", "1", *arguments)]
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)

    def check(self, name, condition, what):
        if not condition:
            self.failures.append(f"{name}: {what}")

    def check_refused(self, name, result, reason, words):
        self.check(name, result.returncode == REFUSED, f"exit {result.returncode}: {result.stderr}")
        for word in (f"reason: {reason}", *words):
            self.check(name, word in result.stderr, f"does not name {word!r}: {result.stderr}")

    def attempt(self, golden, row):
        """Logits of a broken copy are refused."""
        name = f"{golden.name} {row.breaks.__name__} logits"
        copy = Copy(golden, self.scratch / name.replace(" ", "."))
        words = row.breaks(copy)
        if words is None:
            return
        result = self.run("logits", "--model", copy.directory, "--input-ids", self.ids, "--out", copy.directory / "logits")
        # The first problem ends it; with a lost shard either may be the first, both are the index's.
        self.check_refused(name, result, row.reason, words[:1] if row.breaks is lost_shard else words)
        shutil.rmtree(copy.directory)

    def inspect(self, golden):
        """The golden itself and all its broken copies, by one command."""
        sound, broken = Copy(golden, self.scratch / f"{golden.name}.sound").directory, []
        for row in TABLE:
            if row.by != "logits":
                copy = Copy(golden, self.scratch / f"{golden.name}.{row.breaks.__name__}")
                broken += [(row, copy.directory, words) for words in [row.breaks(copy)] if words is not None]
        result = self.run("inspect", sound, *[directory for _, directory, _ in broken])
        self.check(golden.name, result.returncode == REFUSED, f"exit {result.returncode}: {result.stderr}")
        documents = json.loads(result.stdout)
        # Some tiny widths are divided by no group size, or cannot be packed.
        problems = documents[str(sound)].get("problems", [documents[str(sound)]])
        self.check(golden.name, all("group size" in problem or "not a multiple of 32" in problem for problem in problems),
                   f"is not sound: {problems}")
        for row, directory, words in broken:
            self.check_document(directory.name, documents[str(directory)], row, words)
            shutil.rmtree(directory)

    def check_document(self, name, document, row, words):
        error, problems = document.get("error", ""), document.get("problems", [])
        if row.by == "inspect":
            words, problems = [f"reason: {row.reason}", *words], [error]
        for word in words:
            self.check(name, any(word in problem for problem in problems), f"no problem has {word!r}: {problems[:5]} {error}")

    def tokenizer(self, source, component):
        directory = self.scratch / f"{source.name}.{component}"
        directory.mkdir()
        tree = json.loads((source / "tokenizer.json").read_text())
        tree[component] = {**(tree.get(component) or {}), "type": "Martian"}
        (directory / "tokenizer.json").write_text(json.dumps(tree))
        result = self.run("tokenize", "--model", directory, "--text", self.text)
        self.check_refused(directory.name, result, "TOKENIZER_UNSUPPORTED", ["tokenizer.json", component, "Martian"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", type=pathlib.Path, required=True)
    parser.add_argument("--testdata", type=pathlib.Path, required=True)
    options = parser.parse_args()
    testdata = options.testdata.resolve()
    goldens = sorted(path for path in (testdata / "goldens").iterdir() if path.is_dir())
    tokenizers = sorted(path for path in (testdata / "tokenizers").iterdir() if (path / "tokenizer.json").exists())
    with tempfile.TemporaryDirectory(prefix="quantmoe-bad-checkpoint-") as scratch:
        bench = Bench(options.local, pathlib.Path(scratch))
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            work = [pool.submit(bench.inspect, golden) for golden in goldens]
            work += [pool.submit(bench.attempt, golden, row) for golden in goldens for row in TABLE if row.by == "logits"]
            work += [pool.submit(bench.tokenizer, source, COMPONENTS[i % len(COMPONENTS)]) for i, source in enumerate(tokenizers)]
            for done in work:
                done.result()
    print("\n".join(bench.failures) or f"{len(goldens)} goldens broken in {len(TABLE)} ways, and {len(tokenizers)} tokenizers")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
