# shellcheck shell=bash
# What all parts of the testbed use: its settings, and small words.

TB=${TB:-${TMPDIR:-/tmp}/slurm-testbed}
if [ -f "$TB/params" ]; then # what it was made with, for what the environment does not say
    # shellcheck source=/dev/null
    . "$TB/params"
fi
NODES=${NODES:-4}
CPUS=${CPUS:-16}
MEM=${MEM:-32000}
NET=${NET:-10.77.0}
SCRATCH=${SCRATCH:-64m}
EXTRA_USERS=${EXTRA_USERS:-}
# shellcheck disable=SC2034
BRIDGE=slurmbr0
CONF=$TB/etc/slurm.conf
export SLURM_CONF=$CONF

need_root() { [ "$(id -u)" = 0 ] || die "it needs root, as it makes and breaks networks, mounts and control groups"; }

bridge_owner() { ip link show "$BRIDGE" 2>/dev/null | sed -n 's/^ *alias //p'; }

alone() { # alone VERB...: when no other does any of this; --close: what it starts shall not hold the lock
    local code=0
    if [ -n "${TESTBED_ALONE:-}" ]; then
        "$@"
        return
    fi
    TESTBED_ALONE=yes flock --close --timeout 600 --conflict-exit-code 75 /run/lock/slurm-testbed \
        "$HERE/testbed.sh" "$@" || code=$?
    [ "$code" != 75 ] || die "somebody else has been at it for ten minutes: see \`fuser -v /run/lock/slurm-testbed\`"
    return "$code"
}

log() { printf '%s %s\n' "$(date +%T)" "$*" >&2; }

die() {
    printf 'testbed: %s\n' "$*" >&2
    exit 1
}

node_names() { seq -f 'n%.0f' 1 "$NODES"; }

known_node() { node_names | grep -qx "${1:-}" || die "there is no node '${1:-}': name one of $(node_names | xargs)"; }

pid_of() { cat "$TB/run/$1.pid" 2>/dev/null; } # of a part: munged, mariadb, slurmdbd, slurmctld, host, n1, ...

alive() { # a process that has ended but was not yet waited for is not
    local pid stat
    pid=$(pid_of "$1") && [ -n "$pid" ] && read -r stat 2>/dev/null <"/proc/$pid/stat" && [[ ${stat##*) } != Z* ]]
}

waitfor() { # waitfor SECONDS COMMAND...: until it succeeds; it shall have a time limit of its own
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || die "waited in vain for: $*; look into $TB/log"
        sleep 0.05
    done
}

daemon() { # daemon LOGFILE COMMAND...: in a session of its own, without the caller's terminal and descriptors
    local out=$1
    shift
    setsid "$@" </dev/null >>"$TB/log/$out" 2>&1 &
}

stop() { # stop SECONDS PART...: ask them to end, wait so long for each, then kill it
    local part pid tries limit=$(($1 * 20))
    shift
    for part in "$@"; do
        ! pid=$(pid_of "$part") || kill "$pid" 2>/dev/null || true
    done
    for part in "$@"; do
        tries=$limit
        while alive "$part" && [ "$tries" -gt 0 ]; do
            tries=$((tries - 1))
            sleep 0.05
        done
        ! alive "$part" || kill -9 "$(pid_of "$part")" 2>/dev/null || true
        rm -f "$TB/run/$part.pid"
    done
}
