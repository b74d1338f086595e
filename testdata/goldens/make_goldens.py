#!/usr/bin/env python3
"""Write tiny random-weight checkpoints in published Hugging Face layout and the outputs a forward pass must give.

    make_goldens.py --out DIR [--family NAME ...] [--configs FILE.json]

Every fixture is DIR/NAME/{config.json, model*.safetensors, golden.safetensors}. See README.md for the contents.
All numbers come from seeded CPU generators; each tensor has its own stream (seed + CRC of its name).
"""
import argparse
import contextlib
import copy
import json
import math
import pathlib
import re
import shutil
import zlib

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from transformers.core_model_loading import revert_weight_conversion

BATCH, SEQ = 2, 48
MOE_AS_MIXTRAL = ("mixtral", "phimoe", "minimax_m2")


# ---------------------------------------------------------------- random weights

def randn(seed, name, shape):
    gen = torch.Generator().manual_seed(seed * 1_000_003 + zlib.crc32(name.encode()))
    return torch.randn(shape, generator=gen, dtype=torch.float32)


def draw(name, shape, seed, opts):
    """One weight, scaled so that routing is spread, attention is not flat and logits are not near uniform."""
    x = randn(seed, name, tuple(shape))
    leaf = name.rsplit(".", 2)[-2] if name.endswith((".weight", ".bias")) else name.rsplit(".", 1)[-1]
    if "norm" in leaf:
        return 1 + 0.2 * x if name.endswith("weight") else 0.1 * x
    if leaf == "sinks":
        return x
    if name.endswith("e_score_correction_bias"):
        return 0.3 * x
    if name.endswith("bias"):
        return 0.2 * x
    if leaf == "embed_tokens":
        return opts.get("embed_std", 0.04) * x
    if leaf == "lm_head":
        return 0.2 * x
    if leaf in ("gate", "router", "shared_expert_gate", "wg"):
        return opts.get("router_gain", 2.5) / math.sqrt(shape[-1]) * x
    # fused gpt_oss and llama4 experts are stored [expert, in, out], everything else [..., out, in]
    fan_in = shape[-2] if opts.get("in_major") and ".experts." in name else shape[-1]
    gain = 1.5 if re.search(r"self_attn\.(q|k)(_[ab])?_proj|kv_a_proj|q_b_proj", name) else 1.0
    if leaf.startswith("gate_up_proj"):
        gain = opts.get("gate_up_gain", 1.0)
    return gain / math.sqrt(fan_in) * x


# ---------------------------------------------------------------- names on disk

def published(model_type, name, tensor):
    """In-memory transformers tensor -> (published name, tensor) pairs."""
    if model_type == "llama4":
        return [(name, tensor)]
    if model_type == "qwen3_vl_moe" and ".mlp.experts." in name:  # fused, [expert, in, out]
        return [(name, tensor.transpose(1, 2).contiguous())]
    if model_type == "exaone_moe":
        name = name.replace(".mlp.gate.e_score_correction_bias", ".mlp.e_score_correction_bias")
    if model_type == "hy_v3":
        for old, new in ((".mlp.gate.", ".mlp.router.gate."), (".e_score_correction_bias", ".expert_bias"),
                         (".shared_experts.", ".shared_mlp.")):
            name = name.replace(old, new)
    if model_type == "ernie4_5_moe":
        name = name.replace(".mlp.gate.moe_statics.", ".mlp.moe_statics.")
    if model_type == "granitemoe":
        for old, new in ((".experts.gate_up_proj", ".input_linear.weight"),
                         (".experts.down_proj", ".output_linear.weight"),
                         (".router.weight", ".router.layer.weight")):
            name = name.replace(old, new)
        return [(name, tensor)]
    if model_type == "gpt_oss":
        return [(name, tensor)]
    mixtral = model_type in MOE_AS_MIXTRAL
    if mixtral:
        name = name.replace(".mlp.router.", ".mlp.gate.").replace(".mlp.", ".block_sparse_moe.")
    if not name.endswith((".experts.gate_up_proj", ".experts.down_proj")):
        return [(name, tensor)]
    base, which = name.rsplit(".", 1)
    out = []
    for e, w in enumerate(tensor):
        parts = zip(("gate_proj", "up_proj"), w.chunk(2, 0)) if which == "gate_up_proj" else [("down_proj", w)]
        for part, value in parts:
            part = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}[part] if mixtral else part
            out.append((f"{base}.{e}.{part}.weight", value.contiguous()))
    return out


def kimi_tensors(model):
    """Published names, and the tower's fused attention, as transformers undoes them; it renames one part of a name too many."""
    wrong = (("language_model.model.blocks.", "language_model.model.layers."), ("model.mm_projector.", "mm_projector."))
    tensors = {}
    for name, tensor in revert_weight_conversion(model, dict(model.state_dict())).items():
        for old, new in wrong:
            name = name.replace(old, new)
        tensors[name] = tensor.contiguous()
    return tensors


