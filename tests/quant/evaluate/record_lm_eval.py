"""Records what lm-evaluation-harness says of testdata/tiny-qwen2-moe, item by item.

Writes testdata/evaluate/harness: the items of tasks that testdata/tasks does not have, in the layout of the
published data sets, and lm_eval.json with every log-likelihood and score. The tasks are the harness's own
definitions; only where their data lies is replaced. harness_test.cc reads the record.

Needs: pip install lm-eval torch transformers tokenizers datasets accelerate
Run:   python tests/quant/evaluate/record_lm_eval.py
"""

import json
import os
import platform
import re
import sys
import tempfile
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"

import pyarrow
import pyarrow.parquet
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval import tasks as harness_tasks
from lm_eval.models.huggingface import HFLM

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
TESTDATA = os.path.join(ROOT, "testdata")
MODEL = os.path.join(TESTDATA, "tiny-qwen2-moe")
OUT = os.path.join(TESTDATA, "evaluate", "harness")
DEFINITIONS = os.path.dirname(harness_tasks.__file__)

# Ours, where the harness defines it, the split it scores, items that are scored.
TASKS = [
    ("winogrande", "winogrande/default.yaml", "validation", "tasks/winogrande.jsonl", 40),
    ("copa", "super_glue/copa/default.yaml", "validation", "tasks/copa.jsonl", 400),
    ("openbookqa", "openbookqa/openbookqa.yaml", "test", "tasks/openbookqa.jsonl", 40),
    ("hellaswag", "hellaswag/hellaswag.yaml", "validation", "tasks/hellaswag.jsonl", 40),
    ("piqa", "piqa/piqa.yaml", "validation", "tasks/piqa.jsonl", 40),
    ("arc_easy", "arc/arc_easy.yaml", "test", "evaluate/harness/arc_easy.jsonl", None),
    ("arc_challenge", "arc/arc_challenge.yaml", "test", "evaluate/harness/arc_challenge.jsonl", None),
    ("boolq", "super_glue/boolq/default.yaml", "validation", "evaluate/harness/boolq.jsonl", None),
    ("lambada_openai", "lambada/lambada_openai.yaml", "test", "evaluate/harness/lambada_openai.jsonl", None),
    ("wikitext", "wikitext/wikitext.yaml", "test", "evaluate/harness/wikitext.jsonl", None),
]
EDGE_TASKS = ["winogrande", "copa", "openbookqa", "hellaswag", "piqa"]

# The tiny world's subjects under published names, so that the harness's own subject tasks score them.
SUBJECTS = {
    "elementary_mathematics": ("small_arithmetic", 0, 6),
    "high_school_biology": ("valley_creatures", 0, 5),
    "philosophy": ("valley_people", 0, 6),
    "high_school_geography": ("valley_geography", 0, 7),
    "miscellaneous": ("valley_creatures", 50, 4),
}
CATEGORIES = {
    "mmlu_stem": ["elementary_mathematics", "high_school_biology"],
    "mmlu_humanities": ["philosophy"],
    "mmlu_social_sciences": ["high_school_geography"],
    "mmlu_other": ["miscellaneous"],
}


def load(path):
    with open(os.path.join(TESTDATA, path), encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def save(path, rows):
    with open(os.path.join(OUT, path), "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def save_parquet(path, rows, types=None):
    """As the Hub's converter writes it: one file, snappy, strings, structs of lists, 64-bit labels."""
    schema = pyarrow.schema(types) if types else None
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), os.path.join(OUT, path))


def make_arc(rows, labels):
    """OpenBookQA items as questions, some with three or five choices."""
    items = []
    for i, row in enumerate(rows):
        texts, answer = list(row["choices"]["text"]), row["choices"]["label"].index(row["answerKey"])
        if i % 5 == 3:
            drop = next(c for c in range(len(texts)) if c != answer)
            texts.pop(drop)
            answer -= drop < answer
        if i % 5 == 4:
            texts.append("None of these, “of course”")
        items.append({
            "id": f"{labels}_{i}",
            "question": row["question_stem"] + ("…" if i % 7 == 6 else " what?"),
            "choices": {"text": texts, "label": list(labels[: len(texts)])},
            "answerKey": labels[answer],
        })
    return items


def make_boolq(rows, prose):
    items = []
    for i, row in enumerate(rows):
        right = i % 3 != 0
        ending = row["endings"][int(row["label"]) if right else (int(row["label"]) + 1) % 4]
        passage = row["ctx"] + " " + row["endings"][int(row["label"])]
        if i == 5:
            passage = prose[:4000]  # longer than the model's context
        items.append({"question": f"is it true that {row['ctx_b']} {ending.rstrip('.')}", "passage": passage,
                      "idx": i, "label": int(right)})
    return items


