#!/usr/bin/env bash
# Take all clusters of a workshop down, and remove what setup.sh wrote.
set -euo pipefail
# shellcheck source=workshop/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'EOF'
usage: teardown.sh [--dir DIR] [--keep-runs]

  --dir DIR     where setup.sh keeps everything (default /srv/cnilab-workshop, or $WORKSHOP_DIR)
  --keep-runs   leave the run directories, with what students measured

Components stay in the cache. It may be run again, and after a crash.
EOF
}

keep=no
while [ $# -gt 0 ]; do
    case $1 in
        --dir) WORKSHOP_DIR=$(value "$@"); shift ;;
        --keep-runs) keep=yes ;;
        -h | --help) usage && exit 0 ;;
        *) die 4 "there is no option $1" "$0 --help" ;;
    esac
    shift
done

need_root "$@"
WORKSHOP_DIR=$(realpath -m "$WORKSHOP_DIR")
if [ ! -d "$WORKSHOP_DIR" ]; then
    say "No workshop at $WORKSHOP_DIR."
    exit 0
fi
[ -e "$WORKSHOP_DIR/$MARK" ] || die 4 "$WORKSHOP_DIR is no workshop's: nothing is removed" "name the right one with --dir"
find_cnilab

cnilab down --all || die $? "not all clusters are down: the directory stays, so that it can be run again" "$0 --dir $WORKSHOP_DIR"
left=$(cnilab status -o name)
[ -z "$left" ] || die 12 "still there: $left" "$0 --dir $WORKSHOP_DIR"

rm -rf -- "${WORKSHOP_DIR:?}/state" "${WORKSHOP_DIR:?}/students" "${WORKSHOP_DIR:?}/bin"
rm -f -- "$WORKSHOP_DIR/handouts.html" "$WORKSHOP_DIR/doctor.txt"
if [ "$keep" = yes ] && [ -d "$WORKSHOP_DIR/runs" ]; then
    say "Runs are in $WORKSHOP_DIR/runs."
    exit 0
fi
rm -rf -- "${WORKSHOP_DIR:?}/runs"
rm -f -- "$WORKSHOP_DIR/$MARK"
rmdir -- "$WORKSHOP_DIR" || die 12 "$WORKSHOP_DIR has files of others, and stays" "ls -la $WORKSHOP_DIR"
say "The workshop at $WORKSHOP_DIR is gone."
