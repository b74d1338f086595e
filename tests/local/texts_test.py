#!/usr/bin/env python3
"""Tokenizers and texts of a job, through quantmoe-local: a model with tiktoken.model alone is quantized, and the artifact carries what
other runtimes and its publisher need; conversations are rendered with the model's chat template; a text that cannot be what was meant is
refused before any weight is read."""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

SECONDS = 240
SPEC = ["--bits", "4", "--heuristic", "uniform", "--samples", "2", "--sequence-length", "32", "--window", "32", "--group-size", "32",
        "--min-tokens-ratio", "0"]
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content|trim }}<|im_end|>\n{% endfor %}"
WORDS = "the keeper of the lamp went down to the water and counted the boats. " * 12
SCRIPTED = """raise SystemExit("code of a model directory was run")\n"""
CARRIED = ["LICENSE-MODEL", "LICENSE-CODE", "License.md", "licence.txt", "USAGE_POLICY", "Acceptable_Use_Policy.md", "NOTICE.txt",
           "THIRD_PARTY_NOTICES.md", "COPYING", "chat_template.jinja", "additional_chat_templates/tool_use.jinja", "tokenization_kimi.py"]
LEFT = ["training_log.txt", "additional_chat_templates/notes.txt", "original/LICENSE"]


def conversation(text):
    return [{"role": "user", "content": text}, {"role": "assistant", "content": "  so they did \n"}]


def rendered(text):
    return f"<|im_start|>user\n{text.strip()}<|im_end|>\n<|im_start|>assistant\nso they did<|im_end|>\n"


