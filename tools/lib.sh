# Shell functions shared by run, check, the lab and the test scripts.  Source it; it runs nothing.
#
# 1. Everything said to a person goes to stderr; stdout belongs to the command that was asked for.
# 2. What is fetched or made once is kept below $RHEA_CACHE and made under another name first, so
#    that an interrupted call leaves nothing half-made behind.

# Debian's PATH has these for root only: depmod, modprobe, mkfs.ext4.
PATH=$PATH:/usr/sbin:/sbin
RHEA_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RHEA_CACHE=${RHEA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhea}

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# What users get: meson's options of a release.
RHEA_RELEASE=(--buildtype=release -Db_lto=true -Dchecks=false -Dtests=disabled)

# link_programs FOLDER: the programs' place is the top of a build folder, whatever folder of the
# source makes them.
link_programs() {
    ln -sfn system/rhea "$1/rhea"
    ln -sfn img/rhea-img "$1/rhea-img"
    ln -sfn img/rhea-io "$1/rhea-io"
    ln -sfn img/rhea-nbd "$1/rhea-nbd"
}

# tool_beside RHEA NAME: the path of the program NAME of the same build as RHEA.
tool_beside() {
    local folder
    for folder in "${1%/*}" "${1%/*}/../img" "${1%/*}/img"; do
        if [ -x "$folder/$2" ]; then
            echo "$folder/$2"
            return
        fi
    done
    die "$2 is not beside $1"
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

# A descriptor on which nothing ever arrives: reading it with a time limit waits for a tick.
exec {tick_fd}<> <(:)

# ticker FILE TEXT: counts seconds behind TEXT until something is in FILE.  To be run in the
# background and ended by ticker_end PID.  Without a terminal, TEXT is said once.
ticker() {
    local start=$SECONDS
    if ! { [ -t 2 ] || [ -n "${RHEA_TTY-}" ]; }; then
        say "$2 ..."
        return
    fi
    while [ ! -s "$1" ]; do
        printf '\r%s: %s ... %d s \033[K' "${0##*/}" "$2" $((SECONDS - start)) >&2
        read -r -t 0.5 -u "$tick_fd" || :
    done
    printf '\r\033[K' >&2
}

ticker_end() {
    ! kill "$1" 2>/dev/null || printf '\r\033[K' >&2
    wait "$1" 2>/dev/null || :
}

# progress TEXT COMMAND...: runs COMMAND with its output in a log, which is shown if it fails.
progress() {
    local text=$1 log pid status=0
    shift
    log=$(mktemp "${TMPDIR:-/tmp}/rhea-progress.XXXXXX")
    ticker /dev/null "$text" &
    pid=$!
    "$@" >"$log" 2>&1 || status=$?
    ticker_end "$pid"
    if [ "$status" -ne 0 ]; then
        tail -n 40 "$log" >&2
        say "failed (status $status): $text"
    fi
    rm -f "$log"
    return "$status"
}
