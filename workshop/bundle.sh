#!/usr/bin/env bash
# Everything that clusters are made of in one file, for machines without a network.
set -euo pipefail
# shellcheck source=workshop/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'EOF'
usage: bundle.sh FILE

Gets all components into the cache and writes them to FILE, with its digest beside it in FILE.sha256. FILE may end in
.gz. On the other machine: sha256sum -c FILE.sha256 && workshop/setup.sh --bundle FILE 10
EOF
}

case ${1:-} in
    -h | --help) usage && exit 0 ;;
    '') die 4 "which file?" "$0 --help" ;;
    -*) die 4 "there is no option $1" "$0 --help" ;;
esac
[ $# -eq 1 ] || die 4 "one file, not also '$2'" "$0 --help"
file=$1
[ -d "$(dirname "$file")" ] || die 4 "there is no directory $(dirname "$file")"
find_cnilab

say "==> components"
cnilab components ensure >/dev/null
cnilab components verify >/dev/null || die $? "a component of the cache was damaged, and is out of it" "run this again"
say "==> $file"
cnilab components export "$file"
(cd "$(dirname "$file")" && sha256sum "$(basename "$file")" >"$(basename "$file").sha256")
say "==> $(du -h "$file" | cut -f1) in $file"
