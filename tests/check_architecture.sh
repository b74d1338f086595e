#!/usr/bin/env bash
# The dependency rule of ARCHITECTURE.md as greps, and "no libtorch in these programs" for the binaries given.
# tests/links shows calls that break it; this names file and line, and sees includes that call nothing.
#   usage: check_architecture.sh [BINARY...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly PYTHON=${PYTHON:-python3}
failures=0

fail() { printf 'architecture: %s\n' "$*" >&2; failures=$((failures + 1)); }

# forbid FOLDER... -- REGEX REASON: no #include in the folders may match.
forbid() {
  local folders=() hits
  while [[ $1 != -- ]]; do folders+=("$1"); shift; done
  hits=$(grep -rHnE --include='*.h' --include='*.cc' "^ *#include [<\"]($2)" "${folders[@]}" || [[ $? -eq 1 ]])
  [[ -z $hits ]] || fail "$3"$'\n'"$hits"
}

readonly TORCH='ATen/|c10/|torch/'
readonly WIRE='grpc|google/protobuf/|google/rpc/|proto/|quantmoe/v1/'
readonly NUMERICS='quant/' ABOVE='server/|worker/|client/|local/'
forbid base -- "$TORCH|$WIRE|arrow/|net/|storage/|sources/|text/|plan/|$NUMERICS|cli/|$ABOVE" 'base knows only libraries and itself'
forbid net -- "$TORCH|$WIRE|storage/|sources/|text/|plan/|$NUMERICS|cli/|$ABOVE" 'net knows only base'
forbid proto -- "$TORCH|net/|storage/|sources/|text/|plan/[^o]|$NUMERICS|cli/|$ABOVE" 'proto knows only base, and the options of a job'
forbid storage -- "net/|sources/|text/|plan/|cli/" 'storage knows only base'
forbid sources -- "net/|text/|plan/|cli/" 'sources know only storage and base'
forbid text -- "net/|plan/|cli/" 'text knows only sources and what they know'
forbid storage sources text plan quant cli -- "$WIRE|$ABOVE" 'what is below the programs knows no wire format'
forbid storage sources text plan cli server client -- "$TORCH|$NUMERICS" 'these know no tensors'
forbid server -- 'worker/|client/|local/' 'server knows no other program'
forbid worker -- 'server/|client/|local/' 'worker knows no other program'
forbid client cli -- 'server/|worker/|local/|plan/[^o]' 'what a client needs of plan is its options'
forbid client -- 'sources/|text/' 'client knows the contract, and storage for digests and weight files'
forbid local -- "$WIRE|server/|worker/|client/" 'local runs without a service'
forbid base net proto storage sources text plan quant cli server worker client local -- 'torch/torch\.h|[^>"]*main\.cc' \
  'include ATen headers, not torch/torch.h, and never a main.cc'

