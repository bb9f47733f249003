# Shell functions shared by run, check, the lab and the test scripts.  Source it; it runs nothing.
#
# 1. Everything said to a person goes to stderr; stdout belongs to the command that was asked for.
# 2. What is fetched or made once is kept below $RHEA_CACHE and made under another name first, so
#    that an interrupted call leaves nothing half-made behind.

RHEA_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RHEA_CACHE=${RHEA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhea}

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# kvm_kind: prints "hardware", "software" or "none".
# A KVM without svm or vmx among the CPU's flags is one in software: it runs real-mode and 32-bit
# code (SeaBIOS, boot loaders), but no 64-bit kernel.
kvm_kind() {
    if ! { : <>/dev/kvm; } 2>/dev/null; then
        echo none
    elif grep -qwE '^flags.*(svm|vmx)' /proc/cpuinfo; then
        echo hardware
    else
        echo software
    fi
}

# progress TEXT COMMAND...: runs COMMAND with its output in a log, which is shown if it fails.
# On a terminal the seconds count up; elsewhere TEXT is printed once.
progress() {
    local text=$1 log pid start=$SECONDS status=0
    shift
    log=$(mktemp "${TMPDIR:-/tmp}/rhea-progress.XXXXXX")
    "$@" >"$log" 2>&1 &
    pid=$!
    [ -t 2 ] || say "$text ..."
    while [ -t 2 ] && kill -0 "$pid" 2>/dev/null; do
        printf '\r%s: %s ... %d s ' "${0##*/}" "$text" $((SECONDS - start)) >&2
        read -r -t 0.5 -u "$progress_fd" || :
    done
    wait "$pid" || status=$?
    [ ! -t 2 ] || printf '\r\033[K' >&2
    if [ "$status" -ne 0 ]; then
        tail -n 40 "$log" >&2
        say "failed (status $status): $text"
    fi
    rm -f "$log"
    return "$status"
}
# A descriptor on which nothing ever arrives: reading it with a time limit waits for a tick.
exec {progress_fd}<> <(:)
