#!/usr/bin/env bash
# Runs client/examples/platform_client.py against a real coordinator and worker: upload, watch, download, digests.
#   usage: platform_example_test.sh PYTHON QUANTMOE_SERVER QUANTMOE_WORKER SOURCE_DIR
# Exit code 77 (skipped) where Python has no grpcio and grpcio-tools.
set -euo pipefail
readonly python=$1 server=$2 worker=$3 source=$4

"$python" -c 'import grpc, grpc_tools' 2>/dev/null || { echo 'skipped: grpcio and grpcio-tools are not installed'; exit 77; }

scratch=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$scratch"
}
trap cleanup EXIT

"$server" --data-dir "$scratch/data" --model-root "$source/testdata" --listen 127.0.0.1:0 \
  --worker-listen 127.0.0.1:0 --http-listen 127.0.0.1:0 --port-file "$scratch/ports.json" 2>"$scratch/server.log" &
pids+=($!)
deadline=$((SECONDS + 60))
until [[ -s $scratch/ports.json ]]; do
  kill -0 "${pids[0]}" 2>/dev/null || { cat "$scratch/server.log"; exit 1; }
  ((SECONDS < deadline)) || { echo 'the server did not write its ports'; cat "$scratch/server.log"; exit 1; }
  sleep 0.1
done
port() { "$python" -c 'import json, sys; print(str(json.load(open(sys.argv[1]))[sys.argv[2]]).rsplit(":", 1)[-1])' "$scratch/ports.json" "$1"; }

"$worker" --server "127.0.0.1:$(port worker)" --model-root "$source/testdata" 2>"$scratch/worker.log" &
pids+=($!)

if ! "$python" "$source/client/examples/platform_client.py" "$source/testdata/tiny-qwen2-moe" \
  --server "127.0.0.1:$(port grpc)" --proto-dir "$source/proto" --bits 3 --samples 8 --sequence-length 128 \
  --calibration "$source/testdata/tiny_calibration.txt" --skip-evaluation --out "$scratch/artifact"; then
  tail -n 50 "$scratch/server.log" "$scratch/worker.log"
  exit 1
fi
[[ -s $scratch/artifact/artifact.json && -s $scratch/artifact/config.json ]]
[[ -z $(find "$scratch/artifact" -name '*.part') ]]
