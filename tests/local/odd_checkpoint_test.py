#!/usr/bin/env python3
"""Checkpoints as people have them: extra tensors of any dtype, pointers of Git LFS, shards in folders, numbers of Python that are
none in JSON, GPTQ with activation order. Each is published with what it carries, or refused by `inspect` and by a job alike, with
the file and the tensor, and never after work. What is computed is compared with weights that are decoded here."""
import argparse
import json
import math
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile

from family_jobs_test import byte_tokenizer, read_tensors

SECONDS = 300
REFUSED = 2
TEXT = "It was the best of times, it was the worst of times. " * 12
JOB = ("--budget", "4.5", "--group-size", "32", "--samples", "4", "--sequence-length", "64", "--no-evaluation", "--effort", "0")
QUERY = "model.layers.0.self_attn.q_proj"
EXPERT = "model.layers.1.block_sparse_moe.experts.3.w1"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
GROUP = 32


def write_tensors(path, tensors):
    """The inverse of read_tensors."""
    header, data = {"__metadata__": {"format": "pt"}}, bytearray()
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))


class Model:
    """A golden with a tokenizer, in memory; `write` makes a directory of it."""

    def __init__(self, golden, files=None):
        self.config = json.loads((golden / "config.json").read_text())
        self.tensors = read_tensors(golden / "model.safetensors")
        self.files = {"tokenizer.json": json.dumps(byte_tokenizer()), **(files or {})}
        self.config_text = None

    def write(self, directory):
        directory.mkdir()
        for name, text in {"config.json": self.config_text or json.dumps(self.config), **self.files}.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        write_tensors(directory / "model.safetensors", self.tensors)
        return directory


# --- GPTQ, from its definition (docs/formats.md, section 2) -------------------------------------------------------------

