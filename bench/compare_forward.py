#!/usr/bin/env python3
"""Forward tokens a second of quantmoe and of transformers on the same checkpoints, tokens and threads, in f32, in turns in one run.

Needs torch, transformers and safetensors in its own environment; not part of ./dev setup.
  python bench/compare_forward.py --quantmoe build/release/local/quantmoe-local --text testdata/tiny_heldout.txt MODEL_DIR...
  python bench/compare_forward.py --quantmoe ... --text ... --draw all
--draw makes random checkpoints of middling size (tiny ones would measure overhead) with the tokenizer of testdata; `FAMILY-experts`
has one narrow attention head, so that nearly all of its time is in the layers' experts; so has `qwen3_moe-many`, with 128 narrow ones and 8
of them for a token, in Qwen3-30B-A3B's proportions. Prints a row a model: tokens a second of
processor time of both (the best of some turns; a busy machine hardly changes it, and with one thread it is the clock's on an idle
one), the ratio, the ratio by the clock, and the perplexity of both, which must agree. Tokenizing is not counted; ours reads and
converts the weights within its time, theirs has loaded them before.
"""
import argparse
import collections
import json
import math
import pathlib
import shutil
import subprocess
import tempfile
import time

import torch
import transformers

TOKENIZER = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "tiny-qwen2-moe"
SIZES = dict(vocab_size=4096, hidden_size=512, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=4,
             max_position_embeddings=2048, bos_token_id=0, eos_token_id=1, pad_token_id=None, tie_word_embeddings=False)
LATENT = dict(q_lora_rank=None, kv_lora_rank=128, qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64, num_key_value_heads=8)
WIDE = dict(intermediate_size=1408)
# What a family needs beyond SIZES; experts are 16 of width 512, 4 for a token.
FAMILIES = {
    "llama": ("LlamaConfig", WIDE), "mistral": ("MistralConfig", {**WIDE, "sliding_window": 256}), "qwen2": ("Qwen2Config", WIDE),
    "qwen3": ("Qwen3Config", {**WIDE, "head_dim": 64}),
    "mixtral": ("MixtralConfig", dict(intermediate_size=512, num_local_experts=16, num_experts_per_tok=4)),
    "qwen2_moe": ("Qwen2MoeConfig", dict(moe_intermediate_size=512, shared_expert_intermediate_size=512, num_experts=16,
                                         num_experts_per_tok=4)),
    "qwen3_moe": ("Qwen3MoeConfig", dict(moe_intermediate_size=512, num_experts=16, num_experts_per_tok=4, head_dim=64)),
    "olmoe": ("OlmoeConfig", dict(intermediate_size=512, num_experts=16, num_experts_per_tok=4)),
    "deepseek_v2": ("DeepseekV2Config", {**LATENT, **WIDE, "moe_intermediate_size": 512, "n_routed_experts": 16, "num_experts_per_tok": 4,
                                         "n_shared_experts": 1, "first_k_dense_replace": 1, "topk_method": "greedy", "n_group": 1,
                                         "topk_group": 1, "norm_topk_prob": False, "routed_scaling_factor": 1.0}),
    "deepseek_v3": ("DeepseekV3Config", {**LATENT, **WIDE, "moe_intermediate_size": 512, "n_routed_experts": 16, "num_experts_per_tok": 4,
                                         "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2}),
    "glm4_moe": ("Glm4MoeConfig", {**WIDE, "moe_intermediate_size": 512, "n_routed_experts": 16, "num_experts_per_tok": 4,
                                   "n_shared_experts": 1, "first_k_dense_replace": 1, "head_dim": 64}),
    "gpt_oss": ("GptOssConfig", dict(intermediate_size=512, num_local_experts=16, num_experts_per_tok=4, head_dim=64, sliding_window=128)),
    "phimoe": ("PhimoeConfig", dict(intermediate_size=512, num_local_experts=16, num_experts_per_tok=2)),
    "granitemoe": ("GraniteMoeConfig", dict(intermediate_size=512, num_local_experts=16, num_experts_per_tok=4)),
}
Rates = collections.namedtuple("Rates", "cpu clock perplexity")
ONE_HEAD = dict(num_attention_heads=1, num_key_value_heads=1, head_dim=32)
VARIANTS = {"experts": ONE_HEAD, "many": dict(**ONE_HEAD, num_experts=128, num_experts_per_tok=8, moe_intermediate_size=192)}
DRAWN_VARIANTS = ("mixtral-experts", "qwen3_moe-experts", "gpt_oss-experts", "qwen3_moe-many")


def draw(name, folder):
    """A random checkpoint; returns its directory."""
    family, _, variant = name.partition("-")
    kind, special = FAMILIES[family]
    sizes = {**SIZES, **special, **VARIANTS.get(variant, {})}
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**sizes), dtype=torch.float32)
    directory = folder / name
    model.save_pretrained(directory)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / file, directory / file)
    return str(directory)


