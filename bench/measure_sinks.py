#!/usr/bin/env python3
"""Attention sinks of a checkpoint, the massive activations behind them and the experts that make these: the figures of docs/quantmoe-bench.md.

Needs torch and transformers in its own environment; not part of ./dev setup.
  python bench/measure_sinks.py --model MODEL_DIR --text UNSEEN --calibration CALIBRATION --out sinks.json

In f32, on windows of the unseen text that start anywhere and on the same text behind the begin token:
- norm of the stream by token and layer; massive tokens (over MASSIVE times the layer's median) and the layers that make and end them
- attention received by each token: the mean over heads and over all later queries; sinks that are not first tokens
- largest |output of the down projection| by expert and layer (a dense MLP and a shared expert are experts too); super experts by the
  criterion of arXiv 2507.23279 and by MASSIVE tokens; rows and channels that carry them
- every token of the vocabulary as the start of a sequence, for what it becomes depends on nothing else; and so, for the calibration text
  cut in several ways, how many massive starts each expert sees in the layer that makes most of them
"""
import argparse
import collections
import json
import pathlib
import time

import numpy as np
import torch
import transformers

MASSIVE = 20        # times the median norm of the layer
LARGE = 5           # the same, for tokens worth a line of their own
GROWTH = 3          # a layer makes a massive token when it multiplies its norm by this
LATER_QUERIES = 64  # fewer later queries say little about a token as a sink
SINK = 0.3          # attention received, of 1
SHARE_OF_LARGEST, PERCENTILE, DEPTH = 0.1, 99.5, 0.75  # arXiv 2507.23279
OVER_MEDIAN = 20    # of the largest outputs of all experts
CUTS = ((32, 512), (64, 256), (128, 128), (256, 64), (512, 32), (1024, 16), (2048, 8))
VOCABULARY_BATCH = 2048


class Recording:
    """What the hooks saw of one set of windows; tokens are numbered window by window."""

    def __init__(self, layers, length, keep_starts_of):
        self.length = length
        self.keep_starts_of = keep_starts_of  # a layer or None
        self.first = 0  # token number at which the batch in flight begins
        self.norms = [[] for _ in range(layers)]
        self.received = [[] for _ in range(layers)]
        self.outputs = [[] for _ in range(layers)]  # (block, token numbers, router weights, largest |output|)
        self.peaks = {}   # (layer, block): the output with the largest element
        self.starts = {}  # (layer, block): inputs of the down projection for first tokens

    def norm(self, layer):
        return np.concatenate(self.norms[layer])

    def rows(self, layer):
        """(block of each row, token, router weight, largest |output|) over all batches."""
        blocks = np.array([block for block, tokens, *_ in self.outputs[layer] for _ in tokens])
        return (blocks, *(np.concatenate([part[i] for part in self.outputs[layer]]) for i in (1, 2, 3)))

    def add_outputs(self, layer, block, tokens, weights, inside, outputs, down):
        largest = outputs.abs().amax(-1)
        numbers = tokens.numpy() + self.first
        self.outputs[layer].append((block, numbers, weights.numpy(), largest.numpy()))
        if layer == self.keep_starts_of:
            self.starts.setdefault((layer, block), []).append(inside[tokens % self.length == 0].numpy().copy())
        best = int(largest.argmax())
        if largest[best] > self.peaks.get((layer, block), {"largest": 0.0})["largest"]:
            self.peaks[layer, block] = self.peak(numbers[best], inside[best], outputs[best], down)

    @staticmethod
    def peak(token, inside, output, down):
        """Rows of the output that carry the peak, and the channels that carry the largest row."""
        rows = output.abs().topk(4).indices
        parts = inside * down[rows[0]]
        channels = (parts * output[rows[0]].sign()).topk(4).indices
        return {"largest": output.abs().max().item(), "token": int(token),
                "rows": [[int(r), output[r].item()] for r in rows],
                "energy_of_the_largest_row": (output[rows[0]] ** 2 / output.square().sum()).item(),
                "channels": [[int(c), (parts[c] / output[rows[0]]).item(), inside[c].item(), down[rows[0], c].item()] for c in channels],
                "weight_rms": down.square().mean().sqrt().item(), "weight_largest": down.abs().max().item()}


