# shellcheck shell=bash
# The network, the nodes, and what may befall them.

net_up() {
    local name number
    if ! ip link show "$BRIDGE" >/dev/null 2>&1; then
        ip link add "$BRIDGE" type bridge
        ip link set "$BRIDGE" alias "$TB" # whose it is: there is one bed on a machine
        ip addr add "$NET.1/24" dev "$BRIDGE"
        ip link set "$BRIDGE" up
    fi
    printf '127.0.0.1 localhost\n%s.1 %s\n' "$NET" "$(hostname -s)" >"$TB/etc/hosts"
    for name in $(node_names); do
        number=$((10 + ${name#n}))
        printf '%s.%s %s\n' "$NET" "$number" "$name" >>"$TB/etc/hosts"
        [ -e "/run/netns/slurm-$name" ] || cable "$name" "$NET.$number"
    done
}

cable() { # cable NODE ADDRESS
    local space=slurm-$1
    ip netns add "$space"
    ip link add "sl-$1" type veth peer name eth0 netns "$space"
    ip link set "sl-$1" master "$BRIDGE" up
    ip -n "$space" link set lo up
    ip -n "$space" addr add "$2/24" dev eth0
    ip -n "$space" link set eth0 up
    ip -n "$space" route add default via "$NET.1"
}

net_down() {
    local name
    for name in $(node_names); do
        ip link del "sl-$name" 2>/dev/null || true
        ip netns del "slurm-$name" 2>/dev/null || true
    done
    ip link del "$BRIDGE" 2>/dev/null || true
}

forget_cgroups() { # forget_cgroups NODE: those of its jobs, when nothing of it runs
    find /sys/fs/cgroup -depth -type d -path "*/slurm_$1*" -exec rmdir {} + 2>/dev/null || true
}

switch_on() {
    alive "$1" && return
    forget_cgroups "$1"
    mkdir -p "$TB/spool/$1" "$TB/local/$1"
    cat /proc/sys/kernel/random/uuid >"$TB/run/$1.boot"
    rm -f "$TB/run/$1.pid"
    heal "$1"
    # its uptime begins now, too, as slurmctld wants to know who has booted
    daemon "node-$1.out" nsenter --net="/run/netns/slurm-$1" unshare --uts --ipc --mount --pid --fork \
        --propagation private --time --boottime "-$(cut -d. -f1 /proc/uptime)" -- "$HERE/node.sh" "$1" "$TB"
}

start_node() { # switch a node on, and wait until SLURM uses it
    alive "$1" && return
    [[ $(state_of "$1") == down* ]] || lost "$1" # a real boot takes longer than slurmctld waits
    switch_on "$1"
    waitfor 20 alive "$1"
    resume "$1"
    waitfor 20 in_use "$1"
}

state_of() { timeout 10 sinfo -h -n "$1" -p debug -o %T; }

in_use() { state_of "$1" | grep -qxE 'idle|mixed|allocated|completing'; }

lost() { timeout 10 scontrol update nodename="$1" state=down reason="it is lost"; }

resume() { timeout 10 scontrol update nodename="$1" state=resume 2>/dev/null || true; } # it may be in use already

partition() {
    ip link set "sl-$1" down
    # forget where it was: slurmctld then learns in 3 s that there is no way to it, and gives it up in 15 s, not in 30
    ip neigh flush to "$NET.$((10 + ${1#n}))" dev "$BRIDGE"
}

heal() { ip link set "sl-$1" up; }

kill_node() {
    local pid
    pid=$(pid_of "$1") || return 0
    partition "$1" # first, so that nobody is told by a closed connection
    kill -9 "$pid" 2>/dev/null || true
    while alive "$1"; do sleep 0.01; done # it ends when all others of its node have
    rm -f "$TB/run/$1.pid"
}

on_node() { # on_node NODE COMMAND...
    local name=${1:-} pid
    known_node "$name"
    shift
    alive "$name" || die "$name is switched off: testbed.sh start-node $name"
    pid=$(pid_of "$name")
    exec nsenter --target "$pid" --net --uts --ipc --mount --pid --time --wd="$PWD" -- "$@"
}

shared_serves() { # not only mounted: what serves it answers; who waits for it can but be killed
    timeout --signal=KILL 2 mountpoint --quiet "$TB/shared" &&
        timeout --signal=KILL 2 stat --file-system "$TB/shared" >/dev/null 2>&1
}

end_shared() {
    stop 2 host
    umount --lazy "$TB/shared" 2>/dev/null || true
}

start_shared() { # the host's view of the folder that all nodes share
    alive host && return
    daemon lying-host.out /usr/bin/python3 "$HERE/lying.py" "$TB/truth" "$TB/shared" "$TB/etc/lies"
    echo $! >"$TB/run/host.pid"
}

start_scratch() {
    mountpoint --quiet "$TB/scratch" && return
    mount -t tmpfs -o "size=$SCRATCH,nr_inodes=5000,mode=1777" slurm-scratch "$TB/scratch"
}

fill() {
    dd if=/dev/zero of="$TB/scratch/filled" bs=64k status=none 2>/dev/null || true
    dd if=/dev/zero of="$TB/scratch/filled" bs=1k oflag=append conv=notrunc status=none 2>/dev/null || true
    df -h "$TB/scratch"
}

empty() { find "$TB/scratch" -mindepth 1 -delete; }

mend() { # the end of all faults; jobs are left alone
    local name
    start_ctld
    for name in $(node_names); do
        heal "$name"
        start_node "$name"
    done
    for name in $(node_names); do
        in_use "$name" || resume "$name"
        waitfor 30 in_use "$name"
    done
    empty
    lie off
}

lie() { # lie off | [late=SECONDS] [sync=RATE] [names=RATE]
    local word said=()
    for word in "$@"; do
        case $word in
            off) ;;
            late=* | sync=* | names=*)
                [[ ${word#*=} =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "lie: $word has no number"
                said+=("$word")
                ;;
            *) die "lie: say off, or some of late=SECONDS sync=RATE names=RATE; not '$word'" ;;
        esac
    done
    printf '%s\n' "${said[*]:-}" >"$TB/etc/lies.new"
    mv "$TB/etc/lies.new" "$TB/etc/lies"
    log "the shared folder $TB/shared: ${said[*]:-honest}"
}