# Inside plan: options, then model, allocate, heuristics, job, graph.
forbid plan/options -- 'sources/|text/|plan/(model|allocate|heuristics|job|graph)/' 'plan/options is what a job may be asked, whatever the model'
forbid plan/model -- 'plan/(allocate|heuristics|job|graph)/' 'plan/model says what a model is, not what is done with it'
forbid plan/allocate -- 'plan/(heuristics|job|graph)/' 'plan/allocate knows no heuristic and no job'
forbid plan/heuristics -- 'plan/(job|graph)/' 'plan/heuristics knows no job'
forbid plan/job -- 'plan/graph/' 'plan/job knows no task'
# Inside server: facts, then decide, loop, what services are given, report, wire, and the coordinator on top.
readonly SERVER_FILES='server/[a-z_]+\.h' SERVER_TOP='server/(coordinator|garbage_collection|upkeep)[a-z_]*\.h'
forbid server/facts -- "server/(decide|loop|report|wire)/|$SERVER_FILES" 'server/facts only remembers'
forbid server/decide -- "server/(loop|report|wire)/|$SERVER_FILES" 'server/decide is pure'
forbid server/loop -- "server/(report|wire)/|$SERVER_FILES" 'server/loop knows no call and no page'
forbid server/service_context.h -- "server/(report|wire)/|$SERVER_TOP" 'what services are given knows no service'
forbid server/report -- "server/wire/|$SERVER_TOP" 'server/report knows no call'
forbid server/wire -- "$SERVER_TOP" 'server/wire knows what services are given, not who owns it'
# Inside client: text and verify, then transfer, job_request, compare, commands.
forbid client/text client/verify -- 'client/(transfer|compare|commands)/|client/[a-z_]+\.h' 'client/text and client/verify make no calls'
forbid client/text -- 'client/verify/' 'client/text is how things read'
forbid client/verify -- 'client/text/' 'client/verify says what is wrong, not how that reads'
forbid client/transfer -- 'client/(text|compare|commands)/|client/[a-z_]+\.h' 'client/transfer prints nothing and knows no command'
forbid client/job_request.h client/job_request.cc -- 'client/(text|verify|compare|commands)/' 'client/job_request only makes requests'
forbid client/compare -- 'client/(verify|commands)/' 'client/compare knows no command'
# Inside quant.
forbid quant/ops quant/device -- 'quant/(model|tasks|evaluate|artifact)/' 'operations know tensors, not models'
forbid quant/model quant/gptq -- 'quant/(tasks|artifact)/' 'models and solvers know no task'
forbid quant/evaluate -- 'quant/(model|gptq|tasks|artifact)/' 'scores know no weights'

"$PYTHON" tests/include_cycles.py . || failures=$((failures + 1))

# Every source that reads CLI11 compiles four seconds longer (docs/decisions/0025).
costly=$(grep -rnE --include='*.h' '#include <CLI/' base net proto storage sources text plan quant server worker client local || true)
[[ -z $costly ]] || fail $'headers name CLI::App, or cli/command.h, without reading CLI11\n'"$costly"

parsers=$(grep -rnE --include='*.h' --include='*.cc' '[jJ]son::(parse|accept|from_[a-z]+)\(' base net proto storage sources text plan quant \
  cli server worker client local | grep -vE '^(base/json\.cc|storage/safetensors\.cc):' || true)
[[ -z $parsers ]] || fail $'JSON is parsed by base/json.h, which bounds it\n'"$parsers"

# Two types of one name in one namespace break the one-definition rule in silence where a program links both. Those for the
# GPU have a namespace of their own.
twice=$(grep -rhE --include='*.h' --exclude-dir=cuda '^(enum class|class|struct) [^;(<]*\{' base net proto storage sources text plan quant cli \
  server worker client local | sed -E 's/^(enum class|class|struct) (ABSL_[A-Z_]+ )?([A-Za-z0-9_]+).*/\3/' | sort | uniq -d)
[[ -z $twice ]] || fail $'one name is defined in two headers\n'"$twice"

# An archive may lie inside the repository of something else.
files() {
  if [[ $(git rev-parse --show-toplevel 2>/dev/null) -ef . ]]; then git ls-files
  else find . -type f -not -path './build/*' -not -path './.deps/*' | cut -c3-
  fi
}
names=$(files | grep -E '(^|/|_)(utils?|helpers?|common|manager|impl)(\.(h|cc)|/)' | grep -v '^proto/google/' || true)
[[ -z $names ]] || fail $'name the concept instead of\n'"$names"

# A vector type promises the alignment of a whole vector wherever it is dereferenced; our rows have that of one element.
casts=$(grep -nE 'reinterpret_cast|aligned\(|may_alias' quant/gptq/*.inc quant/gptq/simd.h || true)
[[ -z $casts ]] || fail $'vectors meet memory only in quant/gptq/vector_memory.inc, by copies\n'"$casts"

for binary in "$@"; do
  needed=$(readelf -d "$binary") || fail "cannot read $binary"
  [[ $needed != *libtorch* && $needed != *libc10* ]] || fail "$binary needs libtorch"
done
[[ $failures -eq 0 ]]