class Texts:
    def __init__(self, local, testdata, work):
        self.local, self.work, self.failures = local, work, []
        self.tiny = testdata / "tiny-qwen2-moe"
        self.tokenizers = testdata / "tokenizers"

    def run(self, *arguments, succeed=True):
        command = [self.local, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        self.expect((done.returncode == 0) == succeed, f"{' '.join(command)}\n{done.stdout[-500:]}{done.stderr[-1500:]}")
        return done

    def expect(self, holds, what):
        if not holds:
            self.failures.append(what)
            print("FAILED:", what)

    def model(self, name, files=(), leave=(), config=None):
        """The tiny model with other small files."""
        directory = self.work / name
        shutil.copytree(self.tiny, directory, ignore=shutil.ignore_patterns(*leave))
        for path, text in dict(files).items():
            (directory / path).parent.mkdir(exist_ok=True)
            (directory / path).write_text(text)
        if config is not None:
            path = directory / "tokenizer_config.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
        return directory

    def file(self, name, content):
        path = self.work / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def refused(self, model, content, *words, more=()):
        data = self.file("refused.txt", content)
        done = self.run("quantize", "--model", model, "--calibration", data, "--no-evaluation", "--out", self.work / "none", *SPEC, *more,
                        succeed=False)
        for word in words:
            self.expect(word in done.stderr, f"'{word}' is not in: {done.stderr[-800:]}")
        self.expect(not (self.work / "none").exists(), "an output in spite of an error")

    def tiktoken_alone(self):
        """As Kimi-K2 is published: the ids of PyPI tiktoken, a whole job, and everything carried."""
        reference = self.tokenizers / "moonshot"
        files = {name: f"{name}\n" for name in CARRIED + LEFT}
        files["tokenization_kimi.py"] = SCRIPTED
        files["chat_template.jinja"] = CHATML
        for name in ("tiktoken.model", "tokenizer_config.json"):
            files[name] = (reference / name).read_text()
        model = self.model("tiktoken", files, leave=["tokenizer.json", "tokenizer_config.json"])
        corpus = json.loads((self.tokenizers / "corpus.json").read_text())
        expected = json.loads((reference / "expected.json").read_text())
        line = next(i for i, text in enumerate(corpus) if "人人生" in text)
        done = self.run("tokenize", "--model", model, "--text", self.file("line.txt", corpus[line]))
        self.expect(json.loads(done.stdout) == expected[line]["ids"], f"ids of line {line}: {done.stdout}")
        out = self.work / "artifact"
        rows = "\n".join(json.dumps({"messages": conversation(WORDS)}) for _ in range(3))
        self.run("quantize", "--model", model, "--calibration", self.file("chat.jsonl", rows), "--no-evaluation", "--out", out, *SPEC)
        manifest = {file["path"] for file in json.loads((out / "artifact.json").read_text())["files"]}
        card = (out / "README.md").read_text()
        for name in CARRIED + ["tiktoken.model", "tokenizer_config.json"]:
            same = (out / name).is_file() and (out / name).read_text() == files[name]
            self.expect(same and name in manifest, f"{name} is not carried")
            self.expect(f"`{name}`" in card, f"the model card does not name {name}")
        for name in LEFT:
            self.expect(not (out / name).exists() and name not in manifest, f"{name} is carried")

    def conversations(self):
        """Rows of each form score as the plain text that their rendering is."""
        model = self.model("chat", config={"chat_template": [{"name": "rag", "template": "x"}, {"name": "default", "template": CHATML}]})

        def score(name, content):
            done = self.run("evaluate", "--model", model, "--text", self.file(name, content), "--window", "32")
            return json.loads(done.stdout)["perplexity"] if done.returncode == 0 else None

        plain = score("plain.txt", rendered(WORDS) * 2)
        rows = [{"messages": conversation(WORDS)}] * 2
        alpaca = [{"instruction": WORDS, "input": "", "output": "so they did"}] * 2
        shared = [{"conversations": [{"from": "human", "value": WORDS}, {"from": "gpt", "value": "so they did"}]}] * 2
        for name, content in (("messages.jsonl", "\n".join(map(json.dumps, rows))), ("messages.json", json.dumps(rows, indent=1)),
                              ("alpaca.jsonl", "\n".join(map(json.dumps, alpaca))), ("shared.json", json.dumps(shared)),
                              ("bom.jsonl", b"\xef\xbb\xbf" + "\n".join(map(json.dumps, rows)).encode())):
            self.expect(plain is not None and score(name, content) == plain, f"{name} does not score as its rendering")

    def refusals(self):
        chat = json.dumps({"messages": conversation(WORDS)})
        self.refused(self.tiny, chat, "CHAT_TEMPLATE_MISSING", "spec.calibration.text:1")
        broken = self.model("broken_template", {"chat_template.jinja": "x\n{{ messages|frobnicate }}"})
        self.refused(broken, chat, "CHAT_TEMPLATE_FAILED", "chat_template.jinja", "line 2", "frobnicate")
        self.refused(self.tiny, json.dumps({"content": WORDS}), "TASK_DATA_INVALID", "field 'text' is missing")
        self.refused(self.tiny, json.dumps([{"body": WORDS}]), "TASK_DATA_INVALID", "field 'text' is missing")
        self.refused(self.tiny, WORDS.encode("utf-16"), "TASK_DATA_INVALID", "UTF-16")
        self.refused(self.tiny, WORDS.encode("utf-16-le"), "TASK_DATA_INVALID", "UTF-16")
        self.refused(self.tiny, "Größere Straßen ".encode("latin-1") * 50, "TASK_DATA_INVALID", "ill-formed")
        without = self.model("no_bos", config={"bos_token": None})
        self.refused(without, WORDS * 4, "TOKENIZER_HAS_NO_BOS", more=["--add-bos"])
        other = self.model("other_tiktoken", {"tiktoken.model": "IQ== 0\n", "tokenizer_config.json": '{"tokenizer_class": "QWenTokenizer"}'},
                           leave=["tokenizer.json", "tokenizer_config.json"])
        self.refused(other, WORDS, "TOKENIZER_UNSUPPORTED", "QWenTokenizer", "convert_tiktoken_to_fast")
        spm = self.model("sentencepiece", {"tokenizer.model": "x"}, leave=["tokenizer.json"])
        self.refused(spm, WORDS, "MODEL_INVALID", "tokenizer.json is missing", "save_pretrained")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--local", required=True)
    parser.add_argument("--testdata", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        texts = Texts(arguments.local, arguments.testdata, pathlib.Path(work))
        for story in (texts.refusals, texts.conversations, texts.tiktoken_alone):
            story()
    sys.exit(f"{len(texts.failures)} failed" if texts.failures else 0)


main()
