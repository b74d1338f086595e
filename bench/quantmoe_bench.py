#!/usr/bin/env python3
"""The comparison of QuantMoE-Bench (arXiv 2406.08155) on one model, budget-matched: the table of docs/quantmoe-bench.md.

  python bench/quantmoe_bench.py --quantmoe build/release/local/quantmoe-local --model MODEL_DIR --budgets 2.5,3 --out DIR -- --group-size 64

Every claim of the paper is a plan against controls of the same average bits: experts at 2 bits and raised to 4, the rest at 4, as there. All
plans take their weights from one solve (--out keeps it, so a stopped run goes on). What follows `--` goes to `quantmoe-local quantize`,
except --text, --window, --add-bos and --no-add-bos, which are given before it because they go to `evaluate`.
Perplexities come with the difference from the control (the mean of its seeds) and its 95 % interval, by a paired bootstrap over windows.
"""
import argparse
import json
import math
import pathlib
import random
import shutil
import subprocess

DRAWS = 10_000
SEEDS = (1, 2, 3)


class Model:
    """Plans of one model: quantizes and measures each once."""

    def __init__(self, options):
        self.options = options
        self.out = pathlib.Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)

    def measure(self, name, heuristic, bits):
        """{"bits": average, "bytes": of the weight files, "windows": [[log likelihood, tokens], ...]}."""
        kept = self.out / f"{name}-{bits}.json"
        if not kept.exists():
            artifact = self.out / "artifact"
            label, *params = heuristic.split(":")
            self.run("quantize", "--model", self.options.model, "--out", artifact, "--overwrite", "--work-dir", self.out / "work", "--no-evaluation",
                     "--bits", bits, "--heuristic", label, *sum((["--param", p] for p in params), []), *self.options.quantize)
            plan = json.loads((artifact / "quantmoe_plan.json").read_text())
            result = {"bits": plan["average_bits"], "bytes": plan["weight_file_bytes"], "windows": self.windows(artifact)}
            kept.write_text(json.dumps(result))
            shutil.rmtree(artifact)
        return json.loads(kept.read_text())

    def original(self):
        kept = self.out / "original.json"
        if not kept.exists():
            kept.write_text(json.dumps(self.windows(self.options.model)))
        return json.loads(kept.read_text())

    def windows(self, folder):
        items = self.out / "items.jsonl"
        flags = ["--text", self.options.text, "--window", self.options.window, *(["--add-bos"] if self.options.add_bos else ["--no-add-bos"])]
        self.run("evaluate", "--model", folder, "--items", items, *flags)
        rows = [json.loads(line) for line in items.read_text().splitlines()]
        return [[sum(row["log_likelihoods"]), sum(row["tokens"])] for row in rows if row["task"] == "perplexity"]

    def run(self, *arguments):
        done = subprocess.run([self.options.quantmoe, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"quantmoe-local {' '.join(map(str, arguments))}\n{done.stderr[-2000:]}")


def perplexity(windows):
    return math.exp(-sum(w[0] for w in windows) / sum(w[1] for w in windows))


def mean_windows(results):
    """Windows whose log likelihoods are the means over `results`: the geometric mean of their perplexities."""
    return [[sum(r["windows"][i][0] for r in results) / len(results), w[1]] for i, w in enumerate(results[0]["windows"])]


def difference(ours, theirs):
    """Perplexity of ours minus theirs: (difference, low, high) of 95 %."""
    draw = random.Random(1)
    drawn = []
    for _ in range(DRAWS):
        rows = draw.choices(range(len(ours)), k=len(ours))
        drawn.append(perplexity([ours[i] for i in rows]) - perplexity([theirs[i] for i in rows]))
    drawn.sort()
    return perplexity(ours) - perplexity(theirs), drawn[int(0.025 * DRAWS)], drawn[int(0.975 * DRAWS)]


def verdict(low, high):
    return "holds" if high < 0 else "fails" if low > 0 else "undecided"


class Table:
    def __init__(self, model):
        self.model = model
        self.reference = None
        print("| claim | plan | bits | perplexity | control | its perplexity | difference, 95 % | |\n|---|---|---|---|---|---|---|---|")

    def claim(self, what, name, heuristic, bits, control_name, controls):
        """A row: a plan against the mean of its controls, all at the bits that the plan takes (or at `bits`)."""
        ours = self.model.measure(name, heuristic, bits)
        spent = bits if isinstance(bits, float) and bits < 8 else math.ceil(ours["bits"] * 1e4) / 1e4
        results = [self.model.measure(f"{control_name}-{i}", control, spent) for i, control in enumerate(controls)]
        theirs = mean_windows(results)
        change, low, high = difference(ours["windows"], theirs)
        measured = ", ".join(f"{perplexity(r['windows']):.2f}" for r in results)
        print(f"| {what} | {name} | {ours['bits']:.3f} | {perplexity(ours['windows']):.2f} | {control_name} | {measured} | "
              f"{change:+.2f} [{low:+.2f}, {high:+.2f}] | {verdict(low, high)} |", flush=True)


def randoms(unit, *more):
    return [":".join(["random", f"unit={unit}", f"seed={seed}", *more]) for seed in SEEDS]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quantmoe", required=True, help="the program quantmoe-local")
    parser.add_argument("--model", required=True)
    parser.add_argument("--budgets", default="2.5,3", help="average bits of the matched comparisons")
    parser.add_argument("--text", required=True, help="text of the perplexity")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--add-bos", action="store_true")
    parser.add_argument("--shared", action="store_true", help="the model has shared experts")
    parser.add_argument("--out", required=True)
    parser.add_argument("quantize", nargs="*", help="flags of quantmoe-local quantize, after --")
    options = parser.parse_args()
    model = Model(options)
    print(f"original: {perplexity(model.original()):.3f}")
    for bits in (2.0, 3.0, 4.0):
        print(f"uniform {bits:.0f}: {perplexity(model.measure('uniform', 'uniform', bits)['windows']):.3f}", flush=True)
    table = Table(model)
    paper = "floor=2:raise=4:others=4"
    everything = 8
    table.claim("attention before experts", "attention 4", "first-blocks:floor=2:raise=4:count=0:others=2:attention=4", everything,
                "random experts 4, attention 2", randoms("expert", "floor=2:raise=4:others=2"))
    if options.shared:
        table.claim("shared before routed", "attention, shared 4", f"first-blocks:{paper}:count=0", everything,
                    "attention, random experts 4", randoms("expert", f"{paper}:shared=2"))
    for bits in map(float, options.budgets.split(",")):
        experts, blocks = ("random experts", randoms("expert", paper)), ("random blocks", randoms("block", paper))
        table.claim("used experts", "frequency in the layer", f"expert-frequency:{paper}:scope=layer", bits, *experts)
        table.claim("used experts", "frequency, global", f"expert-frequency:{paper}:scope=global", bits, *experts)
        table.claim("first blocks", "first blocks", f"first-blocks:{paper}", bits, "last blocks", [f"last-blocks:{paper}"])
        table.claim("first blocks", "first blocks", f"first-blocks:{paper}", bits, *blocks)
        table.claim("block importance", "least cosine", f"block-importance:{paper}", bits, *blocks)
        table.claim("outliers", "outlier linears", f"outlier:{paper}", bits, "random linears", randoms("linear", paper))
        table.claim("scripts: router weight", "router weight", f"router-weight:{paper}", bits, *experts)
        table.claim("scripts: wanda", "wanda", f"wanda:{paper}", bits, *experts)
        table.claim("combined recipe", "combined", f"combined:{paper}", bits, *experts)
        table.claim("(ours)", "optimal", "optimal", bits, "combined", [f"combined:{paper}"])
        if bits == 3.0:
            table.claim("mixtures before uniform", "combined", f"combined:{paper}", bits, "uniform 3", ["uniform"])
            table.claim("(ours)", "optimal", "optimal", bits, "uniform 3", ["uniform"])


if __name__ == "__main__":
    main()
