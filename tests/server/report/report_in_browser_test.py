#!/usr/bin/env python3
"""Opens the report page in a real browser: it must draw everything, in light and dark, and fit a phone.

Skipped (exit code 77) where Chromium is not installed.
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

PHONE = 390
# Runs behind the page's own script and writes what it found where --dump-dom shows it.
PROBE = """<script>
const root = document.documentElement, canvas = document.querySelectorAll('canvas');
root.dataset.width = document.getElementById('main').scrollWidth;
root.dataset.maps = canvas.length;
root.dataset.painted = [...canvas].filter(c => c.getContext('2d').getImageData(1, 1, 1, 1).data[3] > 0).length;
const drawn = document.querySelector('#front svg');
root.dataset.front = [drawn.querySelectorAll('polyline.front').length, ...['rect.uniform', 'circle.measured', 'circle.plan'].map(mark => drawn.querySelectorAll(mark).length)].join(' ');
root.dataset.frontwidth = drawn.getBoundingClientRect().width;
root.dataset.stroke = getComputedStyle(drawn.querySelector('polyline')).stroke;
root.dataset.background = getComputedStyle(document.body).backgroundColor;
</script></body>"""


def linear(layer, kind, expert, bits):
    widths = {str(b): {"distortion": 4.0 / b, "relative_error": 0.1 / b, "block_error": 1.0 / b, "loss": 2.0**-b} for b in (2, 3, 4, 8)}
    return {"name": f"l{layer}.{kind}.{expert}", "layer": layer, "kind": kind, "expert": expert, "out": 64, "in": 32, "bits": bits,
            "loss": 2.0**-bits, "method": "gptq" if expert != 3 else "rtn", "fallback": "" if expert != 3 else "no_tokens", "tokens": 100 * (expert + 2),
            "damp": 0.01, "outlier_score": 3.0, "loss_scale": 1.0, "widths": widths}


def front():
    point = lambda size, bits, loss: {"bytes": size, "average_bits": bits, "stored_bits": bits + 0.4, "loss": loss, "lower_bound": loss}
    measured = [dict(point(1 << 18, 3.0, 0.1), job=name, heuristic="optimal", perplexity=10.0) for name in ("jobs/</script><b>x", "jobs/other")]
    return {"objective": "measured", "profile": "any", "hull": [], "points": [point((2 + i) << 16, 2.0 + i, 2.0**-i) for i in range(7)],
            "uniform": [point(3 << 16, 2.0, 0.9), point(5 << 16, 4.0, 0.05)], "measured": measured, "original_perplexity": 9.5}


def tails(mean):
    return {"mean": mean, "cvar": 2 * mean, "worst_window": 3 * mean, "percentile_99": 4 * mean, "percentile_999": 5 * mean, "broken_windows": 1, "top1_flips": 300}


def report():
    linears = [linear(layer, "query", -1, 4) for layer in range(2)]
    linears += [linear(layer, kind, e, 2 + e % 3) for layer in range(2) for e in range(4) for kind in ("expert_gate", "expert_up", "expert_down")]
    score = {"perplexity": {"value": 10.0, "tokens": 1000}, "tasks": {"piqa": {"acc": 0.5, "acc_stderr": 0.01, "items": 100}}}
    comparison = {"scores": [{"task": "piqa", "metric": "acc", "interval": [-0.02, 0.01]}]}
    return {"job": "jobs/</script><b>x", "model": {"uri": "file:///m", "model_type": "mixtral", "layers": 2, "experts": 4, "experts_per_token": 2},
            "spec": {"budget": {"average_bits": 3.0}}, "original_bytes": 1 << 20, "weight_file_bytes": 1 << 18, "linears": linears,
            "plan": {"heuristic": "optimal", "profile": "any", "group_size": 32, "average_bits": 3.0, "stored_bits": 3.4, "loss": 0.1, "lower_bound": 0.1,
                     "fallback_ratio": 0.1, "unconstrained_loss": 0.09,
                     "risk": {"risk": 0.11, "mean": 0.1, "cvar": 0.12, "lower_bound": 0.1, "windows": 32},
                     "protection": {"linears": 2, "weights_share": 0.01, "bits": 0.08},
                     "verdict": {"heuristic": "optimal", "plan": tails(0.3), "uniform": tails(0.25), "interval": [0.01, 0.09], "windows": 24, "tokens": 4096, "unseen": True,
                                 "plan_wins": False, "plan_published": False},
                     "refined": {"rounds": 2, "trials": 32, "accepted": 5, "divergence_before": 0.25, "divergence_after": 0.2, "sequences": 16, "tokens": 4096}},
            "scores": {"original": score, "planned": score, "comparison": comparison, "verdict": {"recommends": "uniform", "text": "Use uniform."}},
            "super_experts": [{"layer": 1, "expert": 3, "peak": 4000.0, "massive_tokens": 12}, {"layer": 0, "expert": -1, "peak": 900.0, "massive_tokens": 4}],
            "streams": [{"layer": l, "tokens": 4096, "median_norm": 120.0, "largest_norm": 9000.0, "massive_tokens": 12, "massive_starts": 11,
                         "sink_share": 0.45, "sink_position": 0, "mlp_peak": 0.0} for l in range(2)],
            "stages": [{"stage": "solve", "tasks": 4, "cached": 1, "task_seconds": 2.0, "wall_seconds": 1.0}],
            "workers": [{"id": "w1", "tasks": 4, "task_seconds": 2.0, "determinism_class": "c"}],
            "pareto": front(),
            "artifact": {"path": "/a", "manifest_sha256": "0" * 64, "files": [{"path": "config.json", "size": 10, "sha256": "0" * 64}]}}


def dump(chromium, page, dark, narrow):
    text = page.replace("</body>", PROBE)
    if narrow:
        text = text.replace("</head>", f"<style>html {{ width: {PHONE}px }}</style></head>")
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch, "report.html")
        path.write_text(text)
        command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={scratch}/profile", "--dump-dom", f"file://{path}"]
        if dark:
            command.insert(1, "--blink-settings=preferredColorScheme=0")
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def attribute(dom, name):
    start = dom.index(f'data-{name}="') + len(name) + 7
    return dom[start:dom.index('"', start)]


def check(chromium, page, dark, narrow):
    dom = dump(chromium, page, dark, narrow)
    assert 'data-ready="true"' in dom, "the page's script did not reach its end"
    assert "<b>x" not in dom.split("<main", 1)[1], "text of the report became markup"
    assert attribute(dom, "maps") == attribute(dom, "painted") == "4", "a map is missing or empty"
    assert attribute(dom, "front") == "1 2 1 1", f"the front has {attribute(dom, 'front')}"
    assert "NaN" not in dom.split("<main", 1)[1].split("</main>")[0], "something was drawn at no place"
    for needle in ("so the uniform plan is published", "300 of 4096", "fewer than the 64 that a verdict wants", "gap 10.000 %", "8.00 bits each", "dense or shared", "4, too few: give more --starts", "45.0 %",
                   "32 plans were measured", "this plan", "Perplexity before quantization: 9.500", "-20.0 %","Use uniform.", "Why this width", "no_tokens", "3.4 with scales".replace("3.4", "3.400"), "[-2.00, 1.00]"):
        assert needle in dom, f"{needle!r} is not on the page"
    if narrow:
        assert float(attribute(dom, "frontwidth")) <= PHONE, "the front is wider than a phone"
        assert int(attribute(dom, "width")) <= PHONE, f"the page is {attribute(dom, 'width')} pixels wide"
    return attribute(dom, "background"), attribute(dom, "stroke")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", required=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    arguments = parser.parse_args()
    if chromium is None:
        print("skipped: Chromium is not installed (apt-get install chromium)")
        raise SystemExit(77)
    text = json.dumps(report()).replace("<", "\\u003c")
    page = pathlib.Path(arguments.page).read_text().replace("@REPORT@", text)
    light, dark = check(chromium, page, False, True), check(chromium, page, True, False)
    assert light[0] != dark[0] and light[1] != dark[1], "dark mode looks like light mode"
    print("ok: drawn in light and dark, fits", PHONE, "pixels")


if __name__ == "__main__":
    main()
