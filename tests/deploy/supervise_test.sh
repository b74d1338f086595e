#!/usr/bin/env bash
# A task that takes its worker down again and again ends its job, also when there is only one worker, which its supervisor
# starts again; and SIGTERM to the supervisor ends both. Arguments: quantmoe, quantmoe-server, quantmoe-worker.
set -euo pipefail
client=$1 server=$2 worker=$3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=$(mktemp -d)
pids=()
finish() {
  kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap finish EXIT
fail() { tail -n 30 "$dir"/*.log; echo "$1"; exit 1; }
await() { local end=$((SECONDS + 60)); until "$@"; do ((SECONDS < end)) || fail "not in time: $*"; sleep 0.05; done; }
port() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$dir/ports.json" "$1"; }

"$server" --data-dir "$dir/data" --model-root "$root/testdata" --listen 127.0.0.1:0 --worker-listen 127.0.0.1:0 \
  --http-listen 127.0.0.1:0 --port-file "$dir/ports.json" --lease 1 --heartbeat 0.2 2>"$dir/server.log" &
pids+=($!)
await test -s "$dir/ports.json"
# It dies before it can tell of its first result.
QUANTMOE_CRASH_AT=before-complete "$worker" --supervise --server "$(port worker)" --worker-id only --threads 1 \
  2>"$dir/worker.log" &
supervisor=$!
pids+=("$supervisor")
status=0
"$client" --server "$(port grpc)" submit "$root/testdata/tiny-qwen2-moe" --bits 3 --heuristic uniform --no-evaluation \
  --watch >"$dir/client.log" 2>&1 || status=$?
[[ $status -eq 1 ]] || fail "exit code $status of a job whose task kills workers"
grep -q 'TASK_KILLS_WORKERS' "$dir/client.log" || fail 'the job failed for another reason'
grep -q 'the worker died and is started again by=exit code 137\|the worker died and is started again by="exit code 137"' \
  "$dir/worker.log" || fail 'the supervisor says nothing'
kill "$supervisor"
await eval '! kill -0 "$supervisor" 2>/dev/null'
