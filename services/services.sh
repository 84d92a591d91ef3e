#!/usr/bin/env bash
# services.sh up|down [NAME...]: the real services that tests talk to, as ordinary processes without containers.
# Behind `./x services`. Each NAME is a file beside this one with two functions: NAME_fetch and NAME_start.
#
# State: $STATE/NAME/{pid,log,port,env}; what was downloaded: $CACHE/NAME. Both survive a clean build.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${LAKEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lakegate}/services
STATE=${LAKEGATE_SERVICES_STATE:-$CACHE/run}
ENV_FILE=$STATE/env
ALL=(kafka s3 postgres)
# shellcheck source=services/versions.env
. "$here/versions.env"
for name in "${ALL[@]}"; do
  # shellcheck source=/dev/null
  . "$here/$name.sh"
done

say() { printf '%s\n' "$*" >&2; }
die() { say "services: $*"; exit 1; }

# running NAME: its process lives.
running() {
  local pid
  pid=$(cat "$STATE/$1/pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null
}

# port_of NAME [SUFFIX]: a free port, the same one as last time where it is still free.
port_of() {
  local file=$STATE/$1/port${2:-}
  python3 - "$file" <<'PY'
import socket, sys
def free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        return s.getsockname()[1]
try:
    port = free(int(open(sys.argv[1]).read()))
except (OSError, ValueError):
    port = free(0)
open(sys.argv[1], "w").write(str(port))
print(port)
PY
}

# launch NAME COMMAND...: in the background, in a session of its own; output and id in the state directory.
launch() {
  local dir=$STATE/$1; shift
  setsid nohup "$@" >"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}

# await NAME SECONDS PROBE...: until the probe succeeds; fails at once when the process is gone.
await() {
  local name=$1 limit=$2 begin=$SECONDS; shift 2
  until "$@" >/dev/null 2>&1; do
    running "$name" || { tail -n 15 "$STATE/$name/log" >&2; die "$name ended while starting; its log: $STATE/$name/log"; }
    (( SECONDS - begin < limit )) || die "$name does not answer after $limit s; its log: $STATE/$name/log"
    sleep 0.1
  done
}

up() {
  local name begin
  for name in "$@"; do
    declare -F "${name}_start" >/dev/null || die "no service is called $name; there are: ${ALL[*]}"
    mkdir -p "$STATE/$name" "$CACHE/$name"
    if running "$name"; then say "$name: running already"; continue; fi
    begin=$SECONDS
    "${name}_fetch"
    "${name}_start"
    say "$name: ready after $(( SECONDS - begin )) s"
  done
  publish
}

down() {
  local name pid
  for name in "$@"; do
    if running "$name"; then
      pid=$(cat "$STATE/$name/pid")
      kill -"$(declare -F "${name}_signal" >/dev/null && "${name}_signal" || echo TERM)" "$pid" 2>/dev/null || true
      for _ in $(seq 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
      if kill -0 "$pid" 2>/dev/null; then say "$name: killed, it did not stop in 20 s"; kill -KILL "$pid" || true; fi
      say "$name: stopped"
    fi
    rm -f "$STATE/$name/pid" "$STATE/$name/env"
  done
  publish
}

# publish: the addresses of what runs, for people and for `. "$(./x services env)"`.
publish() {
  local name
  mkdir -p "$STATE"
  : >"$ENV_FILE.new"
  for name in "${ALL[@]}"; do
    if running "$name" && [ -f "$STATE/$name/env" ]; then cat "$STATE/$name/env" >>"$ENV_FILE.new"; fi
  done
  mv "$ENV_FILE.new" "$ENV_FILE"
  chmod 600 "$ENV_FILE"
  if [ -s "$ENV_FILE" ]; then sed 's/^export /  /' "$ENV_FILE" >&2; say "to use them in a shell: . $ENV_FILE"; fi
}

action=${1:-}; [ $# -gt 0 ] && shift
case $action in
  up) up "${@:-${ALL[@]}}" ;;
  down) down "${@:-${ALL[@]}}" ;;
  env) echo "$ENV_FILE" ;;
  *) say "usage: ./x services up|down [${ALL[*]}]   ./x services env"; exit 2 ;;
esac