def make_lambada(prose):
    """Runs of words that end where a frequent word ends; two with line breaks and typographic signs."""
    words = prose.replace("\n", " ").split(" ")
    frequent = {"the", "of", "and", "to", "be", "him", "her", "it", "in", "unto", "lord", "house"}
    items, begin = [], 0
    while len(items) < 24:
        end = begin + 40
        while re.sub(r"\W", "", words[end - 1]) not in frequent:
            end += 1
        items.append({"text": " ".join(words[begin:end])})
        begin = end + 97
    items[3]["text"] = items[3]["text"].replace(", ", ",\n", 1)
    items[4]["text"] = "“" + items[4]["text"] + "”"
    return items


def make_wikitext(prose):
    """Prose cut into words as WikiText is, with its headings; and a page of every sign the detokenizer knows."""
    pages = []
    for title, begin, size in [("A short page", 0, 900), ("A long page", 1000, 7000), ("Another", 9000, 2500)]:
        text = re.sub(r"([.,;:!?])(?=\s)", r" \1", prose[begin : begin + size])
        text = re.sub(r"(\w)-(\w)", r"\1 @-@ \2", text)
        text = re.sub(r"(\w)'s ", r"\1 's ", text)
        pages.append({"page": f" \n = {title} = \n \n = = History = = \n \n {text} \n "})
    pages.append({"page": " = Signs = \n The boys ' dog cost 1 @,@ 000 @.@ 5 crowns ; was it ( as they say ) dear "
                          "? No ! At 30 ° N of [ here ] the \" old man \" said { yes } , ' of course ' : N birds "
                          "’ nests \n = = = = Deep = = = = \n = = = Less = = = \n"
                          " ( \n ( open ] and \" odd quotes ' nest \" here ' . \n "})
    pages.append({"page": "one"})
    pages.append({"page": "\u00a0É tudo \u2009 novo \x1c aqui 東京 .\n"})
    return pages


def make_mmlu():
    rows, dev = load("tasks/mmlu.jsonl"), load("tasks/mmlu_dev.jsonl")
    items, shots = [], []
    for subject, (source, first, count) in SUBJECTS.items():
        of_source = [row for row in rows if row["subject"] == source]
        items += [{**row, "subject": subject} for row in of_source[first : first + count]]
        shots += [{**row, "subject": subject} for row in dev if row["subject"] == source]
    return items, shots


def write_items():
    with open(os.path.join(TESTDATA, "tiny_heldout.txt"), encoding="utf-8") as file:
        prose = file.read()
    os.makedirs(OUT, exist_ok=True)
    obqa = load("tasks/openbookqa.jsonl")
    save("arc_easy.jsonl", make_arc(obqa[100:130], "ABCDE"))
    save("arc_challenge.jsonl", make_arc(obqa[200:220], "12345"))
    save("boolq.jsonl", make_boolq(load("tasks/hellaswag.jsonl")[60:80], prose))
    save("lambada_openai.jsonl", make_lambada(prose))
    save("wikitext.jsonl", make_wikitext(prose))
    items, shots = make_mmlu()
    save("mmlu.jsonl", items)
    save("mmlu_dev.jsonl", shots)
    save_parquet("arc_easy.parquet", load("evaluate/harness/arc_easy.jsonl"))
    save_parquet("boolq.parquet", load("evaluate/harness/boolq.jsonl"))
    save_parquet("mmlu.parquet", items)
    save_parquet("mmlu_bad.parquet", [{**items[0], "answer": "1"}, {**items[1], "answer": "B"}])


def define(folder, name, definition, splits):
    """A task that is the harness's definition with local data."""
    config = {
        "include": os.path.join(DEFINITIONS, definition),
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": splits},
        "training_split": None,
        "validation_split": "validation" if "validation" in splits else None,
        "test_split": "test" if "test" in splits else None,
        "tag": None,
    }
    with open(os.path.join(folder, name + ".yaml"), "w") as file:
        yaml.safe_dump(config, file)


