#!/usr/bin/env bash
# TLS between the programs, with certificates made here: who trusts the authority gets through, who does not is refused,
# and a worker needs a certificate of its own once the server asks for one.
#   usage: tls_test.sh CLIENT SERVER [WORKER]
set -euo pipefail
client=$1 server=$2 worker=${3:-}
command -v openssl >/dev/null || { echo "openssl is not installed: skipped"; exit 77; }
scratch=$(mktemp -d)
pids=()
finish() {
  [[ ${#pids[@]} -eq 0 ]] || kill "${pids[@]}" 2>/dev/null || true
  wait
  rm -rf "$scratch"
}
trap finish EXIT
fail() { printf '%s\n' "$*"; tail -n 20 "$scratch"/*.log; exit 1; }

# authority NAME: NAME.pem signs; signed NAME AUTHORITY: NAME.pem and NAME.key for this machine.
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
    -keyout "$scratch/$1.key" -out "$scratch/$1.pem" 2>/dev/null
}
signed() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$scratch/$1.key" 2>/dev/null |
    openssl x509 -req -days 2 -CA "$scratch/$2.pem" -CAkey "$scratch/$2.key" -CAcreateserial -out "$scratch/$1.pem" \
      -extfile <(echo 'subjectAltName=IP:127.0.0.1,DNS:localhost') 2>/dev/null
}
authority ours
authority foreign
signed server ours
signed worker ours
signed stranger foreign

# await COMMAND...: until it succeeds, 60 s at most.
await() {
  local deadline=$((SECONDS + 60))
  until "$@"; do
    ((SECONDS < deadline)) || fail "not in time: $*"
    sleep 0.05
  done
}

# Every interface: with TLS that needs no --insecure.
"$server" --data-dir "$scratch/data" --listen 0.0.0.0:0 --worker-listen 0.0.0.0:0 --http-listen 127.0.0.1:0 \
  --tls-cert "$scratch/server.pem" --tls-key "$scratch/server.key" --tls-ca "$scratch/ours.pem" \
  --port-file "$scratch/ports" >"$scratch/server.log" 2>&1 &
pids+=($!)
await test -s "$scratch/ports"
port_of() { sed -n "s/.*\"$1\":\"[^\"]*:\([0-9]*\)\".*/\1/p" "$scratch/ports"; }
api=127.0.0.1:$(port_of grpc)
sessions=127.0.0.1:$(port_of worker)

asks() { "$client" --server "$api" --timeout 10 "$@"; }
asks --tls-ca "$scratch/ours.pem" health >/dev/null || fail "a client that trusts the authority was refused"
asks --tls-ca "$scratch/foreign.pem" health >/dev/null 2>&1 && fail "the client trusted a server of a foreign authority"
asks health >/dev/null 2>&1 && fail "plain text got through"
echo "TLS between client and server works"

[[ -n $worker ]] || exit 0
# start_worker NAME FLAG...
start_worker() {
  "$worker" --server "$sessions" --worker-id "$1" --threads 1 --http-listen '' "${@:2}" >"$scratch/$1.log" 2>&1 &
  pids+=($!)
}
listed() { asks --tls-ca "$scratch/ours.pem" workers --json | grep -q "\"$1\""; }
refused() { grep -q 'session lost' "$scratch/$1.log"; }
start_worker nameless --tls-ca "$scratch/ours.pem"
start_worker stranger --tls-ca "$scratch/ours.pem" --tls-cert "$scratch/stranger.pem" --tls-key "$scratch/stranger.key"
start_worker known --tls-ca "$scratch/ours.pem" --tls-cert "$scratch/worker.pem" --tls-key "$scratch/worker.key"
await listed known
await refused nameless
await refused stranger
listed nameless && fail "a worker without certificate got through"
listed stranger && fail "a worker of a foreign authority got through"
echo "workers are known by their certificates"
