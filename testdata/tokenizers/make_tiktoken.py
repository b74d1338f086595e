#!/usr/bin/env python3
"""A small tiktoken.model in the form that Kimi-K2 and Moonlight publish, and the ids that PyPI `tiktoken` (0.14.0) gives
for corpus.json when it is set up as the code of those models sets it up: their pattern, the names of
added_tokens_decoder, <|reserved_token_ID|> for the rest of the 258 ids behind the ranks, and their cuts of long texts.

    python make_tiktoken.py                        # writes moonshot/{tiktoken.model,tokenizer_config,expected,long_runs}.json
    python make_tiktoken.py --ids DIR TEXT         # prints the ids of a text file for the model of any such directory
"""
import argparse, base64, json, pathlib, tiktoken
from make_tokenizers import KIMI_K2, fingerprint

HERE = pathlib.Path(__file__).parent
NAMES = ["[BOS]", "[EOS]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|end|>", "<|start_header_id|>", "<|end_header_id|>",
         "<|begin|>", "[EOT]", "<|im_system|>"]
EXTRA = ["ab" * 2, "abab" * 2, " " * 2, " " * 4, " " * 8, " " * 16, "\n\n", "\t\t", "\r\n", "人人", "人人生", "の", "はan", "ан", "yesterday", " yesterday", "99", "999",
         "éé", "😀", "e\u0301", "def", " return", "();", "aa", "aaa", "aaaa", "aaaaa", "def f", "://", "!?", "'s", "S's"]


def load(directory):
    ranks = {}
    for line in (directory / "tiktoken.model").read_bytes().splitlines():
        if line:
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
    added = json.load(open(directory / "tokenizer_config.json"))["added_tokens_decoder"]
    names = {int(i): t["content"] for i, t in added.items()}
    base = len(ranks)
    special = {names.get(i, f"<|reserved_token_{i}|>"): i for i in range(base, base + 256 + 2)}
    hidden = {int(i) for i, t in added.items() if t["special"]}
    return tiktoken.Encoding(name="moonshot", pat_str=KIMI_K2, mergeable_ranks=ranks, special_tokens=special), hidden


def runs(text, longest=25_000):
    start = length = 0
    space = text[:1].isspace()
    for i, c in enumerate(text):
        if c.isspace() != space:
            length, space = 1, c.isspace()
        else:
            length += 1
            if length > longest:
                yield text[start:i]
                start, length = i, 1
    yield text[start:]


def encode(model, text):
    return [t for i in range(0, len(text), 400_000) for part in runs(text[i:i + 400_000]) for t in model.encode(part, allowed_special="all")]


def write_model(out):
    trained = json.load(open(HERE / "kimi_k2/tokenizer.json"))["model"]["vocab"]
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    letters = {chr(b): b for b in printable}
    letters.update({chr(0x100 + i): b for i, b in enumerate(b for b in range(256) if b not in printable)})
    tokens = [bytes([b]) for b in range(256)]
    words = [bytes(letters[c] for c in t) for t, _ in sorted(trained.items(), key=lambda e: e[1]) if not t.startswith("<|")]
    for token in words + [e.encode() for e in EXTRA]:
        if token not in tokens:
            tokens.append(token)
    # Not in the order of their making: tiktoken merges by rank alone, however a token can be made of two others.
    tokens[300:340] = reversed(tokens[300:340])
    out.mkdir(exist_ok=True)
    (out / "tiktoken.model").write_bytes(b"".join(base64.b64encode(t) + b" %d\n" % i for i, t in enumerate(tokens)))
    added = {str(len(tokens) + i + (3 if i > 6 else 0)): dict(content=name, lstrip=False, normalized=False, rstrip=False, single_word=False, special=name != "<|im_system|>")
             for i, name in enumerate(NAMES)}
    config = dict(added_tokens_decoder=added, additional_special_tokens=NAMES[2:5], auto_map={"AutoTokenizer": ["tokenization_kimi.TikTokenTokenizer", None]}, bos_token="[BOS]",
                  eos_token="[EOS]", model_max_length=1e30, tokenizer_class="TikTokenTokenizer")
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=1))


def write_expected(out):
    model, hidden = load(out)
    rows = []
    for line in json.load(open(HERE / "corpus.json")):
        ids = encode(model, line)
        row = dict(ids=ids, text=model.decode(ids), clean=model.decode([i for i in ids if i not in hidden]))
        if row["clean"] == row["text"]:
            del row["clean"]
        rows.append(row)
    (out / "expected.json").write_text("[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "\n]\n")
    (out / "long_runs.json").write_text(json.dumps([fingerprint(encode(model, s * n)) for s, n in json.load(open(HERE / "long_runs.json"))]))
    # Runs and texts that the reference code cuts: 60,000 characters without white space, 70,000 of it, and 900,000 in all.
    prose = json.load(open(HERE / "corpus.json"))[0]
    cut = ["ab9人" * 15_000, " \n" * 35_000, (prose + "\n") * (900_000 // (len(prose) + 1)), "x " * 199_999 + "yesterday" * 3]
    (out / "cut.json").write_text(json.dumps([fingerprint(encode(model, s)) for s in cut]))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--ids", nargs=2)
    ids = arguments.parse_args().ids
    if ids:
        print(json.dumps(encode(load(pathlib.Path(ids[0]))[0], open(ids[1], encoding="utf-8", newline="").read()), separators=(",", ":")))
    else:
        write_model(HERE / "moonshot")
        write_expected(HERE / "moonshot")
