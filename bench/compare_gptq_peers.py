"""The solve of one linear by `quantmoe-local solve` and by the tools people use, on the same matrices, in one run.

    python bench/compare_gptq_peers.py --quantmoe build/release/local/quantmoe-local --shapes 1408x2048,4096x4096

Needs torch and safetensors. Peers run where their package can be imported: gptqmodel, llmcompressor. A plain column
loop in torch (the paper's algorithm, no order, full-range scales) always runs. One JSON line a row: wall seconds
(best of --repeat) and layer_error = tr((W-Q) H (W-Q)^T) / tr(W H W^T). Peers solve one width; `quantmoe` is given with
one width and with 2, 3, 4 and 8 bits together. Inputs are seeded: correlated channels, a few of large scale.
"""
import argparse
import importlib.util
import json
import pathlib
import subprocess
import tempfile
import time

import torch
from safetensors.torch import save_file


def make_inputs(out, channels, tokens, seed):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    rank = max(8, channels // 16)
    x = normal(tokens, rank) @ (normal(rank, channels) / rank**0.5) + 0.5 * normal(tokens, channels)
    scale = torch.exp(0.5 * normal(channels))
    scale[torch.randperm(channels, generator=generator)[: max(1, channels // 512)]] *= 10
    x *= scale
    weight = normal(out, channels) * 0.02 * torch.exp(0.3 * normal(out, 1))
    return weight, (x.T @ x) * (2.0 / tokens)


def layer_error(weight, quantized, hessian):
    def energy(rows):
        return ((rows @ hessian) * rows).sum(dtype=torch.float64).item()

    return energy(weight - quantized) / energy(weight)


def plain(weight, hessian, options):
    """GPTQ (arXiv 2210.17323, algorithm 1): one column at a time, blocks of 128."""
    work, h = weight.clone(), hessian.clone()
    h.diagonal().add_(options.damp * h.diagonal().mean())
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    half, quantized = 2 ** (options.bits - 1), torch.empty_like(weight)
    for begin in range(0, work.shape[1], 128):
        end = min(begin + 128, work.shape[1])
        errors = torch.empty(work.shape[0], end - begin)
        for j in range(begin, end):
            if j % options.group_size == 0:
                scale = work[:, j : j + options.group_size].abs().amax(1) / (half - 0.5)
            quantized[:, j] = (work[:, j] / scale).round().clamp(-half, half - 1) * scale
            error = (work[:, j] - quantized[:, j]) / upper[j, j]
            work[:, j:end] -= torch.outer(error, upper[j, j:end])
            errors[:, j - begin] = error
        work[:, end:] -= errors @ upper[begin:end, end:]
    return lambda: quantized


def gptqmodel(weight, hessian, options):
    from gptqmodel import QuantizeConfig
    from gptqmodel.quantization.gptq import GPTQ

    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight.clone()
    solver = GPTQ(layer, qcfg=QuantizeConfig(
        bits=options.bits, group_size=options.group_size, sym=True, desc_act=False, act_group_aware=False,
        damp_percent=options.damp, device="cpu"))
    solver.quantizer.configure(perchannel=True)
    solver.H, solver.nsamples, solver._hessian_dirty = hessian.clone(), options.tokens, False
    quantized = solver.quantize(blocksize=128)[0]
    return lambda: quantized.float()


def llmcompressor(weight, hessian, options):
    from compressed_tensors.quantization import (
        QuantizationArgs, QuantizationScheme, initialize_module_for_quantization)
    from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight
    from llmcompressor.observers import Observer

    arguments = QuantizationArgs(num_bits=options.bits, type="int", symmetric=True, strategy="group",
                                 group_size=options.group_size, observer="memoryless_minmax", actorder="static")
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight.clone()
    initialize_module_for_quantization(layer, QuantizationScheme(targets=["Linear"], weights=arguments))
    observer = Observer.load_from_registry(arguments.observer, base_name="weight", args=arguments, module=layer)
    observer(layer.weight.data)
    grid = observer.get_qparams()
    quantized, _, _ = quantize_weight(
        weights=weight.clone().unsqueeze(0), hessians=hessian.clone().unsqueeze(0),
        scale=grid["scale"].unsqueeze(0), zero_point=grid["zero_point"].unsqueeze(0), global_scale=None,
        quant_args=arguments, blocksize=128, percdamp=options.damp)
    return lambda: quantized[0].float()


def run_peer(name, solve, weight, hessian, options):
    seconds = []
    for _ in range(options.repeat):
        start = time.perf_counter()
        quantized = solve(weight, hessian, options)
        seconds.append(time.perf_counter() - start)
    emit(solver=name, out=weight.shape[0], channels=weight.shape[1], bits=options.bits, seconds=min(seconds),
         layer_error=layer_error(weight, quantized(), hessian))


def run_quantmoe(path, widths, options):
    """The program times factor and solve itself, so reading the file does not count."""
    best = {}
    for _ in range(options.repeat):
        printed = subprocess.run(
            [options.quantmoe, "solve", "--input", str(path), "--bits", widths, "--group-size",
             str(options.group_size), "--damp", str(options.damp)],
            check=True, capture_output=True, text=True).stdout
        for row in map(json.loads, printed.splitlines()):
            if row["bits"] not in best or row["seconds"] < best[row["bits"]]["seconds"]:
                best[row["bits"]] = row
    for row in best.values():
        emit(solver=f"quantmoe, widths {widths}", **row)


def emit(**row):
    print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quantmoe", required=True, help="path of quantmoe-local")
    parser.add_argument("--shapes", default="1408x2048,4096x4096,14336x4096", help="OUTxIN, comma-separated")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group-size", type=int, default=128)
    parser.add_argument("--damp", type=float, default=0.01)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    a = torch.randn(2048, 2048)
    rate = 0.0
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(a, a)
        rate = max(rate, 2 * 2048**3 / (time.perf_counter() - start) / 1e9)
    emit(gemm_gflops=rate, threads=options.threads)
    peers = {"plain": plain}
    for name, solve in (("gptqmodel", gptqmodel), ("llmcompressor", llmcompressor)):
        if importlib.util.find_spec(name) is None:
            emit(solver=name, skipped="not installed")
        else:
            peers[name] = solve
    for shape in options.shapes.split(","):
        weight, hessian = make_inputs(*map(int, shape.split("x")), options.tokens, options.seed)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "linear.safetensors"
            save_file({"W": weight.contiguous(), "H": hessian.contiguous()}, path)
            run_quantmoe(path, str(options.bits), options)
            run_quantmoe(path, "2,3,4,8", options)
        for name, solve in peers.items():
            run_peer(name, solve, weight, hessian, options)


if __name__ == "__main__":
    main()