def ours(program, model, text, window, threads):
    command = [program, "--threads", str(threads), "evaluate", "--model", model, "--text", text, "--window", str(window), "--no-add-bos"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    scores = json.loads(done.stdout)
    speed = scores["speed"]
    return Rates(speed["tokens"] / speed["cpu_seconds"], speed["tokens_per_second"], scores["perplexity"]["value"])


class Peer:
    def __init__(self, model, text, window, batch):
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(model)  # AutoTokenizer overrides the file for some families
        ids = tokenizer(pathlib.Path(text).read_text(encoding="utf-8"), add_special_tokens=False, return_tensors="pt").input_ids[0]
        self.batches = ids[: len(ids) // window * window].view(-1, window).split(batch)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()

    def run(self):
        loss, scored, tokens, start, cpu_start = 0.0, 0, 0, time.perf_counter(), time.process_time()
        with torch.inference_mode():
            for rows in self.batches:
                logits = self.model(rows, use_cache=False).logits[:, :-1]
                loss += torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum").item()
                scored += rows[:, 1:].numel()
                tokens += rows.numel()
        return Rates(tokens / (time.process_time() - cpu_start), tokens / (time.perf_counter() - start), math.exp(loss / scored))


def compare(model, text, arguments):
    """Turns, so that both see the same neighbours on the machine; the best of each counts."""
    peer = Peer(model, text, arguments.window, arguments.batch)
    turns = [(ours(arguments.quantmoe, model, text, arguments.window, arguments.threads), peer.run()) for _ in range(arguments.turns)]
    mine, other = (Rates(*(max(values) for values in zip(*side))) for side in zip(*turns))
    name = model.rstrip("/").rsplit("/", 1)[-1]
    print(f"{name:24} {mine.cpu:14.0f} {other.cpu:12.0f} {mine.cpu / other.cpu:6.2f} {mine.clock / other.clock:9.2f} "
          f"{mine.perplexity:12.4f} {other.perplexity:12.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quantmoe", required=True, help="the program quantmoe-local")
    parser.add_argument("--text", required=True)
    parser.add_argument("--characters", type=int, default=30000, help="of the text; 0: all")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4, help="windows a pass of transformers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--draw", action="append", default=[], metavar="FAMILY", help=f"all, or of {', '.join(FAMILIES)}; repeatable")
    parser.add_argument("models", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    drawn = arguments.draw
    if "all" in drawn:
        drawn = [*FAMILIES, *DRAWN_VARIANTS]
    print(f"{'model':24} {'quantmoe tok/s':>14} {'transformers':>12} {'ratio':>6} {'by clock':>9} {'perplexity':>12} {'transformers':>12}")
    with tempfile.TemporaryDirectory() as scratch:
        text = pathlib.Path(scratch) / "text.txt"
        whole = pathlib.Path(arguments.text).read_text(encoding="utf-8")
        text.write_text(whole[: arguments.characters or None], encoding="utf-8")
        for model in arguments.models:
            compare(model, str(text), arguments)
        for name in drawn:
            directory = draw(name, pathlib.Path(scratch))
            compare(directory, str(text), arguments)
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
