#!/usr/bin/env bash
# The dependency rule of ARCHITECTURE.md as greps, and "no libtorch in these programs" for the binaries given.
# Link targets enforce most of it already; this names the file and line, and sees includes of headers only.
#   usage: check_architecture.sh [BINARY...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failures=0

fail() { printf 'architecture: %s\n' "$*" >&2; failures=$((failures + 1)); }

# forbid FOLDER... -- REGEX REASON: no #include in the folders may match.
forbid() {
  local folders=() hits
  while [[ $1 != -- ]]; do folders+=("$1"); shift; done
  hits=$(grep -rnE --include='*.h' --include='*.cc' "^ *#include [<\"]($2)" "${folders[@]}" || [[ $? -eq 1 ]])
  [[ -z $hits ]] || fail "$3"$'\n'"$hits"
}

readonly TORCH='ATen/|c10/|torch/'
readonly WIRE='grpc|google/protobuf/|google/rpc/|proto/|quantmoe/v1/'
forbid base -- "$TORCH|$WIRE|arrow/|storage/|plan/|quant/|server/|worker/|client/|local/" 'base knows only abseil, spdlog and itself'
forbid proto -- "$TORCH|storage/|plan/|quant/|server/|worker/|client/|local/" 'proto knows only base'
forbid storage plan quant -- "$WIRE|server/|worker/|client/|local/" 'storage, plan and quant know no wire format'
forbid storage plan server client -- "$TORCH|quant/" 'storage, plan, server and client know no tensors'
forbid storage -- 'plan/' 'storage does not know plan'
forbid server -- 'worker/|client/|local/' 'server knows no other program'
forbid worker -- 'server/|client/|local/' 'worker knows no other program'
forbid client -- 'server/|worker/|local/|plan/' 'client knows the contract, and storage for digests and weight files'
forbid local -- "$WIRE|server/|worker/|client/" 'local runs without a service'
forbid base proto storage plan quant server worker client local -- 'torch/torch\.h|[^>"]*main\.cc' \
  'include ATen headers, not torch/torch.h, and never a main.cc'

parsers=$(grep -rnE --include='*.h' --include='*.cc' '[jJ]son::(parse|accept|from_[a-z]+)\(' base proto storage plan quant \
  server worker client local | grep -vE '^(base/json\.cc|storage/safetensors\.cc):' || true)
[[ -z $parsers ]] || fail $'JSON is parsed by base/json.h, which bounds it\n'"$parsers"

names=$(git ls-files | grep -E '(^|/|_)(utils?|helpers?|common|manager|impl)(\.(h|cc)|/)' | grep -v '^proto/google/' || true)
[[ -z $names ]] || fail $'name the concept instead of\n'"$names"

# A vector type promises the alignment of a whole vector wherever it is dereferenced; our rows have that of one element.
casts=$(grep -nE 'reinterpret_cast|aligned\(|may_alias' quant/gptq/*.inc quant/gptq/simd.h || true)
[[ -z $casts ]] || fail $'vectors meet memory only in quant/gptq/vector_memory.inc, by copies\n'"$casts"

for binary in "$@"; do
  needed=$(readelf -d "$binary") || fail "cannot read $binary"
  [[ $needed != *libtorch* && $needed != *libc10* ]] || fail "$binary needs libtorch"
done
[[ $failures -eq 0 ]]