def pack(codes, bits):
    """A dense stream of codes, lowest bit first, in words of 32 bits."""
    stream = sum(code << (bits * i) for i, code in enumerate(codes))
    return [stream >> (32 * word) & 0xFFFFFFFF for word in range(len(codes) * bits // 32)]


def words(columns):
    """Columns of words to bytes of [words, columns]."""
    return b"".join(struct.pack(f"<{len(columns)}I", *row) for row in zip(*columns))


def quantized(values, rows, columns, bits, order, less, middle):
    """The tensors of a linear [rows, columns] and the weights that they mean. `order`: the group of each column. `middle`: all
    zero points are 2^(bits - 1)."""
    groups = max(order) + 1
    codes = [[0] * columns for _ in range(rows)]
    scales, zeros, weights = [[0.0] * rows for _ in range(groups)], [[0] * rows for _ in range(groups)], [0.0] * (rows * columns)
    for row in range(rows):
        for group in range(groups):
            members = [c for c in range(columns) if order[c] == group]
            largest = max(abs(values[row * columns + c]) for c in members) or 1.0
            scale = struct.unpack("<e", struct.pack("<e", 2 * largest / (2 ** bits - 1)))[0]
            zero = 2 ** (bits - 1) - (0 if middle else 1 + row % 2)
            scales[group][row], zeros[group][row] = scale, zero
            for c in members:
                code = min(max(round(values[row * columns + c] / scale) + zero, 0), 2 ** bits - 1)
                codes[row][c], weights[row * columns + c] = code, (code - zero) * scale
    zero_rows = [pack([zero - less for zero in group], bits) for group in zeros]
    tensors = {"qweight": ("I32", [columns * bits // 32, rows], words([pack(row, bits) for row in codes])),
               "qzeros": ("I32", [groups, rows * bits // 32], b"".join(struct.pack(f"<{len(z)}I", *z) for z in zero_rows)),
               "scales": ("F16", [groups, rows], b"".join(struct.pack(f"<{rows}e", *group) for group in scales)),
               "g_idx": ("I32", [columns], struct.pack(f"<{columns}i", *order))}
    return tensors, ("F32", [rows, columns], struct.pack(f"<{len(weights)}f", *weights))


def gptq(model, bits=4, act_order=False, version=1, middle=True, with_index=True):
    """The model in GPTQ form, and the same with the weights that it means."""
    generator, plain = random.Random(5), {}
    for name in [n for n in model.tensors if n.endswith(("_proj.weight", ".w1.weight", ".w2.weight", ".w3.weight"))]:
        dtype, (rows, columns), content = model.tensors.pop(name)
        values = struct.unpack(f"<{rows * columns}f", content)
        order = [c // GROUP for c in range(columns)]
        if act_order:
            generator.shuffle(order)
        made, plain[name] = quantized(values, rows, columns, bits, order, 2 - version, middle)
        for kind, tensor in made.items():
            if kind != "g_idx" or with_index:
                model.tensors[f"{name.removesuffix('weight')}{kind}"] = tensor
    model.config["quantization_config"] = {"quant_method": "gptq", "bits": bits, "group_size": GROUP, "desc_act": act_order,
                                           "sym": middle, "checkpoint_format": "gptq" if version == 1 else "gptq_v2"}
    return plain


# --- FP8, from its definition (E4M3 without infinities, OCP 8-bit floating point, section 5) ---------------------------

E4M3 = [(-1 if code & 128 else 1) * ((code & 7) / 8 * 2.0 ** -6 if code >> 3 & 15 == 0 else (1 + (code & 7) / 8) * 2.0 ** ((code >> 3 & 15) - 7))
        for code in range(256)]
SMALL_CODES = [code for code in range(256) if code & 127 != 127 and abs(E4M3[code]) < 8]


def fp8(model, block=32, pad=(0, 0), exponents=False, whole=False):
    """The linears in FP8 with factors that are powers of two, and the weights that they mean. `exponents`: F8_E8M0 factors."""
    generator, plain = random.Random(3), {}
    for name in [n for n in model.tensors if n.endswith(("_proj.weight", ".w1.weight", ".w2.weight", ".w3.weight"))]:
        rows, columns = model.tensors[name][1]
        codes = bytes(generator.choices(SMALL_CODES, k=rows * columns))
        high, wide = -(-rows // block) + pad[0], -(-columns // block) + pad[1]
        factors = [generator.randint(117, 121) for _ in range(1 if whole else high * wide)]
        at = (lambda r, c: factors[0]) if whole else (lambda r, c: factors[r // block * wide + c // block])
        values = [E4M3[codes[r * columns + c]] * 2.0 ** (at(r, c) - 127) for r in range(rows) for c in range(columns)]
        plain[name] = ("F32", [rows, columns], struct.pack(f"<{len(values)}f", *values))
        model.tensors[name] = ("F8_E4M3", [rows, columns], codes)
        shape = [] if whole else [high, wide]
        model.tensors[f"{name}_scale_inv"] = (("F8_E8M0", shape, bytes(factors)) if exponents else
                                              ("F32", shape, struct.pack(f"<{len(factors)}f", *(2.0 ** (f - 127) for f in factors))))
    model.config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                                           "weight_block_size": None if whole else [block, block]}
    return plain


class Bench:
    def __init__(self, options, scratch):
        self.local, self.goldens, self.scratch, self.failures, self.made = options.local, options.testdata / "goldens", scratch, [], 0
        self.text, self.ids = scratch / "text.txt", scratch / "ids.json"
        self.text.write_text(TEXT)
        self.ids.write_text(json.dumps([[(7 * i + 3) % 256 for i in range(48)]]))

    def run(self, *arguments):
        command = [str(part) for part in (self.local, "--threads", "1", *arguments)]
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)

    def check(self, name, condition, what):
        if not condition:
            self.failures.append(f"{name}: {what}")

    def place(self):
        self.made += 1
        return self.scratch / f"m{self.made}"

    def model(self, golden="mixtral"):
        return Model(self.goldens / golden)

    def problems(self, name, directory):
        result = self.run("inspect", directory)
        self.check(name, result.returncode == 0, f"inspect ends with {result.returncode}: {result.stderr}")
        return json.loads(result.stdout)["problems"] if result.returncode == 0 else []

    def quantize(self, directory):
        out = self.place()
        return self.run("quantize", "--model", directory, "--out", out, *JOB, "--calibration", self.text), out

    def carried(self, name, directory, tensors):
        """The model is published and every one of `tensors` is in the artifact, byte for byte."""
        self.check(name, not self.problems(name, directory), "inspect finds problems")
        result, out = self.quantize(directory)
        self.check(name, result.returncode == 0, f"quantize ends with {result.returncode}: {result.stderr[-500:]}")
        if result.returncode != 0:
            return None
        published = read_tensors(out / "model.safetensors")
        for tensor, content in tensors.items():
            self.check(name, published.get(tensor) == content, f"{tensor} is {published.get(tensor, ('lost',))[:2]}")
        return out

    def refused(self, name, directory, words, never=()):
        """inspect lists it, and a job does not start."""
        problems = self.problems(name, directory)
        for word in words:
            self.check(name, any(word in problem for problem in problems), f"no problem has {word!r}: {problems[:4]}")
        for word in never:
            self.check(name, not any(word in problem for problem in problems), f"a problem has {word!r}: {problems[:4]}")
        result, out = self.quantize(directory)
        self.check(name, result.returncode == REFUSED and "[1/" not in result.stderr,
                   f"the job ends with {result.returncode}: {result.stderr[-500:]}")
        self.check(name, any(word in result.stderr for word in words), f"the job says another thing: {result.stderr[-500:]}")

    def refused_config(self, name, directory, words, reason="MODEL_INVALID"):
        """Every command names the field."""
        for command in (("inspect", directory), ("evaluate", "--model", directory, "--text", self.text),
                        ("logits", "--model", directory, "--input-ids", self.ids, "--out", self.scratch / "never")):
            result = self.run(*command)
            self.check(name, result.returncode == REFUSED, f"{command[0]} ends with {result.returncode}: {result.stderr}")
            for word in (f"reason: {reason}", *words):
                self.check(name, word in result.stderr, f"{command[0]} does not name {word!r}: {result.stderr}")
            self.check(name, "json.exception" not in result.stderr, f"{command[0]} shows an exception: {result.stderr}")

    def logits(self, name, directory):
        out = self.place()
        result = self.run("logits", "--model", directory, "--input-ids", self.ids, "--out", out)
        self.check(name, result.returncode == 0, f"logits ends with {result.returncode}: {result.stderr}")
        return read_tensors(out)["logits"][2] if result.returncode == 0 else None

    # --- the cases

    def extra_tensors(self):
        """Whatever stands beside a linear or elsewhere is carried."""
        extra = {f"{QUERY}.input_scale": ("F32", [1], struct.pack("<f", 0.5)),
                 f"{QUERY}.weight_scale": ("F16", [1], struct.pack("<e", math.nan)),
                 "model.layers.0.self_attn.k_proj.k_scale": ("F64", [], struct.pack("<d", 0.5)),
                 f"{EXPERT}.weight_packed": ("I8", [3], b"\x01\x02\x03"),
                 "model.layers.0.self_attn.v_proj.v_scale": ("F8_E8M0", [2], b"\x7f\x80"),
                 "rotary.freqs": ("C64", [2], bytes(range(16))), "left.u16": ("U16", [2], b"abcd"),
                 "left.bool": ("BOOL", [2], b"\x01\x00"), "left.u8": ("U8", [0], b""), "left.f8.weight": ("F8_E4M3", [2, 2], b"\x01\x02\x03\x7f"),
                 "left.f4": ("F4", [4], b"\x12\x34"), "left.f9": ("F9_MARTIAN", [2, 3], b"12345"),
                 "left.inf": ("F32", [1], struct.pack("<f", -math.inf)), "lone": ("I32", [1], b"1234"),
                 "left.weight_scale_inv": ("I16", [1], b"xy"), "left.weight": ("I16", [1], b"xy")}
        model = self.model()
        model.tensors.update(extra)
        self.carried("extra tensors", model.write(self.place()), extra)

    def clashing_tensors(self):
        for suffix, dtype in (("scales", "F16"), ("qweight", "I32"), ("qzeros", "I32"), ("g_idx", "I32")):
            model = self.model()
            model.tensors[f"{QUERY}.{suffix}"] = (dtype, [1], bytes(4 if dtype == "I32" else 2))
            self.refused(f"clash {suffix}", model.write(self.place()), [f"{QUERY}.{suffix}"])

    def lfs_pointers(self):
        for file in ("model.safetensors", "tokenizer.json"):
            directory = self.model().write(self.place())
            (directory / file).write_text(POINTER)
            self.refused(f"pointer {file}", directory, [f"{file}: is a Git LFS pointer"], never=["index.json"])
        for file in ("config.json", "model.safetensors.index.json"):
            directory = self.model().write(self.place())
            if file != "config.json":
                (directory / "model.safetensors").rename(directory / "model-1.safetensors")
            (directory / file).write_text(POINTER)
            result = self.run("inspect", directory)
            self.check(file, result.returncode == REFUSED and f"{file}: is a Git LFS pointer" in result.stderr, result.stderr)

    def damaged_single_file(self):
        for damage in (lambda data: data[:-7], lambda data: data[:5], lambda data: b""):
            directory = self.model().write(self.place())
            path = directory / "model.safetensors"
            path.write_bytes(damage(path.read_bytes()))
            self.refused("damaged file", directory, ["model.safetensors: "], never=["index.json", "is missing"])

    def missing_tokenizer(self):
        model = self.model()
        del model.files["tokenizer.json"]
        self.refused("no tokenizer", model.write(self.place()), ["tokenizer.json is missing"])

    def unreadable_tokenizer(self):
        model = self.model()
        model.files["tokenizer.json"] = json.dumps({**byte_tokenizer(), "model": {"type": "Martian"}})
        problems = self.problems("martian tokenizer", model.write(self.place()))
        self.check("martian tokenizer", any("Martian" in problem for problem in problems), problems)

    def shards_in_folders(self):
        model = self.model()
        plain = self.logits("plain", model.write(self.place()))
        directory = self.model().write(self.place())
        (directory / "model.safetensors").unlink()
        names, places = list(model.tensors), {}
        for i, file in enumerate(("./first.safetensors", "weights/second.safetensors", "weights/.//deep/third.safetensors")):
            path = directory / file
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, {name: model.tensors[name] for name in names[i::3]})
            places.update({name: file for name in names[i::3]})
        index = directory / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": places}))
        self.check("folders", self.logits("folders", directory) == plain, "other logits than with one file")
        self.carried("folders", directory, {})
        for outside in ("../out.safetensors", "weights/../../out.safetensors", "/etc/hostname", ".", ""):
            index.write_text(json.dumps({"weight_map": {**places, names[0]: outside}}))
            result = self.run("inspect", directory)
            self.check(outside, result.returncode == REFUSED and names[0] in result.stderr and "is no file of the model" in result.stderr,
                       f"{result.returncode}: {result.stderr}")

    def numbers_of_python(self):
        model = self.model()
        text = json.dumps({**model.config, "router_z_loss": math.inf, "limits": [0.0, -math.inf, math.nan]})
        model.config_text = text
        out = self.carried("infinity", model.write(self.place()), {})
        if out is not None:
            config = json.loads((out / "config.json").read_text())  # Python reads its own words
            self.check("infinity", config["router_z_loss"] == math.inf and config["limits"][1] == -math.inf, config)
        model.config_text = json.dumps({**model.config, "rms_norm_eps": math.inf})
        self.refused_config("infinite epsilon", model.write(self.place()), ["rms_norm_eps", "Infinity"])

    def quantization_configs(self):
        for value, reason, says in (({"quant_method": None}, "MODEL_INVALID", "quant_method"),
                                    ({"quant_method": 5}, "MODEL_INVALID", "quant_method"), ({}, "MODEL_INVALID", "quant_method"),
                                    ([], "MODEL_INVALID", "quantization_config"), (7, "MODEL_INVALID", "quantization_config"),
                                    ({"quant_method": "awq"}, "MODEL_UNSUPPORTED", "awq")):
            model = self.model()
            model.config["quantization_config"] = value
            self.refused_config(f"quantization_config {value}", model.write(self.place()), [says], reason)

    def tied_heads(self):
        model = self.model("llama_tied")
        embedding = model.tensors["model.embed_tokens.weight"]
        model.tensors["lm_head.weight"] = embedding
        self.check("same head", not self.problems("same head", model.write(self.place())), "a head that is the embedding is refused")
        model.tensors["lm_head.weight"] = (*embedding[:2], embedding[2][:-4] + struct.pack("<f", 3.0))
        self.refused("other head", model.write(self.place()), ["lm_head.weight"])

    def fp8_sources(self):
        """The weights of each form are those of its definition, and a job publishes it."""
        for name, options in (("factors", {}), ("exponents", {"exponents": True}), ("padding", {"pad": (1, 1), "exponents": True}),
                              ("padded columns", {"pad": (0, 1)}), ("a factor", {"whole": True}), ("an exponent", {"whole": True, "exponents": True})):
            model, reference = self.model(), self.model()
            reference.tensors.update(fp8(model, **options))
            directory = model.write(self.place())
            self.check(f"fp8 {name}", self.logits(name, directory) == self.logits(name, reference.write(self.place())),
                       "other logits than of the weights that it means")
            if name == "padding":
                self.carried(f"fp8 {name}", directory, {})

    def fp8_without_factors(self):
        """Also of a layer that is not run, which an artifact decodes."""
        for name in (f"{QUERY}.weight", "model.layers.9.eh_proj.weight"):
            model = self.model()
            fp8(model)
            model.tensors[name] = ("F8_E4M3", [64, 64], bytes(64 * 64))
            model.tensors.pop(f"{name}_scale_inv", None)
            self.refused(f"no factors of {name}", model.write(self.place()), [f"{name}_scale_inv"])

    def gptq_sources(self):
        """The weights of each form are those of its definition."""
        for name, options in (("plain", {}), ("activation order", {"act_order": True}), ("version 2", {"version": 2, "act_order": True}),
                              ("asymmetric", {"middle": False, "act_order": True}), ("3 bits", {"bits": 3, "act_order": True}),
                              ("without index", {"with_index": False})):
            model = self.model()
            plain = gptq(model, **options)
            reference = self.model()
            reference.tensors.update(plain)
            expected = self.logits(name, reference.write(self.place()))
            found = self.logits(name, model.write(self.place()))
            self.check(f"gptq {name}", found is not None and found == expected, "other logits than of the weights that it means")

    def spoilt_gptq(self):
        index, codes = f"{QUERY}.g_idx", f"{QUERY}.qweight"

        def tensor(name, value):
            return lambda model: model.tensors.update({name: value})

        def config(**changes):
            return lambda model: model.config["quantization_config"].update(changes)

        rows = (("group beyond", tensor(index, ("I32", [64], struct.pack("<64i", *[5] * 64))), index),
                ("negative group", tensor(index, ("I32", [64], struct.pack("<64i", *[-1] * 64))), index),
                ("short index", tensor(index, ("I32", [32], bytes(128))), index),
                ("wide index", tensor(index, ("I64", [64], bytes(512))), index),
                ("no index", lambda model: model.tensors.pop(index), index),
                ("weight too", tensor(f"{QUERY}.weight", ("F32", [64, 64], bytes(64 * 64 * 4))), f"{QUERY}.weight"),
                ("zero points", lambda model: model.tensors.update({f"{QUERY}.qzeros": ("I32", [2, 8], bytes(64))}), f"{QUERY}.qzeros"),
                ("other bits", config(bits=8), codes), ("other group", config(group_size=64), f"{QUERY}.scales"),
                ("no scales", lambda model: model.tensors.pop(f"{QUERY}.scales"), f"{QUERY}.scales"),
                ("planar", config(checkpoint_format="gptq_p"), "gptq_p"), ("bits as text", config(bits="4"), "bits"),
                ("width 5", config(bits=5), "bits"), ("group 0", config(group_size=0), "group_size"),
                ("packing", config(pack_dtype="int8"), "int8"), ("head", config(lm_head=True), "lm_head"),
                ("rules", config(dynamic={"+:.*": {"bits": "x"}}), "dynamic"), ("format null", config(checkpoint_format=5), "checkpoint_format"),
                ("pattern", config(dynamic={"+:(": {"bits": 4}}), "dynamic"))
        for name, spoil, says in rows:
            model = self.model()
            gptq(model, act_order=True)
            spoil(model)
            directory = model.write(self.place())
            for command in (("logits", "--model", directory, "--input-ids", self.ids, "--out", self.scratch / "never"),
                            ("evaluate", "--model", directory, "--text", self.text, "--window", "64")):
                result = self.run(*command)
                self.check(f"gptq {name}", result.returncode == REFUSED and says in result.stderr,
                           f"{command[0]} ends with {result.returncode}: {result.stderr}")

    def gptq_rules(self):
        """A rule of `dynamic` tells the width of what it matches."""
        model = self.model()
        reference, wide = self.model(), self.model()
        plain, plain_wide = gptq(model), gptq(wide, bits=8)
        for name in [n for n in model.tensors if n.startswith(QUERY)]:
            model.tensors[name] = wide.tensors[name]
        plain[f"{QUERY}.weight"] = plain_wide[f"{QUERY}.weight"]
        model.config["quantization_config"]["dynamic"] = {r"+:^model\.layers\.0\.self_attn\.q_proj$": {"bits": 8, "group_size": GROUP}}
        reference.tensors.update(plain)
        self.check("gptq rules", self.logits("rules", model.write(self.place())) == self.logits("rules", reference.write(self.place())),
                   "other logits than of the weights that it means")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", type=pathlib.Path, required=True)
    parser.add_argument("--testdata", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    options.testdata = options.testdata.resolve()
    cases = ("extra_tensors", "clashing_tensors", "lfs_pointers", "damaged_single_file", "missing_tokenizer", "unreadable_tokenizer",
             "shards_in_folders", "numbers_of_python", "quantization_configs", "tied_heads", "fp8_sources", "fp8_without_factors",
             "gptq_sources", "spoilt_gptq", "gptq_rules")
    with tempfile.TemporaryDirectory(prefix="quantmoe-odd-checkpoint-") as scratch:
        bench = Bench(options, pathlib.Path(scratch))
        for case in cases:
            if options.only in case:
                getattr(bench, case)()
    print("\n".join(bench.failures) or f"{bench.made} checkpoints and outputs of {len(cases)} kinds")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
