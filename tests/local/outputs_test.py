#!/usr/bin/env python3
"""Outputs of quantmoe-local: nothing of the user's is replaced or removed, decided before any work; a path means the same however it is
typed; and what was computed stays when the end fails, so that the same command goes on with it. One story a function."""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

JOB = ("--group-size", "128", "--samples", "4", "--sequence-length", "64", "--heuristic", "uniform", "--no-evaluation", "--max-fallback-ratio", "1")
REFUSED, CRASHED = 2, 137


class Bench:
    def __init__(self, options, directory):
        self.options, self.directory = options, pathlib.Path(directory).resolve()
        self.model = self.directory / "models" / "tiny"
        shutil.copytree(options.testdata / "tiny-qwen2-moe", self.model)

    def call(self, *arguments, crash_at=None, cwd=None):
        environment = dict(os.environ, XDG_CACHE_HOME=str(self.directory / "cache"))
        if crash_at:
            environment["QUANTMOE_CRASH_AT"] = crash_at
        return subprocess.run([self.options.local, "--threads", "1", *map(str, arguments)], capture_output=True, text=True,
                              timeout=120, env=environment, cwd=cwd or self.directory)

    def quantize(self, out, *more, model=None, budget="3", **how):
        return self.call("quantize", "--model", model or self.model, "--out", out, "--bits", budget, *JOB, *more, **how)

    def place(self, name):
        """A new folder of one story."""
        folder = self.directory / name
        folder.mkdir()
        return folder


def snapshot(folder):
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def computed(result):
    """How many tasks a run computed, and how many it had from an earlier one."""
    stages = json.loads(result.stdout)["stages"].values()
    return sum(stage["tasks"] - stage["cached"] for stage in stages), sum(stage["cached"] for stage in stages)


def succeed(result):
    assert result.returncode == 0, result.stderr[-3000:]
    return result


def refuse(result, *words):
    """Exit code 2 with the words, before any task."""
    assert result.returncode == REFUSED, (result.returncode, result.stderr[-3000:])
    assert all(word in result.stderr for word in words) and "[1/" not in result.stderr, (words, result.stderr)


def story_foreign_folders_stay(bench):
    place = bench.place("foreign")
    (place / "home").mkdir()
    (place / "home" / "thesis.txt").write_text("mine")
    (place / "file").write_text("mine")
    (place / "taken.work").mkdir()
    (place / "taken.work" / "notes").write_text("mine")
    (place / ".staged.partial").mkdir()
    (place / ".staged.partial" / "notes").write_text("mine")
    before, models = snapshot(place), snapshot(bench.directory / "models")
    for more in ((), ("--overwrite",)):
        refuse(bench.quantize(place / "home", *more), "--out", "home")
        refuse(bench.quantize(".", *more, cwd=place / "home"), "--out", "home")
        refuse(bench.quantize(place / "file", *more), "--out", "file")
        refuse(bench.quantize(place / "taken", *more), "--out", "taken.work")
        refuse(bench.quantize(place / "staged/", *more), "--out", ".staged.partial")
        refuse(bench.quantize(bench.model, *more), "--out", "is the model")
        refuse(bench.quantize(bench.model / "new", *more), "--out", "lies in the model")
        refuse(bench.quantize(bench.directory / "models", *more), "--out", "holds the model")
        refuse(bench.quantize(place / "new", "--work-dir", bench.model / "w", *more), "--work-dir", "lies in the model")
        refuse(bench.quantize(place / "new", "--work-dir", place / "home", *more), "--work-dir", "home")
        refuse(bench.quantize(place / "w" / "new", "--work-dir", place / "w", *more), "--work-dir", "holds the output of --out")
        refuse(bench.quantize(place / "new", "--table", bench.model / "config.json", *more), "--table", "a file of the model")
        refuse(bench.quantize(bench.directory / "cache/quantmoe/hub/x", *more), "--out", "the cache of the Hub")
    refuse(bench.call("compare", "--model", bench.model, "--budgets", "3", "--out", place / "home"), "--out", "home")
    refuse(bench.call("compare", "--model", bench.model, "--budgets", "3", "--out", bench.model), "--out", "is the model")
    assert snapshot(place) == before and snapshot(bench.directory / "models") == models


