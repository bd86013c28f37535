# Shared by setup.sh, teardown.sh and bundle.sh; not run on its own.
# shellcheck shell=bash
# shellcheck disable=SC2034 # most of this is used by the scripts that read it

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

WORKSHOP_DIR=${WORKSHOP_DIR:-/srv/cnilab-workshop}
MARK=.cnilab-workshop
program=

say() { printf '%s\n' "$*" >&2; }

# die CODE WHAT [NEXT]: an error, and what to do now.
die() {
    printf 'error: %s\n' "$2" >&2
    if [ -n "${3:-}" ]; then printf '  next:  %s\n' "$3" >&2; fi
    exit "$1"
}

need_root() {
    [ "$(id -u)" -eq 0 ] || die 10 "clusters need root" "sudo $0 $*"
}

# find_cnilab: sets `program` to the program to call: $CNILAB, that of this checkout, or the one on the PATH.
find_cnilab() {
    local candidate
    for candidate in "${CNILAB:-}" "$here/../.tox/matrix/bin/cnilab" "$here/../.venv/bin/cnilab"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            program=$(realpath -s "$candidate")
            return
        fi
    done
    program=$(command -v cnilab || true)
    [ -n "$program" ] || die 10 "cnilab is not there" "(cd $(realpath "$here/..") && ./tox -e matrix --notest)"
}

# cnilab WORDS…: with the workshop's own state, so that no other cluster is touched.
cnilab() { "$program" --state "$WORKSHOP_DIR/state" "$@"; }

# value WORDS…: the argument of an option, which must be there.
value() {
    [ $# -ge 2 ] && [ -n "$2" ] || die 4 "$1 needs a value" "$0 --help"
    printf '%s' "$2"
}
