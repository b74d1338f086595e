#!/usr/bin/env python3
"""A job on every golden through a server and two workers gives the manifest that `quantmoe-local` gives. A golden with a width that
cannot be packed is refused by both in the same words, before any work; `REFUSED` lists these."""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from family_jobs_test import TEXT, byte_tokenizer
from live_service import DEADLINE_SECONDS, LiveService, last_lines
from same_bytes_test import check_artifact

SETTINGS = ("--effort", "0", "--samples", "8", "--shard-sequences", "2", "--sequence-length", "64", "--window", "64")
GROUP, PACKING = "spec.gptq.group_size", "MODEL_UNSUPPORTED"
REFUSED = {  # golden: the field or the reason, and what is said of it
    "deepseek_v1": (GROUP, "the input width 48 of model.layers.1.mlp.shared_experts.down_proj"),
    "deepseek_v2": (PACKING, "the output width 40 of model.layers.0.self_attn.kv_a_proj_with_mqa"),
    "deepseek_v2_yarn": (PACKING, "the output width 48 of model.layers.0.self_attn.kv_a_proj_with_mqa"),
    "deepseek_v3": (GROUP, "the input width 40 of model.layers.0.self_attn.q_b_proj"),
    "gpt_oss": (GROUP, "the input width 24 of model.layers.0.mlp.experts.0.down_proj"),
    "qwen2_moe": (GROUP, "the input width 48 of model.layers.0.mlp.shared_expert.down_proj"),
    "qwen3_moe": (GROUP, "the input width 24 of model.layers.0.mlp.experts.0.down_proj"),
}


class Families:
    def __init__(self, options, directory):
        self.options, self.directory, self.models = options, directory, directory / "models"
        self.text = directory / "text.txt"
        self.text.write_text(TEXT)

    def names(self):
        return sorted(path.parent.name for path in (self.options.testdata / "goldens").glob("*/config.json"))

    def model(self, name):
        shutil.copytree(self.options.testdata / "goldens" / name, self.models / name)
        (self.models / name / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
        return self.models / name

    def local(self, model):
        """(exit code, errors, digest of the manifest or None)"""
        out = self.directory / "local" / model.name
        command = (self.options.local, "--threads", "1", "quantize", "--model", model, "--out", out, "--budget", "4.5",
                   "--text", self.text, "--calibration", self.text, *SETTINGS)
        result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=DEADLINE_SECONDS)
        return result.returncode, result.stderr, check_artifact(out) if result.returncode == 0 else None

    def submit(self, service, model):
        command = service.client_command("submit", model, "--name", job(model), "--bits", "4.5", "--text", self.text,
                                         "--calibration", self.text, *SETTINGS, "--watch")
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)


def job(model):
    return model.name.replace("_", "-")


def check_refused(name, local, submitted, service):
    place, message = REFUSED[name]
    assert local[0] != 0 and submitted.returncode != 0, f"{name} is not refused: {local} {submitted}"
    for errors in (local[1], submitted.stderr):
        assert place in errors and message in errors, f"{name}: {errors}"
    assert not json.loads(service.client("list")).get("jobs"), f"{name} left a job behind"


def check_same(name, local, submitted, service):
    assert local[0] == 0, f"{name}: {local[1]}"
    assert submitted.returncode == 0, f"{name}: {submitted.stdout[-2000:]}{submitted.stderr}"
    artifact = json.loads(service.client("artifact", "show", job(pathlib.Path(name))))
    assert artifact["manifest_sha256"] == check_artifact(pathlib.Path(artifact["path"])) == local[2], \
        f"{name}: the service gives {artifact['manifest_sha256']}, quantmoe-local {local[2]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for program in ("server", "worker", "client", "local", "testdata"):
        parser.add_argument(f"--{program}", type=pathlib.Path, required=True)
    parser.add_argument("--only", action="append", help="a golden; repeatable")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quantmoe-families-") as directory:
        families = Families(options, pathlib.Path(directory))
        families.models.mkdir()
        names = options.only or sorted(families.names(), key=lambda name: (name not in REFUSED, name))
        with LiveService(options, families.models, families.directory / "service") as service:
            service.start_server()
            for worker in ("first", "second"):
                service.start_worker(worker)
            try:
                for name in names:
                    model = families.model(name)
                    check = check_refused if name in REFUSED else check_same
                    check(name, families.local(model), families.submit(service, model), service)
                    print(f"ok {name}", flush=True)
            except AssertionError:
                print(last_lines(families.directory), file=sys.stderr)
                raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
