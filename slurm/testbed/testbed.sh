#!/usr/bin/env bash
# A real SLURM cluster of four nodes on one Debian machine, to test on and to try: see README.md beside slurm/testbed.
#
# testbed.sh up            install what is missing, start what is not running; root only
# testbed.sh down [--purge]    stop and remove all that was started; --purge: the state folder too
# testbed.sh status        what runs
# testbed.sh env           the shell lines that clients need (source them)
# testbed.sh on N CMD...   run a command on a node, as ssh would
#
# Faults; N is n1, n2, ...
# testbed.sh kill-node N   power cut: all that runs on the node ends at once, and nobody is told
# testbed.sh start-node N  switch it on again
# testbed.sh lost N        tell slurmctld at once that a node is lost, which it would find out in half a minute
# testbed.sh resume N      tell it that the node may be used again
# testbed.sh partition N   network cut: what runs there goes on
# testbed.sh heal N        put its cable back
# testbed.sh ctld-down     stop slurmctld; jobs go on
# testbed.sh ctld-up       start it again
# testbed.sh fill          fill the small scratch of all nodes
# testbed.sh empty         empty it
# testbed.sh mend          end all these faults, and wait until all nodes may be used
# testbed.sh lie late=5 sync=0.1 names=0.1    make the shared folder lie as NFS may; `lie off` ends it
#
# Knobs of up, as variables: TB (state folder), NODES=4, CPUS=16, MEM=32000 (MB; both declared, not real), NET=10.77.0,
# SCRATCH=64m, EXTRA_USERS="alice bob" (who may submit, besides root and nobody), PROC=cgroup|pgid.
set -euo pipefail
umask 022
HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$HERE/common.sh"
# shellcheck source-path=SCRIPTDIR source=services.sh
. "$HERE/services.sh"
# shellcheck source-path=SCRIPTDIR source=nodes.sh
. "$HERE/nodes.sh"
# shellcheck source-path=SCRIPTDIR source=setup.sh
. "$HERE/setup.sh"

forget_descriptors() { # a lock that the caller holds must not be held by what outlives it
    local open
    for open in /proc/self/fd/*; do
        case ${open##*/} in
            0 | 1 | 2 | 255) ;; # 255 is this script
            *) eval "exec ${open##*/}>&-" ;;
        esac
    done
}

usage() { sed -n '/^# testbed.sh/,/^set/{/^set/d;s/^# \?//;p}' "$HERE/testbed.sh"; }

main() {
    local verb=${1:-help}
    shift || true
    forget_descriptors
    case $verb in
        status | env | help | -h | --help) ;;
        *) need_root ;;
    esac
    case $verb in
        up | down | mend) alone "$verb" "$@" ;;
        status) status ;;
        env) cat "$TB/env.sh" ;;
        on) on_node "$@" ;;
        kill-node | start-node) known_node "${1:-}" && "${verb/-/_}" "$1" ;;
        partition | heal | lost | resume) known_node "${1:-}" && "$verb" "$1" ;;
        ctld-down) stop 15 slurmctld ;;
        ctld-up) start_ctld ;;
        fill | empty) "$verb" ;;
        lie) lie "$@" ;;
        help | -h | --help) usage ;;
        *) usage >&2 && exit 2 ;;
    esac
}

main "$@"