def mtp_tensors(tensors, layers, seed, hidden, vocab):
    """A next-token-prediction block stored as layer `layers`, as DeepSeek-V3 and GLM-4.5 files have; to be ignored."""
    last, new = f"model.layers.{layers - 1}.", f"model.layers.{layers}."
    shapes = {new + k[len(last):]: v.shape for k, v in tensors.items() if k.startswith(last)}
    shapes |= {new + "eh_proj.weight": (hidden, 2 * hidden), new + "enorm.weight": (hidden,),
               new + "hnorm.weight": (hidden,), new + "shared_head.norm.weight": (hidden,)}
    return {k: draw(k, v, seed, {}) for k, v in shapes.items()}


def write_checkpoint(path, tensors, shards):
    tensors = dict(sorted(tensors.items()))
    if shards == 1:
        save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
        return
    names, weight_map = list(tensors), {}
    for s in range(shards):
        file = f"model-{s + 1:05d}-of-{shards:05d}.safetensors"
        part = {n: tensors[n] for i, n in enumerate(names) if i * shards // len(names) == s}
        save_file(part, path / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (path / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


# ---------------------------------------------------------------- plain reference of DeepSeek-MoE-16B (not in transformers)

def deepseek_v1(cfg, w, ids, sdpa=False, forced=None):
    """model_type "deepseek": Llama attention; softmax over all experts, top-k; shared experts added plainly."""
    heads, dim, eps = cfg["num_attention_heads"], cfg["hidden_size"] // cfg["num_attention_heads"], cfg["rms_norm_eps"]
    dtype = w["model.embed_tokens.weight"].dtype
    pos = torch.arange(ids.shape[1], dtype=torch.float32)
    inv = cfg["rope_theta"] ** (-torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    if cfg.get("rope_scaling"):  # {"type": "linear", "factor": f}
        assert cfg["rope_scaling"]["type"] == "linear"
        pos = pos / cfg["rope_scaling"]["factor"]
    angle = torch.outer(pos, inv).repeat(1, 2)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    mask = torch.full((ids.shape[1],) * 2, float("-inf"), dtype=dtype).triu(1)

    def norm(x, name):
        y = x.float() if dtype != torch.float64 else x
        return w[name] * (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)).to(dtype)

    def mlp(x, p):
        return (F.silu(x @ w[p + "gate_proj.weight"].T) * (x @ w[p + "up_proj.weight"].T)) @ w[p + "down_proj.weight"].T

    def rope(x):  # half-split pairs
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat((-b, a), -1) * sin

    def attention(x, p):
        q, k, v = ((x @ w[f"{p}{n}_proj.weight"].T).unflatten(-1, (heads, dim)).transpose(1, 2) for n in "qkv")
        q, k = rope(q), rope(k)
        if sdpa:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = (q @ k.transpose(2, 3) / math.sqrt(dim) + mask).softmax(-1) @ v
        return y.transpose(1, 2).flatten(2) @ w[p + "o_proj.weight"].T

    x = w["model.embed_tokens.weight"][ids]
    hidden, routes = [x], {}
    for i in range(cfg["num_hidden_layers"]):
        p = f"model.layers.{i}."
        x = x if forced is None else forced[i].to(dtype)
        x = x + attention(norm(x, p + "input_layernorm.weight"), p + "self_attn.")
        h = norm(x, p + "post_attention_layernorm.weight")
        if i < cfg["first_k_dense_replace"] or i % cfg["moe_layer_freq"]:
            x = x + mlp(h, p + "mlp.")
        else:
            scores = (h @ w[p + "mlp.gate.weight"].T).softmax(-1)
            weight, chosen = scores.topk(cfg["num_experts_per_tok"], dim=-1)
            if cfg["norm_topk_prob"]:
                weight = weight / (weight.sum(-1, keepdim=True) + 1e-20)
            y = torch.zeros_like(h)
            for e in range(cfg["n_routed_experts"]):
                picked = (chosen == e)
                rows = picked.any(-1)
                y[rows] += mlp(h[rows], f"{p}mlp.experts.{e}.") * (weight * picked).sum(-1, keepdim=True)[rows]
            x = x + y + mlp(h, p + "mlp.shared_experts.")
            routes[i] = (chosen, weight)
        hidden.append(x)
    return norm(x, "model.norm.weight") @ w["lm_head.weight"].T, hidden, routes


def deepseek_v1_shapes(c):
    h, v = c["hidden_size"], c["vocab_size"]

    def mlp(p, width):
        return {p + "gate_proj.weight": (width, h), p + "up_proj.weight": (width, h), p + "down_proj.weight": (h, width)}

    out = {"model.embed_tokens.weight": (v, h), "model.norm.weight": (h,), "lm_head.weight": (v, h)}
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        out |= {f"{p}self_attn.{n}_proj.weight": (h, h) for n in "qkvo"}
        out |= {p + "input_layernorm.weight": (h,), p + "post_attention_layernorm.weight": (h,)}
        if i < c["first_k_dense_replace"]:
            out |= mlp(p + "mlp.", c["intermediate_size"])
            continue
        out[p + "mlp.gate.weight"] = (c["n_routed_experts"], h)
        out |= mlp(p + "mlp.shared_experts.", c["moe_intermediate_size"] * c["n_shared_experts"])
        for e in range(c["n_routed_experts"]):
            out |= mlp(f"{p}mlp.experts.{e}.", c["moe_intermediate_size"])
    return out


# ---------------------------------------------------------------- running transformers

def model_class(config):
    multimodal = config.get_text_config() is not config
    return transformers.AutoModelForImageTextToText if multimodal else transformers.AutoModelForCausalLM


def decoder_layers(model):
    """Those of the language model."""
    found = [module for name, module in model.named_modules() if name.endswith("layers") and not re.search("visi|visual", name)]
    assert len(found) == 1
    return found[0]


def load(path, dtype, attn="eager", extra_layer=None):
    config = transformers.AutoConfig.from_pretrained(path)
    model, info = model_class(config).from_pretrained(
        path, config=config, dtype=dtype, attn_implementation=attn, experts_implementation="eager",
        output_loading_info=True)
    strange = [k for k in info["unexpected_keys"] if not (extra_layer and f".layers.{extra_layer}." in k)]
    assert not (info["missing_keys"] or info["mismatched_keys"] or strange), info
    return model.eval()


@torch.no_grad()
def run(model, ids, forced=None):
    """-> logits, [embedding output, output of layer 0, 1, ...] before the final norm, {layer: (expert ids, weights)}

    With `forced`, layer i starts from forced[i] instead of the output of layer i - 1."""
    layers, hidden, routes, hooks = decoder_layers(model), [], {}, []

    def route_hook(index):
        def hook(_, args, out):
            if len(out) == 2:  # llama4 returns (sigmoid scores, logits)
                chosen = out[1].topk(model.config.get_text_config().num_experts_per_tok, dim=-1).indices
                weight = out[0].gather(-1, chosen)
            else:
                _, weight, chosen = out
            routes[index] = (chosen.reshape(*ids.shape, -1), weight.reshape(*ids.shape, -1))
        return hook

    def layer_hook(_, args, out):
        hidden.append((out[0] if isinstance(out, tuple) else out).clone())

    hooks.append(layers[0].register_forward_pre_hook(lambda _, args: hidden.append(args[0].clone())))
    for i, layer in enumerate(layers):
        if forced is not None:
            hooks.append(layer.register_forward_pre_hook(
                lambda module, args, x=forced[i]: (x.to(args[0].dtype),) + args[1:]))
        hooks.append(layer.register_forward_hook(layer_hook))
    for name, module in model.named_modules():
        if re.search(r"Router$|MoEV1Gate$", type(module).__name__):
            hooks.append(module.register_forward_hook(route_hook(int(re.search(r"layers\.(\d+)\.", name)[1]))))
    try:
        logits = model(input_ids=ids, use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    return logits, hidden, routes


# ---------------------------------------------------------------- one fixture

def by_expert(chosen, weight):
    chosen, order = chosen.sort(-1)
    return chosen, weight.gather(-1, order).float()


def golden(ids, result):
    logits, hidden, routes = result
    out = {"input_ids": ids, "logits": logits.float().contiguous(), "hidden_states": torch.stack(hidden).float()}
    for i, route in sorted(routes.items()):
        out[f"router.{i}.expert_ids"], out[f"router.{i}.weights"] = (t.contiguous() for t in by_expert(*route))
    return out


def gap(a, b):
    """Differences of two runs; router weights are compared where the same experts were chosen."""
    same, weights = [], [0.0]
    for i in a[2]:
        (ids_a, w_a), (ids_b, w_b) = by_expert(*a[2][i]), by_expert(*b[2][i])
        same.append((ids_a == ids_b).all(-1).float())
        weights.append(((w_a - w_b).abs().amax(-1) * same[-1]).max().item())
    d = a[0].double() - b[0].double()
    return {"weights_max": max(weights), "logits_max": d.abs().max().item(), "logits_rms": d.pow(2).mean().sqrt().item(),
            "hidden_max": max((x.double() - y.double()).abs().max().item() for x, y in zip(a[1], b[1])),
            "experts_equal": torch.cat(same).mean().item() if same else 1.0}


def make(name, spec, families, out):
    base = families[spec["same_as"]] if "same_as" in spec else spec
    cfg, opts, seed = copy.deepcopy(base["config"]), base.get("options", {}), spec.get("seed", base.get("seed"))
    cfg |= spec.get("config", {}) if "same_as" in spec else {}
    text = cfg.get("text_config", cfg)
    key = "dtype" if "dtype" in text else "torch_dtype"
    dtype = getattr(torch, text[key])
    path = out / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(cfg, indent=2) + "\n")
    ids = (randn(seed, "input_ids", (BATCH, SEQ)).abs() * 1e6).long() % text["vocab_size"]
    assert not torch.equal(ids[0], ids[1])

    layers, extra = text["num_hidden_layers"], None
    if cfg["model_type"] == "deepseek":
        tensors = {k: draw(k, s, seed, opts).to(dtype) for k, s in deepseek_v1_shapes(cfg).items()}
        write_checkpoint(path, tensors, 1)
        stored = load_file(path / "model.safetensors")

        def again(dtype=torch.float32, sdpa=False, jitter=0.0, forced=None):
            weights = {k: perturbed(k, v.to(dtype), jitter) for k, v in stored.items()}
            return deepseek_v1(cfg, weights, ids, sdpa, forced)
        result = again()
    else:
        config = transformers.AutoConfig.from_pretrained(path)
        with contextlib.suppress(AttributeError):
            config._experts_implementation = "eager"
        model = model_class(config)
        build = model.from_config if hasattr(model, "from_config") else model._from_config
        model = build(config, attn_implementation="eager", dtype=dtype).eval()
        tied = text.get("tie_word_embeddings")
        tensors = {}
        with torch.no_grad():
            for k, v in model.state_dict().items():
                if tied and k == "lm_head.weight":
                    continue
                keep = torch.float32 if k.endswith("e_score_correction_bias") else dtype
                value = draw(k, v.shape, seed, opts).to(keep)
                v.copy_(value)
                tensors |= published(cfg["model_type"], k, value)
        if cfg["model_type"] == "kimi_k25":
            tensors = kimi_tensors(model)
        if opts.get("mtp"):
            extra = layers
            tensors |= mtp_tensors(tensors, layers, seed, text["hidden_size"], text["vocab_size"])
        write_checkpoint(path, tensors, spec.get("shards", 1))
        result = run(load(path, dtype, extra_layer=extra), ids)
        assert torch.equal(result[0], run(model, ids)[0]), "reloading the written checkpoint changed the logits"

        def again(dtype=torch.float32, sdpa=False, jitter=0.0, forced=None):
            model = load(path, dtype, "sdpa" if sdpa else "eager", extra)
            with torch.no_grad():
                for k, v in model.named_parameters():
                    v.copy_(perturbed(k, v, jitter))
            return run(model, ids, forced)

    data = golden(ids, result)
    report = {"name": name, "bytes": sum(f.stat().st_size for f in path.glob("model*.safetensors"))}
    exact = again(torch.float64)
    report["fp64"], report["fp64_by_layer"] = gap(result, exact), gap(result, again(torch.float64, forced=result[1]))
    if dtype == torch.float32:
        with contextlib.suppress(ValueError):  # gpt_oss has no sdpa path
            report["sdpa"] = gap(result, again(sdpa=True))
        report["jitter"] = gap(exact, again(torch.float64, jitter=1e-5))
        stable = report["fp64"]["experts_equal"] == report["jitter"]["experts_equal"] == 1
        assert stable, f"a routing decision is a near tie; change the seed: {report}"
    else:
        fp32 = again()
        data |= {"logits_fp32": fp32[0], "hidden_states_fp32": torch.stack(fp32[1])}
    logits = data["logits"]
    report["logits_std"], report["max_prob"] = logits.std().item(), logits.softmax(-1).amax(-1).mean().item()
    report["hidden_abs_max"] = data["hidden_states"].abs().max().item()
    report["experts_used"] = [len(data[k].unique()) for k in data if k.endswith("expert_ids")]
    source = "plain PyTorch" if cfg["model_type"] == "deepseek" else f"transformers {transformers.__version__} eager"
    # one metadata key: safetensors writes several in random order
    save_file(data, path / "golden.safetensors", metadata={
        "source": f"{source}, torch {torch.__version__.split('+')[0]}, {str(dtype).split('.')[1]}, cpu"})
    for file in path.iterdir():
        file.chmod(0o644)
    return report


def perturbed(name, value, size):
    return value * (1 + size * randn(7, name, value.shape)).to(value.dtype) if size else value


# ---------------------------------------------------------------- shared fixtures

def common(**kw):
    return {"torch_dtype": "float32", "vocab_size": 320, "hidden_act": "silu", "attention_dropout": 0.0,
            "initializer_range": 0.02, "bos_token_id": 1, "eos_token_id": 2, "use_cache": True,
            "tie_word_embeddings": False, "transformers_version": "4.46.0"} | kw


def deepseek_v2(**kw):
    return common(
        architectures=["DeepseekV2ForCausalLM"], model_type="deepseek_v2", hidden_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=4, intermediate_size=96, moe_intermediate_size=32,
        n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=2, first_k_dense_replace=1, moe_layer_freq=1,
        q_lora_rank=None, kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=24,
        n_group=4, topk_group=2, topk_method="group_limited_greedy", scoring_func="softmax", norm_topk_prob=False,
        routed_scaling_factor=2.0, attention_bias=False, aux_loss_alpha=0.001, seq_aux=True, ep_size=1,
        pretraining_tp=1, max_position_embeddings=2048, rms_norm_eps=1e-6, rope_theta=10000, rope_scaling=None) | kw


FAMILIES = {
    "mixtral": {"seed": 11, "config": common(
        architectures=["MixtralForCausalLM"], model_type="mixtral", hidden_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=32, num_local_experts=8,
        num_experts_per_tok=2, max_position_embeddings=32768, rms_norm_eps=1e-5, rope_theta=1000000.0,
        sliding_window=None, output_router_logits=False, router_aux_loss_coef=0.02)},
    # a seed with which bf16 and fp32 agree on every expert when each layer starts from the stored hidden state
    "mixtral-bf16": {"same_as": "mixtral", "seed": 68, "config": {"torch_dtype": "bfloat16"}},
    "mixtral-sharded": {"same_as": "mixtral", "shards": 3},
    "qwen2_moe": {"seed": 12, "config": common(
        architectures=["Qwen2MoeForCausalLM"], model_type="qwen2_moe", hidden_size=64, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, moe_intermediate_size=24,
        shared_expert_intermediate_size=48, num_experts=8, num_experts_per_tok=3, norm_topk_prob=False,
        decoder_sparse_step=1, mlp_only_layers=[1], qkv_bias=True, max_position_embeddings=8192, rms_norm_eps=1e-6,
        rope_theta=1000000.0, use_sliding_window=False, sliding_window=32768, max_window_layers=21,
        output_router_logits=False, router_aux_loss_coef=0.001)},
    "qwen3_moe": {"seed": 13, "config": common(
        architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", hidden_size=64, head_dim=32,
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
        moe_intermediate_size=24, num_experts=8, num_experts_per_tok=3, norm_topk_prob=True, decoder_sparse_step=1,
        mlp_only_layers=[], attention_bias=False, max_position_embeddings=40960, rms_norm_eps=1e-6,
        rope_theta=1000000.0, rope_scaling=None, use_sliding_window=False, sliding_window=None, max_window_layers=48,
        output_router_logits=False, router_aux_loss_coef=0.001)},
    "olmoe": {"seed": 14, "config": common(  # rms_norm_eps is absent in the published file too (default 1e-5)
        architectures=["OlmoeForCausalLM"], model_type="olmoe", hidden_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=4, intermediate_size=32, num_experts=8, num_experts_per_tok=3,
        norm_topk_prob=False, attention_bias=False, clip_qkv=None, max_position_embeddings=4096, rope_theta=10000.0,
        rope_scaling=None, pad_token_id=1, output_router_logits=False, router_aux_loss_coef=0.01)},
    "deepseek_v1": {"seed": 15, "config": common(
        architectures=["DeepseekForCausalLM"], model_type="deepseek", hidden_size=64, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, intermediate_size=96, moe_intermediate_size=24,
        n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=2, first_k_dense_replace=1, moe_layer_freq=1,
        scoring_func="softmax", norm_topk_prob=False, aux_loss_alpha=0.001, seq_aux=True, attention_bias=False,
        pretraining_tp=1, max_position_embeddings=4096, rms_norm_eps=1e-6, rope_theta=10000, rope_scaling=None)},
    "deepseek_v2": {"seed": 16, "config": deepseek_v2()},
    "deepseek_v2_yarn": {"seed": 17, "config": deepseek_v2(
        n_group=1, topk_group=1, topk_method="greedy", routed_scaling_factor=1.0, qk_rope_head_dim=16,
        max_position_embeddings=163840,
        rope_scaling={"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707,
                      "original_max_position_embeddings": 4096, "type": "yarn"})},
    "deepseek_v3": {"seed": 18, "options": {"mtp": True}, "config": common(
        architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", hidden_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=4, intermediate_size=96, moe_intermediate_size=16,
        n_routed_experts=16, num_experts_per_tok=3, n_shared_experts=1, first_k_dense_replace=1, moe_layer_freq=1,
        q_lora_rank=40, kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=24, n_group=4,
        topk_group=2, topk_method="noaux_tc", scoring_func="sigmoid", norm_topk_prob=True, routed_scaling_factor=2.5,
        attention_bias=False, aux_loss_alpha=0.001, seq_aux=True, ep_size=1, pretraining_tp=1,
        num_nextn_predict_layers=1, max_position_embeddings=4096, rms_norm_eps=1e-3, rope_theta=10000,
        rope_scaling=None)},
    "glm4_moe": {"seed": 19, "config": common(
        architectures=["Glm4MoeForCausalLM"], model_type="glm4_moe", hidden_size=64, head_dim=32,
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
        moe_intermediate_size=32, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
        first_k_dense_replace=1, n_group=1, topk_group=1, norm_topk_prob=True, routed_scaling_factor=1.5,
        attention_bias=True, use_qk_norm=True, partial_rotary_factor=0.5, num_nextn_predict_layers=0,
        max_position_embeddings=131072, rms_norm_eps=1e-5, rope_theta=1000000, rope_scaling=None)},
    "gpt_oss": {"seed": 23, "options": {"in_major": True, "gate_up_gain": 3.0}, "config": common(
        architectures=["GptOssForCausalLM"], model_type="gpt_oss", hidden_size=64, head_dim=32, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=24, num_local_experts=8,
        num_experts_per_tok=2, experts_per_token=2, attention_bias=True, sliding_window=16,
        layer_types=["sliding_attention", "full_attention"] * 2, swiglu_limit=7.0, initial_context_length=4096,
        max_position_embeddings=131072, rms_norm_eps=1e-5, rope_theta=150000,
        rope_scaling={"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0,
                      "original_max_position_embeddings": 4096, "rope_type": "yarn", "truncate": False},
        output_router_logits=False, router_aux_loss_coef=0.9)},
    "phimoe": {"seed": 21, "config": common(  # router_jitter_noise is larger than the published 0.01 so that it matters
        architectures=["PhiMoEForCausalLM"], model_type="phimoe", hidden_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=32, num_local_experts=8,
        num_experts_per_tok=2, router_jitter_noise=0.2, input_jitter_noise=0.01, attention_bias=True,
        lm_head_bias=True, max_position_embeddings=512, original_max_position_embeddings=64, rms_norm_eps=1e-5,
        rope_theta=10000.0, sliding_window=131072, output_router_logits=False, router_aux_loss_coef=0.0,
        rope_scaling={"type": "longrope", "original_max_position_embeddings": 64,
                      "short_factor": [1.0, 1.02, 1.05, 1.1, 1.3, 1.6, 2.0, 2.4],
                      "long_factor": [1.0, 1.3, 1.9, 3.1, 6.0, 12.0, 25.0, 40.0],
                      "short_mscale": 1.243163121016122, "long_mscale": 1.243163121016122})},
    "granitemoe": {"seed": 22, "options": {"embed_std": 0.25}, "config": common(
        architectures=["GraniteMoeForCausalLM"], model_type="granitemoe", hidden_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=32, num_local_experts=8,
        num_experts_per_tok=3, attention_bias=False, embedding_multiplier=3.0, attention_multiplier=0.15,
        residual_multiplier=0.4, logits_scaling=2.0, max_position_embeddings=4096, rms_norm_eps=1e-3,
        rope_theta=10000.0, rope_scaling=None, tie_word_embeddings=True, output_router_logits=False,
        router_aux_loss_coef=0.0)},
    "llama": {"seed": 20, "config": common(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=160, attention_bias=False, mlp_bias=False,
        max_position_embeddings=4096, rms_norm_eps=1e-5, rope_theta=10000.0, rope_scaling=None, pretraining_tp=1)},
    "llama_tied": {"seed": 24, "options": {"embed_std": 0.25}, "config": common(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=64, head_dim=32, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=1, intermediate_size=96, attention_bias=False, mlp_bias=False,
        max_position_embeddings=8192, rms_norm_eps=1e-5, rope_theta=500000.0, rope_scaling=None, pretraining_tp=1,
        tie_word_embeddings=True)},
    "llama4": {"seed": 25, "options": {"in_major": True}, "config": {
        "architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4", "torch_dtype": "float32",
        "boi_token_index": 310, "eoi_token_index": 311, "image_token_index": 312, "tie_word_embeddings": False,
        "transformers_version": "4.51.0",
        # chunks that do not divide the sequence, steps of the temperature within it, and all four kinds of layers
        "text_config": common(
            model_type="llama4_text", hidden_size=64, head_dim=32, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, intermediate_size=32, intermediate_size_mlp=96, num_local_experts=4,
            num_experts_per_tok=1, interleave_moe_layer_step=2, no_rope_layers=[1, 1, 0, 0], attention_chunk_size=20,
            attention_bias=False, use_qk_norm=True, attn_temperature_tuning=True, floor_scale=8, attn_scale=0.3,
            max_position_embeddings=1048576, rms_norm_eps=1e-5, rope_theta=500000.0, pad_token_id=0,
            output_router_logits=False, router_aux_loss_coef=0.001, router_jitter_noise=0.0,
            rope_scaling={"factor": 16.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                          "original_max_position_embeddings": 64, "rope_type": "llama3"}),
        "vision_config": {"model_type": "llama4_vision_model", "hidden_size": 16, "num_hidden_layers": 5,
                          "num_attention_heads": 2, "intermediate_size": 32, "vision_output_dim": 32, "image_size": 28,
                          "patch_size": 14, "projector_input_dim": 32, "projector_output_dim": 32,
                          "pixel_shuffle_ratio": 0.5, "rope_theta": 10000, "hidden_act": "gelu", "norm_eps": 1e-5}}},
    "ernie4_5_moe": {"seed": 26, "options": {"embed_std": 0.25}, "config": common(
        architectures=["Ernie4_5_MoeForCausalLM"], model_type="ernie4_5_moe", hidden_size=64, head_dim=32,
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, moe_intermediate_size=32,
        moe_num_experts=8, moe_num_shared_experts=2, moe_k=3, moe_layer_start_index=1, moe_layer_interval=1,
        moe_capacity=[64, 64, 64], moe_gate="topk", moe_use_aux_free=True, use_bias=False, max_position_embeddings=4096,
        rms_norm_eps=1e-5, rope_theta=500000.0, tie_word_embeddings=True)},
    "dots1": {"seed": 27, "config": common(
        architectures=["Dots1ForCausalLM"], model_type="dots1", hidden_size=64, head_dim=32, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=4, intermediate_size=96, moe_intermediate_size=32, n_routed_experts=8,
        n_shared_experts=2, num_experts_per_tok=3, first_k_dense_replace=1, n_group=1, topk_group=1, norm_topk_prob=True,
        routed_scaling_factor=2.5, scoring_func="noaux_tc", topk_method="noaux_tc", attention_bias=False,
        sliding_window=16, max_window_layers=2, max_position_embeddings=4096, rms_norm_eps=1e-5, rope_theta=10000000,
        rope_scaling=None)},
    "minimax_m2": {"seed": 28, "config": common(
        architectures=["MiniMaxM2ForCausalLM"], model_type="minimax_m2", hidden_size=64, head_dim=32, rotary_dim=16,
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=32, num_local_experts=8,
        num_experts_per_tok=3, attn_type_list=[1, 1, 1], qk_norm_type="per_layer", use_qk_norm=True,
        scoring_func="sigmoid", use_routing_bias=True, shared_intermediate_size=0, max_position_embeddings=4096,
        rms_norm_eps=1e-6, rope_theta=5000000, router_jitter_noise=0.0, output_router_logits=False,
        router_aux_loss_coef=0.001)},
    "hunyuan_v1_moe": {"seed": 29, "options": {"embed_std": 0.25}, "config": common(
        architectures=["HunYuanMoEV1ForCausalLM"], model_type="hunyuan_v1_moe", hidden_size=64, head_dim=32,
        attention_head_dim=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=32,
        moe_intermediate_size=[32, 32, 32], num_experts=8, num_shared_expert=[1, 1, 1], moe_topk=[3, 3, 3],
        use_mixed_mlp_moe=True, use_qk_norm=True, attention_bias=False, max_position_embeddings=4096, rms_norm_eps=1e-5,
        rope_theta=10000.0, tie_word_embeddings=True,
        rope_scaling={"alpha": 1000.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0, "mscale": 1.0,
                      "mscale_all_dim": 0.0, "type": "dynamic"})},
    "glm4_moe_lite": {"seed": 30, "config": common(
        architectures=["Glm4MoeLiteForCausalLM"], model_type="glm4_moe_lite", hidden_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, intermediate_size=96, moe_intermediate_size=32, n_routed_experts=8,
        num_experts_per_tok=3, n_shared_experts=1, first_k_dense_replace=1, q_lora_rank=32, kv_lora_rank=32,
        qk_nope_head_dim=32, qk_rope_head_dim=32, v_head_dim=32, n_group=1, topk_group=1, topk_method="noaux_tc",
        norm_topk_prob=True, routed_scaling_factor=1.8, attention_bias=False, num_nextn_predict_layers=0,
        partial_rotary_factor=1.0, max_position_embeddings=4096, rms_norm_eps=1e-3, rope_theta=1000000, rope_scaling=None)},
    "solar_open": {"seed": 31, "config": common(
        architectures=["SolarOpenForCausalLM"], model_type="solar_open", hidden_size=64, head_dim=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, moe_intermediate_size=32, n_routed_experts=8,
        num_experts_per_tok=3, n_shared_experts=1, n_group=1, topk_group=1, norm_topk_prob=True, routed_scaling_factor=1.5,
        attention_bias=False, partial_rotary_factor=1.0, max_position_embeddings=131072, rms_norm_eps=1e-5,
        rope_theta=1000000,
        rope_scaling={"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64})},
    "exaone_moe": {"seed": 34, "config": common(
        architectures=["ExaoneMoeForCausalLM"], model_type="exaone_moe", hidden_size=64, head_dim=32, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, moe_intermediate_size=32, num_experts=8,
        num_experts_per_tok=3, num_shared_experts=1, first_k_dense_replace=1, n_group=1, topk_group=1, norm_topk_prob=True,
        routed_scaling_factor=2.5, sliding_window=16, sliding_window_pattern=2, max_position_embeddings=4096,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"], rms_norm_eps=1e-5, rope_theta=1000000,
        rope_scaling=None)},
    "hy_v3": {"seed": 35, "config": common(
        architectures=["HYV3ForCausalLM"], model_type="hy_v3", hidden_size=64, head_dim=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, moe_intermediate_size=32, num_experts=8,
        num_experts_per_tok=3, num_shared_experts=1, first_k_dense_replace=1, router_scaling_factor=2.8,
        attention_bias=False, max_position_embeddings=4096, rms_norm_eps=1e-5, rope_theta=11158840.0, rope_scaling=None)},
    "qwen3_vl_moe": {"seed": 32, "config": {
        "architectures": ["Qwen3VLMoeForConditionalGeneration"], "model_type": "qwen3_vl_moe", "image_token_id": 310,
        "video_token_id": 311, "vision_start_token_id": 312, "vision_end_token_id": 313, "tie_word_embeddings": False,
        "transformers_version": "4.57.0",
        "text_config": {key: value for key, value in common(
            model_type="qwen3_vl_moe_text", dtype="float32", hidden_size=64, head_dim=32, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, moe_intermediate_size=96, num_experts=4,
            num_experts_per_tok=2, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], attention_bias=False,
            max_position_embeddings=4096, rms_norm_eps=1e-6, rope_theta=5000000,
            rope_scaling={"mrope_interleaved": True, "mrope_section": [6, 5, 5], "rope_type": "default"}).items()
            if key not in ("torch_dtype", "tie_word_embeddings")},
        "vision_config": {"model_type": "qwen3_vl_moe", "depth": 1, "hidden_size": 16, "intermediate_size": 16,
                          "num_heads": 2, "out_hidden_size": 64, "patch_size": 4, "spatial_merge_size": 2,
                          "temporal_patch_size": 2, "num_position_embeddings": 4, "deepstack_visual_indexes": [0],
                          "in_channels": 3, "hidden_act": "gelu_pytorch_tanh"}}},
    "kimi_k25": {"seed": 36, "config": {
        "architectures": ["KimiK25ForConditionalGeneration"], "model_type": "kimi_k25", "media_placeholder_token_id": 310,
        "tie_word_embeddings": False, "dtype": "float32", "projection_hidden_size": 16, "transformers_version": "4.57.1",
        "text_config": {key: value for key, value in common(
            architectures=["DeepseekV3ForCausalLM"], model_type="kimi_k2", dtype="float32", hidden_size=64,
            num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, intermediate_size=96, moe_intermediate_size=32,
            n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1, first_k_dense_replace=1, moe_layer_freq=1,
            q_lora_rank=32, kv_lora_rank=32, qk_nope_head_dim=32, qk_rope_head_dim=32, v_head_dim=32, n_group=1,
            topk_group=1, topk_method="noaux_tc", scoring_func="sigmoid", norm_topk_prob=True, routed_scaling_factor=2.827,
            attention_bias=False, aux_loss_alpha=0.001, seq_aux=True, ep_size=1, pretraining_tp=1,
            num_nextn_predict_layers=0, max_position_embeddings=262144, rms_norm_eps=1e-5, rope_theta=50000.0,
            rope_scaling={"beta_fast": 32.0, "beta_slow": 1.0, "factor": 64.0, "mscale": 1.0, "mscale_all_dim": 1.0,
                          "original_max_position_embeddings": 4096, "type": "yarn"}).items() if key != "torch_dtype"},
        "vision_config": {"model_type": "kimi_k25_vision", "patch_size": 2, "pos_emb_height": 2, "pos_emb_width": 2,
                          "pos_emb_time": 2, "num_attention_heads": 2, "num_hidden_layers": 1, "hidden_size": 16,
                          "intermediate_size": 16, "merge_kernel_size": [2, 2]}}},
    "glm4v_moe": {"seed": 33, "config": {
        "architectures": ["Glm4vMoeForConditionalGeneration"], "model_type": "glm4v_moe", "image_token_id": 310,
        "video_token_id": 311, "image_start_token_id": 312, "image_end_token_id": 313, "tie_word_embeddings": False,
        "transformers_version": "4.57.0",
        "text_config": {key: value for key, value in common(
            model_type="glm4v_moe_text", dtype="float32", hidden_size=64, head_dim=32, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, moe_intermediate_size=32,
            n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1, first_k_dense_replace=1, n_group=1,
            topk_group=1, norm_topk_prob=True, routed_scaling_factor=1.5, attention_bias=True, use_qk_norm=False,
            partial_rotary_factor=0.5, max_position_embeddings=4096, rms_norm_eps=1e-5, rope_theta=10000,
            rope_scaling={"mrope_section": [2, 3, 3], "rope_type": "default"}).items()
            if key not in ("torch_dtype", "tie_word_embeddings")},
        "vision_config": {"model_type": "glm4v_moe_vision", "depth": 1, "hidden_size": 16, "intermediate_size": 16,
                          "num_heads": 2, "out_hidden_size": 64, "patch_size": 4, "spatial_merge_size": 2,
                          "temporal_patch_size": 2, "image_size": 8, "in_channels": 3, "hidden_act": "silu"}}},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--family", nargs="*", help="names to write (default: all)")
    parser.add_argument("--configs", type=pathlib.Path, help="JSON file with other fixtures in the form of FAMILIES")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    families = json.loads(args.configs.read_text()) if args.configs else FAMILIES
    for name in args.family or families:
        print(json.dumps(make(name, families[name], families, args.out)), flush=True)


if __name__ == "__main__":
    main()