class Model:
    """A checkpoint whose layers report to `recording`."""

    def __init__(self, folder):
        self.tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        whole = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        self.body, self.config = whole.model, whole.config
        self.layers = list(self.body.layers)
        self.recording = None
        for index, layer in enumerate(self.layers):
            self.watch(index, layer)

    def watch(self, index, layer):
        layer.register_forward_hook(lambda _m, _i, out: self.saw_stream(index, out[0] if isinstance(out, tuple) else out))
        layer.self_attn.register_forward_hook(lambda _m, _i, out: self.saw_attention(index, out[1]))
        mlp = layer.mlp
        if hasattr(mlp, "experts"):
            mlp.experts.forward = lambda hidden, chosen, weights, m=mlp.experts: self.run_experts(index, m, hidden, chosen, weights)
        for block, part in (("mlp", mlp), ("shared", getattr(mlp, "shared_expert", None))):
            if hasattr(part, "down_proj"):
                part.down_proj.register_forward_hook(lambda m, i, out, b=block: self.saw_dense(index, b, i[0], out, m.weight))

    def saw_stream(self, index, hidden):
        self.recording.norms[index].append(hidden.norm(dim=-1).numpy())

    def saw_attention(self, index, weights):
        """Mean over heads and later queries, by key; NaN where there are few."""
        length = weights.shape[-1]
        if length <= LATER_QUERIES:
            return
        later = torch.tril(weights.mean(1), -1).sum(1) / torch.arange(length - 1, -1, -1).clamp(min=1)
        later[:, length - LATER_QUERIES:] = torch.nan
        self.recording.received[index].append(later.numpy())

    def saw_dense(self, index, block, inside, output, weight):
        inside, output = inside.flatten(0, -2), output.flatten(0, -2)
        self.recording.add_outputs(index, block, torch.arange(len(output)), torch.ones(len(output)), inside, output, weight)

    def run_experts(self, index, experts, hidden, chosen, weights):
        result = torch.zeros_like(hidden)
        for expert in chosen.unique().tolist():
            tokens, slots = (chosen == expert).nonzero(as_tuple=True)
            gate, up = (hidden[tokens] @ experts.gate_up_proj[expert].T).chunk(2, dim=-1)
            inside = experts.act_fn(gate) * up
            output = inside @ experts.down_proj[expert].T
            weight = weights[tokens, slots]
            self.recording.add_outputs(index, f"expert {expert}", tokens, weight, inside, output, experts.down_proj[expert])
            result.index_add_(0, tokens, output * weight[:, None])
        return result

    def encode(self, path):
        return torch.tensor(self.tokenizer.encode(pathlib.Path(path).read_text(encoding="utf-8"), add_special_tokens=False))

    def record(self, windows, layers=None, batch=4, keep_starts_of=None):
        """Runs windows [count, length] through the first `layers` layers."""
        self.recording = Recording(len(self.layers), windows.shape[1], keep_starts_of)
        kept = self.body.layers
        self.body.layers = kept[:layers]
        with torch.inference_mode():
            for part in windows.split(batch):
                self.body(part, use_cache=False)
                self.recording.first += part.numel()
        self.body.layers = kept
        return self.recording


def streams(recording):
    """Per layer: median and largest norm, massive tokens; then who is massive and which layers make and end them."""
    norms = np.stack([recording.norm(i) for i in range(len(recording.norms))])  # [layers, windows, length]
    median = np.median(norms, axis=(1, 2), keepdims=True)
    massive = norms > MASSIVE * median
    before = np.concatenate([np.full_like(norms[:1], np.inf), norms[:-1]])
    made = massive & (norms > GROWTH * before)
    ended = ~massive[1:] & massive[:-1]
    return norms, median[:, 0, 0], massive, made, ended


