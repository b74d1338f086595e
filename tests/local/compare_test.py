#!/usr/bin/env python3
"""`quantmoe-local compare` on the trained tiny model: every row is the artifact that `quantize` writes, one solve serves all, and a
mistake in the last heuristic is found before the first one runs."""
import argparse
import json
import pathlib
import subprocess
import tempfile

JOB = ("--group-size", "128", "--samples", "8", "--sequence-length", "128", "--window", "128", "--add-bos")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", required=True)
    parser.add_argument("--testdata", required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        text = pathlib.Path(scratch, "text.txt")
        text.write_text(pathlib.Path(arguments.testdata, "tiny_heldout.txt").read_text()[:8000])
        shared = ("--model", f"{arguments.testdata}/tiny-qwen2-moe", "--text", text, "--effort", "0", *JOB)

        def run(command, *options):
            return subprocess.run([arguments.local, command, *map(str, shared), *map(str, options)], capture_output=True, text=True, timeout=300)

        refused = run("compare", "--budgets", "2.5", "--heuristics", "uniform,nope", "--out", f"{scratch}/no")
        assert refused.returncode == 2 and "spec.heuristic.name" in refused.stderr and "[1/" not in refused.stderr, refused.stderr
        out = pathlib.Path(scratch, "out")
        compared = run("compare", "--budgets", "2.5,3", "--heuristics", "optimal,uniform,random:unit=block:seed=2", "--out", out)
        assert compared.returncode == 0, compared.stderr[-3000:]
        assert compared.stdout == (out / "comparison.md").read_text() and compared.stdout.count("\n") == (2 + 7) + (1 + 2 + 7), compared.stdout
        tasks = [line.split("] ")[1] for line in compared.stderr.splitlines() if "optimal 2.5" in line]
        # Every plan allocates, is measured beside its uniform one, and published; nothing else is computed again.
        computed = len(list((out / "work/results").iterdir()))
        again = [task for task in tasks if task.split("-")[0] in ("allocate", "verdict", "evaluate", "publish")]
        assert computed <= len(tasks) + 5 * len(again), (computed, len(tasks), again)
        rows = {(row["heuristic"], row["budget"]): row for row in json.loads((out / "comparison.json").read_text())}
        # No uniform plan has 2.5 bits: it is named as what it is, and a control spends the same bytes as the plan.
        assert rows["uniform", "2.5"]["plan"] == "uniform-2 (fewer bytes)" and rows["uniform", "3"]["plan"] == "uniform-3", rows
        assert rows["optimal", "2.5"]["reference_plan"] == "uniform-2 (fewer bytes)" and ("in-order", "3") not in rows, rows
        spent, control = rows["optimal", "2.5"]["weight_file_bytes"], rows["in-order", "2.5"]["weight_file_bytes"]
        assert abs(spent - control) < 0.01 * spent and rows["uniform", "2.5"]["weight_file_bytes"] < 0.99 * control, (spent, control)
        for (heuristic, budget), row in rows.items():
            assert row["average_bits"] <= float(budget)
            size = sum(file.stat().st_size for file in pathlib.Path(row["artifact"]).glob("*.safetensors"))
            assert size == row["weight_file_bytes"], (size, row)
            assert (row["verdict"] is None) == (heuristic == "uniform"), row["verdict"]
            assert row["comparison"]["scores"][0]["task"] == "perplexity"
            tails = row["divergence"]
            assert 0 < tails["mean"] < tails["cvar"] <= tails["worst_window"] and tails["percentile_99"] <= tails["percentile_999"], tails
            # All on the scale of the plan that weighs them, where no plan in the budget has less.
            assert row["objective"] == "measured" and row["loss"] >= rows["optimal", budget]["loss"] > 0, row
        assert "| predicted loss |" in compared.stdout, compared.stdout
        # One number is two budgets in two units: neither artifact takes the place of the other.
        units = pathlib.Path(scratch, "units")
        both = run("compare", "--bits", "3", "--stored-bits", "3", "--heuristics", "uniform", "--no-control", "--no-evaluation", "--out", units)
        assert both.returncode == 0, both.stderr[-3000:]
        rows_by_unit = json.loads((units / "comparison.json").read_text())
        assert [row["budget"] for row in rows_by_unit] == ["3", "3 stored"], rows_by_unit
        assert [row["width"] for row in rows_by_unit] == [3, 2] and len({row["artifact"] for row in rows_by_unit}) == 2, rows_by_unit
        table = f"{scratch}/table.json"
        alone = run("quantize", "--budget", "2.5", "--heuristic", "optimal", "--out", f"{scratch}/alone", "--table", table)
        assert alone.returncode == 0, alone.stderr[-3000:]
        same = [pathlib.Path(folder, "artifact.json").read_bytes() for folder in (f"{scratch}/alone", rows["optimal", "2.5"]["artifact"])]
        assert same[0] == same[1], "compare and quantize write other artifacts"
        # Bytes of the weight files are told where all tensors are known.
        allocate = [arguments.local, "allocate", "--table", table, "--bits", "2.5"]
        without, whole = (subprocess.run([*allocate, *more], capture_output=True, text=True, check=True) for more in ((), shared[:2]))
        assert "weight_file_bytes" not in json.loads(without.stdout) and "--model" in without.stderr, without
        assert json.loads(whole.stdout)["weight_file_bytes"] == spent and not whole.stderr, whole
    print("ok")


if __name__ == "__main__":
    main()