def story_a_slash_at_the_end_means_nothing(bench):
    place = bench.place("slash")
    succeed(bench.quantize(f"{place}/new/"))
    assert names(place) == ["new"] and "artifact.json" in names(place / "new"), names(place)
    (place / "empty").mkdir()
    succeed(bench.quantize("./empty/../empty/", cwd=place))
    assert names(place) == ["empty", "new"], names(place)
    (place / "here").mkdir()
    succeed(bench.quantize(".", cwd=place / "here"))
    (place / "link").symlink_to(place / "below")
    (place / "below").mkdir()
    succeed(bench.quantize(place / "link"))
    same = snapshot(place / "new")
    assert all(snapshot(place / name) == same for name in ("empty", "here", "below"))
    succeed(bench.call("export", "--artifact", place / "new", "--out", f"{place}/exported/", "--profile", "gptqmodel"))
    assert names(place) == ["below", "empty", "exported", "here", "link", "new"], names(place)
    refuse(bench.call("export", "--artifact", place / "new", "--out", place / "new/", "--overwrite"), "--out", "is the artifact")
    refuse(bench.call("export", "--artifact", place / "new", "--out", place / "here"), "--overwrite")
    assert snapshot(place / "new") == same


def story_an_artifact_is_replaced_only_when_asked(bench):
    place = bench.place("replace")
    out = place / "out"
    succeed(bench.quantize(out))
    old = snapshot(out)
    refuse(bench.quantize(out), "--out", "--overwrite")
    assert snapshot(out) == old
    died = bench.quantize(out, "--overwrite", budget="2", crash_at="before-publish-rename")
    assert died.returncode == CRASHED and snapshot(out) == old, died.stderr
    fresh = succeed(bench.quantize(out, "--overwrite", budget="2"))
    assert computed(fresh)[0] == 0, fresh.stdout
    assert snapshot(out) != old and names(place) == ["out"], names(place)
    (out / "notes.txt").write_text("mine")
    refuse(bench.quantize(out, "--overwrite"), "notes.txt")
    assert (out / "notes.txt").read_text() == "mine"


def story_results_outlive_a_failed_end(bench):
    place = bench.place("late")
    out = place / "out"
    stopped = bench.quantize(out, crash_at="before-publish-rename")
    assert stopped.returncode == CRASHED and not out.exists()
    # Somebody takes the name meanwhile: nothing of theirs is touched.
    out.mkdir()
    (out / "notes").write_text("mine\n")
    refuse(bench.quantize(out), "--out", "out")
    assert (out / "notes").read_text() == "mine\n" and (place / "out.work").is_dir()
    shutil.rmtree(out)
    succeed(bench.quantize(out, "--estimate"))
    again = succeed(bench.quantize(out))
    assert computed(again)[0] == 0 and computed(again)[1] > 5, again.stdout
    assert names(place) == ["out"], names(place)


def story_a_full_disk_at_the_end_keeps_the_results(bench):
    """--table on a device that is always full fails after everything was computed."""
    place = bench.place("full")
    failed = bench.quantize(place / "out", "--table", "/dev/full")
    assert failed.returncode == 1 and f"{place}/out.work" in failed.stderr and "goes on" in failed.stderr, failed.stderr
    assert not (place / "out").exists()
    again = succeed(bench.quantize(place / "out"))
    assert computed(again)[0] <= 1 and names(place) == ["out"], (again.stdout, names(place))


