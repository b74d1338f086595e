#!/usr/bin/env python3
"""Expected prompts, token splits and scores, written from the harness's rules without the product's code.
Needs PyPI `tokenizers` and `numpy`.

    python make_expected.py        # writes edge/*.jsonl, requests.json and scores.json beside this file

requests.json: for each run (data, options) the list of requests {ctx, cont, ids, start, tokens} in order of items and
choices. scores.json: scores of the tasks in ../tasks when the log-likelihood of choice c of item i is
-((7 i + 13 c) mod 17) / 4 - 0.25 (many ties on purpose).
"""
import json, math, os, re
import numpy as np
from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
TOK = Tokenizer.from_file(f"{HERE}/../tiny-qwen2-moe/tokenizer.json")
BOS, BOS_TEXT = 0, "<|bos|>"

EDGE = {
    "hellaswag": [
        dict(ind=24, activity_label="Roof shingle removal", ctx_a="A man is sitting on a roof.", ctx_b="he", ctx="", endings=["is using wrap to wrap a pair of skis.", "is ripping level tiles off.", "is holding a rubik's cube.", "starts pulling up roofing on a roof."], label="3", split="val"),
        dict(ind=1, activity_label="Health", ctx_a="[header] How to cope [title] Eat  well. [step] Try   it [substeps] a\nb [c\nd] e.", ctx_b="", ctx="", endings=["[step] one  two   three", " padded ", "[gone]", "x [title] Y [z] w"], label="0"),
        dict(ind=2, activity_label="Unicode", ctx_a="É", ctx_b="ŉ ΑΣ ÉCOLE ŒUVRE ßMIX ΣΑΣ", ctx="", endings=["ünï", "日本語", "\u001ctab\u001f", "ǆ"], label=2),
        dict(ind=3, activity_label="Sharp", ctx_a="S.", ctx_b="ßTRASSE İX", ctx="", endings=["a", "b", "c", "d"], label="1")],
    "piqa": [dict(goal="When boiling butter, ", sol1="Pour it onto a plate", sol2="Pour it into a jar ", label=1), dict(goal="", sol1="a", sol2="b", label=0)],
    "winogrande": [dict(qID="1", sentence="Sarah was a much better surgeon than Maria so _ always got the easier cases.", option1="Sarah", option2="Maria", answer="2"),
                   dict(qID="2", sentence="_ began,  and _ ended. ", option1="It ", option2="", answer="1")],
    "copa": [dict(premise="  The man broke his toe. ", choice1="He got a hole in his sock.", choice2="He dropped a hammer on his foot.", question="cause", idx=0, label=1),
             dict(premise="Élan vital…", choice1="Éa.", choice2="İb", question="effect", idx=1, label=0)],
    "openbookqa": [dict(id="7-980", question_stem="The sun is responsible for", choices=dict(text=["puppies learning new tricks", "children growing up", "flowers wilting in a vase", "plants sprouting, blooming and wilting"], label=["A", "B", "C", "D"]), answerKey="D"),
                   dict(id="2", question_stem="Trailing space ", choices=dict(text=["a", "bb"], label=["1", "2"]), answerKey=" 2"),
                   dict(id="3", question_stem="<|bos|>Written", choices=dict(text=["x", "y z"], label=["A", "B"]), answerKey="A"),
                   dict(id="4", question_stem="", choices=dict(text=["empty stem", "y"], label=["A", "B"]), answerKey="B")],
    "mmlu": [dict(question="  Find the degree.\n", choices=["0", "4", "2 ", "6"], answer=1, subject="abstract_algebra"), dict(question="Which?", choices=["w", "x", "y", "z"], answer=3, subject="high_school_us_history")],
}


def clean(text):
    text = text.strip().replace(" [title]", ". ")
    return re.sub("\\[.*?\\]", "", text).replace("  ", " ")


def mmlu(x):
    return "{}\nA. {}\nB. {}\nC. {}\nD. {}\nAnswer:".format(x["question"].strip(), *x["choices"])


