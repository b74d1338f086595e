#!/usr/bin/env python3
"""Job files and flags, with the real programs: every example of docs/jobs runs; a job is the same by flags or by file, in one
process or on a service, to the last byte, and so are a comparison and an estimate; and what `get -o yaml` prints submits the same job
again. The examples measure a short text here, and flags are tried on a model of half a megabyte."""
import argparse
import hashlib
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

from family_jobs_test import byte_tokenizer, write_tensors
from live_service import LiveService, last_lines, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
JOBS = ROOT / "docs/jobs"
MODEL = ROOT / "testdata/tiny-qwen2-moe"
GOLDEN = ROOT / "testdata/goldens/qwen2_moe"
TASKS = ROOT / "testdata/tasks"
SECONDS = 240
# Rules neither sorted nor different, which the two programs once read apart; everything small.
SMALL = ["--samples", "4", "--sequence-length", "64", "--no-evaluation", "--min-tokens-ratio", "0"]
PINS = ["--bits", "4", "--pin", "shared=8", "--pin", "attention=4", "--pin", "shared=8", "--protect", "dense", "--effort", "0", *SMALL]
TITLE = {"display_name": "Pins: shared & others", "labels": {"team": "a b", "stage": "1.0"}}
ODDS = ["--stored-bits", "4", "--heuristic", "random", "--param", "seed=3", "--param", "count=1", "--order", "group",
        "--scales", "range", "--gate-weighted", "--all-tokens", "*.experts.1.*", "--states", "bf16", "--no-add-bos", *SMALL]
# With these every flag of a job goes both ways.
BYTES = ["--bytes", "350KB", "--profile", "vllm", "--group-size", "64", "--widths", "4,8", "--damp", "0.02", "--min-bits", "shared=8",
         "--no-protect-super-experts", "--effort", "0", *SMALL]
RANKS = ["--rank-bytes", "240KB", "--ranks", "4", "--shrinkage", "0.5", "--shard-sequences", "2", "--max-bits", "attention=4", "--effort", "1",
         "--starts", "3", "--publish", "plan", "--protect-super-experts",
         *SMALL]
AGAIN = ["--bits", "4", "--preset", "mixtral-attn4", "--propagation", "quantized", "--correction", "0.5", "--max-fallback-ratio", "1", *SMALL]
SCORED = ["--bits", "3", "--heuristic", "uniform", "--samples", "4", "--sequence-length", "64", "--max-fallback-ratio", "1", "--calibration",
          ROOT / "testdata/tiny_calibration.txt", "--window", "64", "--add-bos", "--task", f"copa={TASKS / 'copa.jsonl'}", "--task",
          f"mmlu={TASKS / 'mmlu.jsonl'}", "--fewshot", f"mmlu={TASKS / 'mmlu_dev.jsonl'}", "--limit", "4"]