def story_no_output_is_an_input_or_another_output(bench):
    place = bench.place("inputs")
    (place / "items.jsonl").write_text('{"goal": "g", "sol1": "a", "sol2": "b", "label": 0}\n')
    (place / "text").write_text("Some text. " * 500)
    os.link(place / "text", place / "same")
    (place / "old").mkdir()
    before, task = snapshot(place), f"piqa={place}/items.jsonl"
    refuse(bench.call("evaluate", "--model", bench.model, "--task", task, "--items", place / "items.jsonl"), "--items", "--task")
    refuse(bench.call("evaluate", "--model", bench.model, "--task", task, "--fewshot", f"piqa={place}/text", "--items", place / "same"), "--items", "--fewshot")
    refuse(bench.quantize(place / "new", "--task", task, "--table", place / "items.jsonl"), "--table", "--task")
    refuse(bench.quantize(place / "new", "--calibration", place / "text", "--table", place / "same"), "--table", "--calibration")
    refuse(bench.quantize(place / "old", "--table", place / "old/table.json"), "--table", "--out")
    refuse(bench.quantize(place / "new", "--table", place / "new"), "--table", "--out")
    refuse(bench.quantize(place / "new", "--table", place / "new.work"), "--table", "the working folder")
    refuse(bench.call("solve", "--input", place / "text", "--out", place / "text"), "--out", "--input")
    refuse(bench.call("pareto", "--model", bench.model, "--table", place / "text", "--svg", place / "text"), "--svg", "--table")
    assert snapshot(place) == before


def story_links_in_an_artifact_lead_to_nothing_that_is_removed(bench):
    place = bench.place("links")
    (place / "home").mkdir()
    (place / "home" / "thesis.txt").write_text("mine")
    out = place / "out"
    succeed(bench.quantize(out))
    (out / "sub").symlink_to(place / "home")
    manifest = json.loads((out / "artifact.json").read_text())
    manifest["files"].append({"path": "sub/thesis.txt", "sha256": "0" * 64, "size": 4})
    (out / "artifact.json").write_text(json.dumps(manifest))
    refuse(bench.quantize(out, "--overwrite"), "--out", "also holds sub")
    assert (place / "home" / "thesis.txt").read_text() == "mine" and names(place) == ["home", "out"], names(place)


def story_damaged_results_are_made_again_in_the_same_run(bench):
    place = bench.place("damaged")
    work = ("--work-dir", place / "work")
    succeed(bench.quantize(place / "first", *work))
    whole = snapshot(place / "first")
    blobs = [path for path in (place / "work" / "blobs" / "sha256").rglob("*") if path.is_file() and path.stat().st_size]
    for blob in blobs:
        data = bytearray(blob.read_bytes())
        data[-1] ^= 1
        blob.unlink()  # the artifact may have the same file
        blob.write_bytes(data)
    again = succeed(bench.quantize(place / "second", *work))
    assert snapshot(place / "second") == whole
    assert computed(again)[0] > 0, again.stdout
    for lost in blobs[::2]:
        lost.unlink(missing_ok=True)
    succeed(bench.quantize(place / "third", *work))
    assert snapshot(place / "third") == whole


def story_compare_goes_on_in_its_own_folder_only(bench):
    place = bench.place("compare")
    shared = ("--model", bench.model, "--group-size", "128", "--samples", "4", "--sequence-length", "64", "--no-evaluation",
              "--heuristics", "uniform", "--max-fallback-ratio", "1")
    succeed(bench.call("compare", *shared, "--budgets", "3", "--out", f"{place}/out/"))
    assert names(place) == ["out"]
    first = snapshot(place / "out")
    succeed(bench.call("compare", *shared, "--budgets", "3,2", "--out", place / "out"))
    second = snapshot(place / "out")
    assert all(second[name] == first[name] for name in first if "uniform-3/" in name)
    refuse(bench.call("compare", *shared, "--damp", "0.02", "--budgets", "3", "--out", place / "out"), "--overwrite")
    assert {name: second[name] for name in second if not name.startswith("work")} == \
        {name: data for name, data in snapshot(place / "out").items() if not name.startswith("work")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", required=True)
    parser.add_argument("--testdata", required=True, type=pathlib.Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options, scratch)
        for name, story in sorted(globals().items()):
            if name.startswith("story_") and options.only in name:
                story(bench)
                print("ok", name)


if __name__ == "__main__":
    main()