def reached(recording, layer, token):
    """[block, router weight, largest |output|] of one token in one layer."""
    blocks, tokens, weights, largest = recording.rows(layer)
    return [[str(blocks[i]), float(weights[i]), float(largest[i])] for i in np.flatnonzero(tokens == token)]


def massive_tokens(model, windows, recording, norms, massive, made):
    """One entry a token that is massive after any layer, with the experts that it reaches where it is made so."""
    entries = []
    for window, position in np.argwhere(massive.any(0)):
        layers = np.flatnonzero(massive[:, window, position])
        top = int(norms[:, window, position].argmax())
        makers = np.flatnonzero(made[:, window, position])
        entries.append({"window": int(window), "position": int(position), "text": model.tokenizer.decode(windows[window, position]),
                        "layers": [int(layers[0]), int(layers[-1])], "count_of_layers": len(layers),
                        "largest_norm": float(norms[top, window, position]), "largest_after_layer": top,
                        "made_by": {int(layer): reached(recording, layer, window * norms.shape[2] + position) for layer in makers}})
    return entries


def large_tokens(model, windows, norms, median):
    """Tokens behind the first over LARGE times the median, by layer: how many, their largest norm and the texts that are most of them."""
    rows = []
    for layer, of_layer in enumerate(norms):
        places = np.argwhere(of_layer[:, 1:] > LARGE * median[layer])
        texts = collections.Counter(model.tokenizer.decode(windows[w, p + 1]) for w, p in places)
        rows.append({"tokens": len(places), "windows": len(set(places[:, 0].tolist())), "largest": float(of_layer[:, 1:].max()),
                     "texts": texts.most_common(5)})
    return rows


def attention(model, windows, recording, massive):
    """Per layer: what first tokens and the strongest other token receive; and all sinks that are not first."""
    layers, sinks = [], {}
    ever_massive = massive.any(0)
    for index, parts in enumerate(recording.received):
        received = np.concatenate(parts)
        others = received[:, 1:]
        layers.append({"first": float(received[:, 0].mean()), "first_least": float(received[:, 0].min()),
                       "largest_other": float(np.nanmax(others)), "sinks_that_are_not_first": int((others > SINK).sum())})
        for window, position in np.argwhere(others > SINK):
            sinks.setdefault((int(window), int(position) + 1), []).append([index, float(others[window, position])])
    return {"layers": layers, "sinks_that_are_not_first": [
        {"window": w, "position": p, "text": model.tokenizer.decode(windows[w, p]), "massive": bool(ever_massive[w, p]), "layers": seen}
        for (w, p), seen in sorted(sinks.items())]}


def experts(recording, made):
    """{(layer, block): largest outputs, of all tokens and of those that the layer does and does not make massive}."""
    found = {}
    for layer in range(len(recording.outputs)):
        blocks, tokens, weights, largest = recording.rows(layer)
        making = made[layer].flatten()[tokens]
        for block in np.unique(blocks):
            of_block = blocks == block
            found[layer, str(block)] = {
                "largest": float(largest[of_block].max()), "largest_times_weight": float((largest * weights)[of_block].max()),
                "largest_of_ordinary_tokens": float(largest[of_block & ~making].max(initial=0)),
                "largest_of_made_massive": float(largest[of_block & making].max(initial=0)),
                "tokens": int(of_block.sum()), "tokens_made_massive": int((of_block & making).sum())}
    return found


