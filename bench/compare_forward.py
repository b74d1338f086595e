#!/usr/bin/env python3
"""Forward tokens a second of quantmoe and of transformers on the same checkpoints, text and windows, one after the other in one run.

Needs torch, transformers and safetensors in its own environment; not part of ./dev setup.
  python bench/compare_forward.py --quantmoe build/release/local/quantmoe-local --text FILE MODEL_DIR...
Prints a row a model: tokens a second of both and the ratio, and the perplexity of both, which must agree.
"""
import argparse
import json
import math
import subprocess
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def ours(program, model, text, window, threads):
    command = [program, "--threads", str(threads), "evaluate", "--model", model, "--text", text, "--window", str(window), "--no-add-bos"]
    scores = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return scores["speed"]["tokens_per_second"], scores["perplexity"]["value"]


def theirs(model, text, window, batch):
    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = tokenizer(open(text, encoding="utf-8").read(), add_special_tokens=False, return_tensors="pt").input_ids[0]
    windows = ids[: len(ids) // window * window].view(-1, window)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    loss, scored, start = 0.0, 0, time.perf_counter()
    with torch.inference_mode():
        for rows in windows.split(batch):
            logits = loaded(rows, use_cache=False).logits[:, :-1]
            loss += torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum").item()
            scored += rows[:, 1:].numel()
    return windows.numel() / (time.perf_counter() - start), math.exp(loss / scored)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quantmoe", required=True, help="the program quantmoe-local")
    parser.add_argument("--text", required=True)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4, help="windows a pass of transformers")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("models", nargs="+")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{'model':32} {'quantmoe tok/s':>15} {'transformers':>13} {'ratio':>6} {'perplexity':>20}")
    for model in arguments.models:
        rate, perplexity = ours(arguments.quantmoe, model, arguments.text, arguments.window, arguments.threads)
        peer, peer_perplexity = theirs(model, arguments.text, arguments.window, arguments.batch)
        name = model.rstrip("/").rsplit("/", 1)[-1]
        print(f"{name:32} {rate:15.0f} {peer:13.0f} {rate / peer:6.2f} {perplexity:10.4f} {peer_perplexity:9.4f}", flush=True)


if __name__ == "__main__":
    main()