def define_mmlu(folder):
    rows = {"test": load("evaluate/harness/mmlu.jsonl"), "dev": load("evaluate/harness/mmlu_dev.jsonl")}
    for subject in SUBJECTS:
        files = {}
        for split, all_rows in rows.items():
            files[split] = os.path.join(folder, f"{subject}_{split}.jsonl")
            with open(files[split], "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in all_rows if row["subject"] == subject)
        define(folder, "recorded_mmlu_" + subject, f"mmlu/default/mmlu_{subject}.yaml", files)
    groups = {"recorded_" + name: ["recorded_mmlu_" + s for s in subjects] for name, subjects in CATEGORIES.items()}
    groups["recorded_mmlu"] = list(groups)
    for name, members in groups.items():
        metrics = [{"metric": "acc", "weight_by_size": True}]  # as in mmlu/default/_mmlu*.yaml
        with open(os.path.join(folder, name + ".yaml"), "w") as file:
            yaml.safe_dump({"group": name, "task": members, "aggregate_metric_list": metrics}, file)


def scores(results, name):
    """Scores without the sampled (bootstrap) errors of perplexities."""
    out = {}
    for key, value in results[name].items():
        metric = key.split(",")[0]
        if isinstance(value, float) and ("perplexity" not in metric or not metric.endswith("_stderr")):
            out[metric] = value
    return out


def responses(samples):
    items = []
    for sample in sorted(samples, key=lambda s: s["doc_id"]):
        item = []
        for response in sample["filtered_resps"]:
            ll, greedy = response if isinstance(response, (list, tuple)) else (response, False)
            item.append([round(float(ll), 6), int(greedy in (True, "True"))])
        items.append(item)
    return items


def first_request(samples):
    arguments = next(s for s in samples if s["doc_id"] == 0)["arguments"]
    if isinstance(arguments, dict):
        arguments = [list(a.values()) for a in arguments.values()]
    return list(arguments[0])


def run(model, folder, name, data, items, add_bos, fewshot=""):
    manager = harness_tasks.TaskManager(include_path=folder)
    result = simple_evaluate(model=model, tasks=["recorded_" + name], task_manager=manager, limit=items,
                             num_fewshot=5 if fewshot else 0, bootstrap_iters=10, log_samples=True, batch_size=16)
    record = {"task": name, "data": data, "fewshot": fewshot, "add_bos": add_bos}
    if name != "mmlu":
        samples = result["samples"]["recorded_" + name]
        return {**record, "request": first_request(samples), "scores": scores(result["results"], "recorded_" + name),
                "items": responses(samples)}
    recorded = {**result["results"], **result.get("groups", {})}
    record["request"] = first_request(result["samples"]["recorded_mmlu_" + next(iter(SUBJECTS))])
    record["scores"] = scores(recorded, "recorded_mmlu")
    record["groups"] = {s: scores(recorded, "recorded_mmlu_" + s) for s in SUBJECTS}
    record["categories"] = {c[5:]: scores(recorded, "recorded_" + c) for c in CATEGORIES}
    record["items"] = [i for s in SUBJECTS for i in responses(result["samples"]["recorded_mmlu_" + s])]
    return record


def main():
    torch.manual_seed(0)
    write_items()
    runs = []
    for add_bos in (None, True):
        model = HFLM(pretrained=MODEL, dtype="float32", device="cpu", batch_size=16, add_bos_token=add_bos)
        with tempfile.TemporaryDirectory() as folder:
            for name, definition, split, data, items in TASKS:
                define(folder, "recorded_" + name, definition, {split: os.path.join(TESTDATA, data)})
                runs.append(run(model, folder, name, data, items, add_bos))
            define_mmlu(folder)
            for shots in ("", "evaluate/harness/mmlu_dev.jsonl"):
                runs.append(run(model, folder, "mmlu", "evaluate/harness/mmlu.jsonl", None, add_bos, shots))
            for name, definition, split, _, _ in TASKS:
                if name in EDGE_TASKS and add_bos is None:
                    data = f"evaluate/edge/{name}.jsonl"
                    define(folder, "recorded_" + name, definition, {split: os.path.join(TESTDATA, data)})
                    runs.append(run(model, folder, name, data, None, add_bos))
    versions = {p: version(p) for p in ("lm_eval", "torch", "transformers", "tokenizers", "datasets")}
    record = {"recorded_with": {"python": platform.python_version(), **versions}, "dtype": "float32", "runs": runs}
    with open(os.path.join(OUT, "lm_eval.json"), "w", encoding="utf-8") as file:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        file.write(text.replace(',{"task"', ',\n{"task"') + "\n")
    for r in runs:
        print(r["task"], r["data"], r["fewshot"], r["add_bos"], r["scores"], file=sys.stderr)


if __name__ == "__main__":
    main()