def super_experts(found, layers):
    """Flags by criterion, each a list of [layer, block, largest output]."""
    values = np.array([e["largest"] for e in found.values()])
    top, median, percentile = values.max(), np.median(values), np.percentile(values, PERCENTILE)
    tenth = SHARE_OF_LARGEST * top

    def listed(test):
        return sorted(([*key, e["largest"]] for key, e in found.items() if test(key[0], e)), key=lambda row: -row[2])

    return {
        "largest": float(top), "median": float(median), "percentile_99.5": float(percentile), "largest_over_median": float(top / median),
        "over_a_tenth": listed(lambda _, e: e["largest"] > tenth),
        "paper": listed(lambda layer, e: layer < DEPTH * layers and e["largest"] > max(tenth, percentile)),
        "ratio": listed(lambda _, e: e["largest"] > max(tenth, OVER_MEDIAN * median)),
        "makes_massive": listed(lambda _, e: e["largest_of_made_massive"] > max(tenth, OVER_MEDIAN * median)),
    }


def making_layers(made):
    """Layers that make massive tokens, with how many."""
    counts = made.sum((1, 2))
    return {int(layer): int(counts[layer]) for layer in np.flatnonzero(counts)}


def directions(rows):
    """How many different inputs these are: shares of energy of the first directions of their unit vectors."""
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12)
    energy = np.linalg.svd(units, compute_uv=False) ** 2
    shares = energy.cumsum() / energy.sum()
    return {"first": float(shares[0]), "for_99_percent": int(np.searchsorted(shares, 0.99)) + 1}


def vocabulary(model, layer, threshold):
    """Every token as the start of a sequence, through `layer`: (recording, is it massive)."""
    recording = model.record(torch.arange(model.config.vocab_size)[:, None], layer + 1, batch=VOCABULARY_BATCH, keep_starts_of=layer)
    norms = recording.norm(layer)[:, 0]
    return recording, norms, norms > threshold


def vocabulary_report(model, recording, layer, norms, massive, ids):
    """Which tokens become massive as starts, and which experts those reach: by the vocabulary and by the tokens of the text."""
    used = np.bincount(ids, minlength=len(norms))
    ordinary = [int(t) for t in np.argsort(-used * ~massive)[:20] if used[t] and not massive[t]]
    reached_by = {}
    blocks, rows, weights, largest = recording.rows(layer)
    for block in map(str, np.unique(blocks)):
        at = (blocks == block) & massive[rows]
        reached_by[block] = {"massive_starts": int(at.sum()), "share_by_text": float(used[rows[at]].sum() / (used * massive).sum()),
                             "mean_weight": float(weights[at].mean()) if at.any() else None, "largest": float(largest[at].max(initial=0)),
                             "median": float(np.median(largest[at])) if at.any() else None}
    return {"tokens": len(norms), "massive": int(massive.sum()), "massive_share_by_text": float((used * massive).sum() / used.sum()),
            "norm_quantiles": {str(q): float(np.quantile(norms, q)) for q in (0, 0.01, 0.1, 0.5, 0.9, 0.99, 1)}, "experts": reached_by,
            "frequent_tokens_that_are_not": [[model.tokenizer.decode([t]), int(used[t]), float(norms[t])] for t in ordinary]}


def starts(recording, layer, massive, ids, cut):
    """Massive starts that each expert sees when the text's first tokens are cut as (count, length): looked up, for a start has no context."""
    count, length = cut
    tokens = ids[: count * length : length]
    report = {"starts": count, "length": length, "distinct": len(set(tokens.tolist())), "massive": int(massive[tokens].sum()), "experts": {}}
    blocks, rows, weights, _ = recording.rows(layer)
    for block in map(str, np.unique(blocks)):
        places = np.full(len(massive), -1)
        places[rows[blocks == block]] = np.arange((blocks == block).sum())
        seen = tokens[(places[tokens] >= 0) & massive[tokens]]
        inputs = np.concatenate(recording.starts[layer, block])[places[seen]]
        report["experts"][block] = {"massive_starts": len(seen), "distinct": len(set(seen.tolist())),
                                    "mean_weight": float(weights[blocks == block][places[seen]].mean()) if len(seen) else None,
                                    "directions": directions(inputs) if len(seen) > 1 else None}
    return report


