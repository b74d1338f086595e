#!/usr/bin/env python3
"""Which ids added tokens get: cases, and what `transformers` (5.23, with `tokenizers` 0.23) makes of each. Writes added_tokens.json."""
import json, os, pathlib, tempfile
os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import PreTrainedTokenizerFast

VOCABULARY = {"a": 0, "b": 1, "ab": 2, "aba": 3, "ba": 4, " ": 5, "<": 6, "p": 7, ">": 8, "<p": 9, "<p>": 10}
MERGES = [["a", "b"], ["ab", "a"], ["<", "p"], ["<p", ">"]]
TEXT = "a <x> b <y>a <z>  aba<p> b<q>a"


def token(content, id=None, **flags):
    entry = dict(dict(content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True), **flags)
    return entry if id is None else dict(id=id, **entry)


def decoder(*tokens, **config):
    return dict(added_tokens_decoder={str(i): token(c, **f) for i, c, f in tokens}, **config)


X = [token("<x>", 11), token("<y>", 12)]
CASES = {
    "as they follow": (X, {}, {}),
    "with a gap": ([token("<x>", 13), token("<y>", 20)], {}, {}),
    "swapped": ([token("<x>", 12), token("<y>", 11)], {}, {}),
    "the same id": ([token("<x>", 11), token("<y>", 11)], {}, {}),
    "the id of another": ([token("<x>", 2), token("<y>", 12)], {}, {}),
    "twice": ([token("<x>", 11), token("<x>", 12), token("<y>", 13)], {}, {}),
    "twice with other flags": ([token("<x>", 11), token("<x>", 12, lstrip=True), token("<y>", 13)], {}, {}),
    "an empty one": ([token("", 11), token("<x>", 12), token("<y>", 13)], {}, {}),
    "in the vocabulary": ([token("<x>", 11), token("<y>", 12)], {"<x>": 11}, {}),
    "in the vocabulary with another id": ([token("<x>", 30), token("<y>", 12)], {"<x>": 11}, {}),
    "in the vocabulary, first of them last": ([token("<y>", 11), token("<x>", 12)], {"<y>": 11}, {}),
    "a word of the vocabulary": ([token("ab", 2), token("<x>", 11), token("<y>", 12)], {}, {}),
    "behind a gap of the vocabulary": ([token("<x>", 21), token("<y>", 22)], {"c": 20}, {}),
    "the same in both files": (X, {}, decoder((11, "<x>", {}), (12, "<y>", {}))),
    "other flags in the configuration": (X, {}, decoder((11, "<x>", {}), (12, "<y>", dict(lstrip=True, rstrip=True)))),
    "flags taken back by the configuration": ([token("<x>", 11), token("<y>", 12, lstrip=True)], {}, decoder((12, "<y>", {}))),
    "more in the configuration": (X, {}, decoder((13, "<z>", {}), (14, "<q>", dict(special=False, rstrip=True)))),
    "more in the configuration, other ids": (X, {}, decoder((19, "<z>", {}), (15, "<q>", {}))),
    "more in the configuration, in the vocabulary": (X, {}, decoder((10, "<p>", {}), (13, "<z>", {}))),
    "other ids in the configuration": (X, {}, decoder((12, "<x>", {}), (11, "<y>", {}))),
    "a special token that is a word": (X, {}, dict(pad_token="<p>")),
    "a special token that is an object": (X, {}, dict(pad_token=dict(token("<p>", lstrip=True), __type="AddedToken"))),
    "BOS that is a word": (X, {}, dict(bos_token="aba")),
    "special tokens that are new": (X, {}, dict(pad_token="<z>", unk_token="<q>", eos_token="<y>")),
    "additional special tokens": (X, {}, dict(additional_special_tokens=["<z>", "<y>", "<q>"])),
    "extra special tokens": (X, {}, dict(extra_special_tokens=["<z>", "<y>", "<q>"])),
}

out = []
for name, (added, vocabulary, config) in CASES.items():
    file = dict(version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None,
                model=dict(type="BPE", vocab=dict(VOCABULARY, **vocabulary), merges=MERGES))
    with tempfile.TemporaryDirectory() as folder:
        for path, content in (("tokenizer.json", file), ("tokenizer_config.json", dict(config, tokenizer_class="PreTrainedTokenizerFast"))):
            pathlib.Path(folder, path).write_text(json.dumps(content))
        ids = PreTrainedTokenizerFast.from_pretrained(folder)(TEXT, add_special_tokens=False)["input_ids"]
    out.append(dict(name=name, file=file, config=config, text=TEXT, ids=ids))
pathlib.Path(__file__).with_name("added_tokens.json").write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in out) + "\n]\n")