def write_model(path):
    """A dense layer between two with experts, and every width a multiple of 64."""
    sizes = {"hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 64, "moe_intermediate_size": 64,
             "shared_expert_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2}

    def mlp(prefix):
        return {f"{prefix}.{name}_proj.weight": [64, 64] for name in ("gate", "up", "down")}

    shapes = {"model.embed_tokens.weight": [320, 64], "lm_head.weight": [320, 64], "model.norm.weight": [64]}
    for layer in range(3):
        prefix = f"model.layers.{layer}."
        shapes |= {f"{prefix}{norm}.weight": [64] for norm in ("input_layernorm", "post_attention_layernorm")}
        for name, rows in (("q", 64), ("k", 32), ("v", 32), ("o", 64)):
            shapes[f"{prefix}self_attn.{name}_proj.weight"] = [rows, 64]
            if name != "o":
                shapes[f"{prefix}self_attn.{name}_proj.bias"] = [rows]
        if layer == 1:
            shapes |= mlp(prefix + "mlp")
            continue
        shapes |= {f"{prefix}mlp.gate.weight": [4, 64], f"{prefix}mlp.shared_expert_gate.weight": [1, 64]}
        for part in ("shared_expert", *(f"experts.{expert}" for expert in range(4))):
            shapes |= mlp(f"{prefix}mlp.{part}")
    path.mkdir()
    write_tensors(path / "model.safetensors", shapes)
    (path / "config.json").write_text(json.dumps({**json.loads((GOLDEN / "config.json").read_text()), **sizes}))
    (path / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
    (path / "tokenizer_config.json").write_text('{"bos_token": "!"}')
    return path


def run(*command, code=0, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=SECONDS, **options)
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def quantize(local, out, *flags):
    """The digest of the manifest."""
    return json.loads(run(local, "quantize", "--out", out, *flags).stdout)["manifest_sha256"]


def submit(service, name, *flags):
    """Of the same job on a service."""
    service.client("submit", "--name", name, *flags)
    wait_until(name, lambda: service.state(name) in ("SUCCEEDED", "FAILED"))
    assert service.state(name) == "SUCCEEDED", service.client("get", name)
    return json.loads(service.client("artifact", "show", name))["manifest_sha256"]


def check_examples(service, local, directory):
    text = directory / "short.txt"
    text.write_text((ROOT / "testdata/tiny_heldout.txt").read_text()[:4000])
    for path in sorted([*JOBS.glob("*.yaml"), *JOBS.glob("*.json")]):
        short = ["--text", text] if "perplexity_text_uri" in path.read_text() else []
        short += ["--effort", "0"]  # RANKS has a search
        here = quantize(local, directory / path.stem, "-f", path, *short)
        assert submit(service, path.stem, "-f", path, *short) == here, f"{path.name} gives two artifacts"


def check_flags(service, local, directory):
    """Rules keep their order, and everything else that is typed means the same."""
    model = write_model(directory / "model")
    text = directory / "held-out.txt"
    text.write_text((ROOT / "testdata/tiny_heldout.txt").read_text()[:4000])
    few = directory / "few"
    few.mkdir()
    (few / "piqa.jsonl").write_text("".join((TASKS / "piqa.jsonl").open().readlines()[:4]))
    scored = [*SCORED, "--text", text]
    bundles = {"pins": PINS, "odds": ODDS, "bytes": BYTES, "ranks": RANKS, "again": AGAIN, "scored": scored,
               "folder": ["--bits", "4", "--tasks", few, "--text", text, *SMALL[:4], "--min-tokens-ratio", "0"]}
    table = (ROOT / "docs/options.md").read_text().split("<!--")[1]
    told, switches = (set(re.findall(r"`(--[a-z-]+)`", "\n".join(rows))) for rows in (table.splitlines(), re.findall(r".*`BOOL`.*", table)))
    typed = {"--model"}.union(*(filter(lambda flag: str(flag).startswith("--"), flags) for flags in bundles.values()))
    bundles["odds"] = [*sorted(switches - typed), *ODDS]
    assert told == typed | switches, f"flags that go one way only: {sorted(told ^ (typed | switches))}"
    for name, flags in bundles.items():
        here = quantize(local, directory / name, "--model", model, *flags)
        title = ["--display-name", TITLE["display_name"], *(f"--label={key}={value}" for key, value in TITLE["labels"].items())]
        assert submit(service, name, "--model", model, *flags, *title) == here, f"{flags} give two artifacts"
    spec = json.loads((directory / "pins/artifact.json").read_text())["spec"]
    assert [rule["pattern"] for rule in spec["rules"]] == ["shared", "attention", "shared", "dense"], spec["rules"]


def check_again(service, local, directory):
    """A printed job file is the same job, here and there."""
    for name in ("pins", "odds", "rules-and-benchmarks"):
        text = run(service.programs.client, "--server", service.api, "get", name, "-o", "yaml").stdout
        path = directory / f"{name}.again.yaml"
        path.write_text(text)
        service.client("submit", "-f", path, "--name", f"{name}-again")
        first, second = (json.loads(service.client("get", job)) for job in (name, f"{name}-again"))
        for field in ("resolved_spec", "display_name", "labels"):
            assert first.get(field) == second.get(field), f"{field}: {text}\n{first}\n{second}"
        if name == "pins":
            assert {key: second[key] for key in TITLE} == TITLE, second
        printed = run(service.programs.client, "--server", service.api, "get", f"{name}-again", "-o", "yaml").stdout
        assert printed == text, f"{text}\n{printed}"


def check_comparisons(service, local, directory):
    """A comparison takes what its jobs share from the file, and each job is the one that is submitted alone."""
    file, flags = JOBS / "rules-and-benchmarks.yaml", ["--bits", "3.5,4", "--heuristics", "uniform", "--no-control", *SMALL]
    run(local, "compare", "-f", file, *flags, "--out", directory / "compared")
    told = json.loads(service.client("compare", "-f", file, *flags, "--name", "compared"))
    rows = json.loads((directory / "compared/comparison.json").read_text())
    assert [row["budget"] for row in rows] == ["3.5", "4"] and len(told["jobs"]) == 2, (rows, told)
    for row, job in zip(rows, told["jobs"]):
        for key in ("plan", "average_bits", "weight_file_bytes", "best"):
            assert row[key] == job[key], (key, row, job)
        manifest = (pathlib.Path(row["artifact"]) / "artifact.json").read_bytes()
        there = json.loads(service.client("artifact", "show", job["job"].removeprefix("jobs/")))["manifest_sha256"]
        assert hashlib.sha256(manifest).hexdigest() == there, (row, job)
        rules = json.loads(manifest)["spec"]["rules"]
        assert [rule["pattern"] for rule in rules] == ["attention", "shared"], rules


def check_estimates(service, local, directory):
    """Both programs tell the same figures."""
    for path in sorted([*JOBS.glob("*.yaml"), *JOBS.glob("*.json")]):
        here = json.loads(run(local, "quantize", "-f", path, "--estimate").stdout)
        there = json.loads(service.client("estimate", "-f", path))
        assert {stage["stage"]: stage["tasks"] for stage in there["stages"]} == here.pop("tasks"), (here, there)
        assert set(here.pop("warnings")) <= set(there.get("warnings", [])), (here, there)
        for key, figure in here.items():
            assert float(there.get(key, 0)) == figure, f"{path.name}: {key} is {figure} here and {there.get(key)} there"


def check_dry_run(service, local, directory):
    path = JOBS / "smallest.yaml"
    jobs = len(json.loads(service.client("list"))["jobs"])
    there = json.loads(service.client("submit", "-f", path, "--bits", "2.5", "--dry-run"))
    assert there["job"]["resolved_spec"]["budget"]["average_bits"] == 2.5, there
    assert int(there["estimate"]["predicted_bytes"]) > 0, there
    assert len(json.loads(service.client("list"))["jobs"]) == jobs, "a dry run created a job"
    here = json.loads(run(local, "quantize", "-f", path, "--bits", "2.5", "--dry-run", cwd=directory).stdout)
    assert here["spec"]["budget"]["average_bits"] == 2.5, here
    assert here["estimate"]["predicted_bytes"] == int(there["estimate"]["predicted_bytes"]), (here, there)
    assert here["spec"]["gptq"]["group_size"] == there["job"]["resolved_spec"]["gptq"]["group_size"] > 0


def check_pipes(service, local, directory):
    """What a shell makes of <(...) is read once, by both programs, and is the job that files make."""
    text, file = ROOT / "testdata/tiny_calibration.txt", directory / "piped.yaml"
    file.write_text(f"model: {{uri: {MODEL.name}}}\ncalibration: {{samples: 4}}\n")
    flags = ["--bits", "4", "--heuristic", "uniform", *SMALL]

    def piped(*command):
        """In the folder where relative paths of a job file from a pipe start."""
        pipes = f"-f <(cat {shlex.quote(str(file))}) --calibration <(cat {shlex.quote(str(text))})"
        return run("bash", "-c", f"{shlex.join(map(str, command))} {pipes}", cwd=MODEL.parent).stdout

    files = quantize(local, directory / "from-files", "--model", MODEL, "--calibration", text, *flags)
    assert json.loads(piped(local, "quantize", "--out", directory / "from-pipes", *flags))["manifest_sha256"] == files
    piped(service.programs.client, "--server", service.api, "submit", "--name", "piped", "--watch", *flags)
    assert json.loads(service.client("artifact", "show", "piped"))["manifest_sha256"] == files
    piped(local, "compare", "--out", directory / "compared-pipes", "--bits", "3.5,4", "--heuristics", "uniform", "--no-control", *SMALL)
    rows = json.loads((directory / "compared-pipes/comparison.json").read_text())
    assert [row["budget"] for row in rows] == ["3.5", "4"] and all(row["loss"] > 0 for row in rows), rows


def check_refusals(service, local, directory):
    path = directory / "bad.yaml"
    path.write_text("model: {uri: /m}\nbudget: {average_bits: 3}\ngptq:\n  group_sise: 64\n  damp: much\n")
    for command in ([local, "quantize", "-f", path, "--out", directory / "bad"],
                    [service.programs.client, "--server", service.api, "submit", "-f", path]):
        told = run(*command, code=2).stderr
        assert f"{path}:4:3" in told and "did you mean group_size?" in told and f"{path}:5:9" in told, told
    assert not (directory / "bad").exists()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for program in ("server", "worker", "client", "local"):
        parser.add_argument(f"--{program}", required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quantmoe-job-files-") as name:
        directory = pathlib.Path(name)
        try:
            with LiveService(options, ROOT / "testdata", directory / "service", ["--model-root", directory]) as service:
                service.start_server()
                service.start_worker("worker")
                for check in (check_refusals, check_pipes, check_dry_run, check_estimates, check_examples, check_flags, check_again, check_comparisons):
                    check(service, options.local, directory)
                    print(f"ok {check.__name__}", flush=True)
        except BaseException:
            print(last_lines(directory), file=sys.stderr)
            raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