def start_figures(model, calibration, layer, threshold):
    ids = model.encode(calibration).numpy()
    recording, norms, massive = vocabulary(model, layer, threshold)
    return {"making_layer": layer, "threshold": threshold, "vocabulary": vocabulary_report(model, recording, layer, norms, massive, ids),
            "starts": [starts(recording, layer, massive, ids, cut) for cut in CUTS]}


def super_experts_by_vocabulary(report):
    """The criterion that docs/quantmoe-bench.md recommends: [layer, block, largest output at massive starts] of the making layer."""
    seen = report["arbitrary_starts"]["super_experts"]
    blocks = report["vocabulary"]["experts"]
    largest = max(seen["largest"], *(e["largest"] for e in blocks.values()))
    least = max(SHARE_OF_LARGEST * largest, OVER_MEDIAN * seen["median"])
    return [[report["making_layer"], block, e["largest"]] for block, e in blocks.items() if e["largest"] > least]


def whole_windows(model, options, bos):
    ids = model.encode(options.text)
    length = options.window - 1 if bos else options.window
    windows = ids[: options.windows * length].view(options.windows, length)
    return torch.cat([torch.full((len(windows), 1), model.config.bos_token_id), windows], 1) if bos else windows


def measure(model, options, bos):
    """One pass of windows: (report, norms, layers that make massive tokens)."""
    windows = whole_windows(model, options, bos)
    recording = model.record(windows)
    norms, median, massive, made, ended = streams(recording)
    found = experts(recording, made)
    flags = super_experts(found, len(model.layers))
    flagged = {(layer, block) for rule in ("paper", "ratio", "makes_massive") for layer, block, _ in flags[rule]}
    report = {
        "windows": len(windows), "length": windows.shape[1],
        "norm": {"median": median.tolist(), "largest": norms.max((1, 2)).tolist(), "median_of_first": np.median(norms[:, :, 0], 1).tolist(),
                 "least_of_first": norms[:, :, 0].min(1).tolist(), "largest_of_others": norms[:, :, 1:].max((1, 2)).tolist()},
        "massive_per_layer": massive.sum((1, 2)).tolist(), "massive_first_per_layer": massive[:, :, 0].sum(1).tolist(),
        "large_tokens_behind_the_first": large_tokens(model, windows, norms, median),
        "made_in_layer": making_layers(made), "ended_in_layer": {int(i) + 1: int(n) for i, n in enumerate(ended.sum((1, 2))) if n},
        "massive_tokens": massive_tokens(model, windows, recording, norms, massive, made),
        "attention": attention(model, windows, recording, massive),
        "super_experts": flags,
        "carriers": [{"layer": layer, "block": block, **recording.peaks[layer, block]} for layer, block in sorted(flagged)],
        "experts": [{"layer": layer, "block": block, **e} for (layer, block), e in found.items()],
    }
    return report, median


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True, help="unseen text for streams, attention and experts")
    parser.add_argument("--calibration", required=True, help="text whose first tokens are cut in several ways")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    begin = time.monotonic()
    model = Model(options.model)
    report = {"model": pathlib.Path(options.model).name, "super_experts": []}
    report["arbitrary_starts"], median = measure(model, options, bos=False)
    report["begin_token"], _ = measure(model, options, bos=True)
    made = report["arbitrary_starts"]["made_in_layer"]
    if made:
        layer = max(made, key=made.get)
        report |= start_figures(model, options.calibration, layer, MASSIVE * float(median[layer]))
        report["super_experts"] = super_experts_by_vocabulary(report)
    report["seconds"] = time.monotonic() - begin
    pathlib.Path(options.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{report['model']}: massive tokens made in layers {made}, super experts "
          f"{[row[:2] for row in report['super_experts']]}, {report['seconds']:.0f} s")


if __name__ == "__main__":
    main()