def prompts(name, rows, dev=()):
    """(contexts, continuations, choice strings, gold), one context and continuation a choice"""
    for x in rows:
        if name == "hellaswag":
            choices = [clean(e) for e in x["endings"]]
            ctx = clean(x["activity_label"] + ": " + x["ctx_a"] + " " + x["ctx_b"].capitalize())
            gold = int(x["label"])
        elif name == "piqa":
            choices, ctx, gold = [x["sol1"], x["sol2"]], f"Question: {x['goal']}\nAnswer:", int(x["label"])
        elif name == "copa":
            choices = [" " + s[0].lower() + s[1:] for s in (x["choice1"], x["choice2"])]
            ctx = x["premise"].strip()[:-1] + " " + dict(cause="because", effect="therefore")[x["question"]]
            gold = int(x["label"])
        elif name == "openbookqa":
            choices, ctx = x["choices"]["text"], x["question_stem"]
            gold = x["choices"]["label"].index(x["answerKey"].lstrip())
        elif name == "mmlu":
            shots = [y for y in dev if y["subject"] == x["subject"]][:5]
            choices, gold = list("ABCD"), x["answer"]
            ctx = f"The following are multiple choice questions (with answers) about {x['subject'].replace('_', ' ')}.\n\n"
            ctx += "".join(mmlu(y) + " " + "ABCD"[y["answer"]] + "\n\n" for y in shots) + mmlu(x)
        else:
            at = x["sentence"].index("_")
            choices = [x["sentence"][:at] + x["option1"], x["sentence"][:at] + x["option2"]]
            yield choices, [" " + x["sentence"][at + 1:].strip()] * 2, choices, int(x["answer"]) - 1
            continue
        yield [ctx] * len(choices), [" " + c for c in choices], choices, gold


def encode(text, add_bos):
    ids = TOK.encode(text, add_special_tokens=False).ids
    return [BOS] + ids if add_bos and not text.startswith(BOS_TEXT) else ids


def request(ctx, cont, add_bos, max_len):
    row = dict(ctx=ctx, cont=cont)
    kept = ctx.rstrip()
    cont = ctx[len(kept):] + cont
    if not kept:
        c, t = [BOS], TOK.encode(cont, add_special_tokens=False).ids
    else:
        c = encode(kept, add_bos)
        t = encode(kept + cont, add_bos)[len(c):]
    ids = (c + t)[-(max_len + 1):][:-1]
    return dict(row, ids=ids, start=len(ids) - len(t), tokens=t, truncated=len(c + t) > max_len + 1)


def load(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def stderr(values):
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def scores(name, rows):
    acc, norm, subjects = [], [], {}
    for i, (_, _, choices, gold) in enumerate(prompts(name, rows)):
        ll = np.array([-((7 * i + 13 * c) % 17) / 4 - 0.25 for c in range(len(choices))])
        acc.append(float(np.argmax(ll) == gold))
        norm.append(float(np.argmax(ll / np.array([float(len(c)) for c in choices])) == gold))
        if name == "mmlu":
            subjects.setdefault(rows[i]["subject"], []).append(acc[-1])
    out = dict(items=len(rows), acc=float(np.mean(acc)), acc_stderr=stderr(acc))
    if name in ("hellaswag", "piqa", "openbookqa"):
        out.update(acc_norm=float(np.mean(norm)), acc_norm_stderr=stderr(norm))
    if name == "mmlu":
        out["groups"] = {s: dict(items=len(v), acc=float(np.mean(v)), acc_stderr=stderr(v)) for s, v in subjects.items()}
        sizes, errors = [len(v) for v in subjects.values()], [stderr(v) for v in subjects.values()]
        pooled = sum((n - 1) * e ** 2 * n for n, e in zip(sizes, errors)) / (sum(sizes) - len(sizes))
        out["acc_stderr"] = math.sqrt(pooled / sum(sizes))
    return out


def main():
    runs = []
    for name, rows in EDGE.items():
        with open(f"{HERE}/edge/{name}.jsonl", "w", encoding="utf-8") as f:
            f.writelines(json.dumps(x, ensure_ascii=False) + "\n" for x in rows)
        for add_bos, max_len in ((None, 512), (True, 512), (False, 20)):
            runs.append(dict(task=name, data=f"evaluate/edge/{name}.jsonl", fewshot="", items=len(rows), add_bos=add_bos, max_length=max_len))
        runs.append(dict(task=name, data=f"tasks/{name}.jsonl", fewshot="", items=6, add_bos=True, max_length=512))
    runs.append(dict(task="mmlu", data="tasks/mmlu.jsonl", fewshot="tasks/mmlu_dev.jsonl", items=2, add_bos=True, max_length=512))
    runs.append(dict(task="mmlu", data="tasks/mmlu.jsonl", fewshot="tasks/mmlu_dev.jsonl", items=2, add_bos=None, max_length=100))
    for run in runs:
        rows = load(f"{HERE}/../{run['data']}")[:run["items"]]
        dev = load(f"{HERE}/../{run['fewshot']}") if run["fewshot"] else []
        run["requests"] = [request(c, t, run["add_bos"], run["max_length"]) for cs, ts, _, _ in prompts(run["task"], rows, dev) for c, t in zip(cs, ts)]
    with open(f"{HERE}/requests.json", "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(run, separators=(",", ":")) for run in runs) + "\n]\n")
    table = {name: scores(name, load(f"{HERE}/../tasks/{name}.jsonl")) for name in EDGE}
    json.dump(table, open(f"{HERE}/scores.json", "w"), indent=1)


main()
