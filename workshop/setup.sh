#!/usr/bin/env bash
# One cluster per student, side by side on this machine, each with a kubeconfig and a page of its own.
set -euo pipefail
# shellcheck source=workshop/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'EOF'
usage: setup.sh [OPTIONS] STUDENTS

STUDENTS is a number, or a file with a name on each line: lower-case letters, digits and '-', at most 20.

  --variant NAME    CNI variant of all clusters (default flannel)
  --nodes N         nodes of each cluster (default 1)
  --bundle FILE     take components from this file, which bundle.sh wrote, and use no network
  --dir DIR         keep everything here (default /srv/cnilab-workshop, or $WORKSHOP_DIR)
  --raise-limits    raise machine-wide limits that are too low until the clusters are down
  --force           go on although memory looks too small

It may be run again: clusters that are up stay as they are, the others are made. teardown.sh removes everything.
EOF
}

variant=flannel nodes=1 bundle='' students='' raise=() force=no
while [ $# -gt 0 ]; do
    case $1 in
        --variant) variant=$(value "$@"); shift ;;
        --nodes) nodes=$(value "$@"); shift ;;
        --bundle) bundle=$(value "$@"); shift ;;
        --dir) WORKSHOP_DIR=$(value "$@"); shift ;;
        --raise-limits) raise=(--raise-limits) ;;
        --force) force=yes ;;
        -h | --help) usage && exit 0 ;;
        -*) die 4 "there is no option $1" "$0 --help" ;;
        *)
            [ -z "$students" ] || die 4 "one number or one file, not also '$1'" "$0 --help"
            students=$1
            ;;
    esac
    shift
done
[ -n "$students" ] || die 4 "how many students?" "$0 --help"
[[ $nodes =~ ^[1-9][0-9]?$ ]] || die 4 "--nodes is a number, not '$nodes'"

# The students' names, which are also those of their clusters.
names=()
if [[ $students =~ ^[1-9][0-9]?$ ]]; then
    for number in $(seq -f %02.0f 1 "$students"); do names+=("student$number"); done
elif [ -f "$students" ]; then
    while IFS= read -r name || [ -n "$name" ]; do
        name=${name%%#*} && name=${name//[[:space:]]/}
        [ -z "$name" ] || names+=("$name")
    done <"$students"
else
    die 4 "'$students' is neither a number up to 99 nor a file"
fi
[ ${#names[@]} -gt 0 ] || die 4 "$students names nobody"
for name in "${names[@]}"; do
    [[ $name =~ ^[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?$ ]] ||
        die 4 "'$name' cannot be a name: lower-case letters, digits and '-', at most 20"
done
twice=$(printf '%s\n' "${names[@]}" | sort | uniq -d | tr '\n' ' ')
[ -z "$twice" ] || die 4 "names are there twice: $twice"

need_root "$@"
find_cnilab
WORKSHOP_DIR=$(realpath -m "$WORKSHOP_DIR")
if [ -d "$WORKSHOP_DIR" ] && [ ! -e "$WORKSHOP_DIR/$MARK" ] && [ -n "$(ls -A "$WORKSHOP_DIR")" ]; then
    die 4 "$WORKSHOP_DIR exists, but is not a workshop's" "set another directory with --dir"
fi

# Room for all clusters together: doctor and up only know of one at a time. The figures are doctor's own.
free=$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo)
missing=0
for name in "${names[@]}"; do [ -d "$WORKSHOP_DIR/state/labs/$name" ] || missing=$((missing + 1)); done
wanted=$((missing * (600 + 250 * nodes)))
if [ "$wanted" -gt "$free" ] && [ "$force" = no ]; then
    die 10 "$missing more clusters need about $wanted MiB of memory, $free MiB are available" \
        "fewer students per machine, or --force"
fi

mkdir -p "$WORKSHOP_DIR/bin" "$WORKSHOP_DIR/students" "$WORKSHOP_DIR/runs"
touch "$WORKSHOP_DIR/$MARK"
chmod 0755 "$WORKSHOP_DIR" "$WORKSHOP_DIR/bin" "$WORKSHOP_DIR/students"

if [ -n "$bundle" ]; then
    [ -f "$bundle" ] || die 4 "there is no bundle $bundle" "workshop/bundle.sh $bundle, on a machine with network"
    say "==> components from $bundle"
    cnilab components import "$bundle" >/dev/null
    export CNILAB_OFFLINE=1
fi
say "==> components"
cnilab components ensure >/dev/null
# For students, who cannot look into root's cache.
kubectl=$(cnilab components ensure kubectl -o json | sed -n 's/^ *"path": "\(.*\)"$/\1/p')
[ -f "$kubectl" ] || die 3 "kubectl is not among the components"
cmp -s "$kubectl" "$WORKSHOP_DIR/bin/kubectl" || install -m 0755 "$kubectl" "$WORKSHOP_DIR/bin/kubectl"

if [ "$missing" -gt 0 ]; then
    # Asked for all nodes together, as far as one cluster may have so many: limits of the kernel are shared.
    all=$((missing * nodes < 20 ? missing * nodes : 20))
    say "==> is this machine fit for $variant, $all nodes?"
    cnilab --quiet doctor "$variant" --nodes "$all" >"$WORKSHOP_DIR/doctor.txt" ||
        die $? "it is not; $WORKSHOP_DIR/doctor.txt says why" "less $WORKSHOP_DIR/doctor.txt"
    grep -E ' {3}limits +' "$WORKSHOP_DIR/doctor.txt" >&2 || true
fi

# known NAME KEY: what cnilab knows of a cluster; empty where there is none.
known() {
    cnilab status -o json | awk -v want="\"$1\"," -v key="\"$2\":" '
        $1 == "\"name\":" {mine = ($2 == want)} mine && !told && $1 == key {gsub(/[",]/, "", $2); print $2; told = 1}'
}

# quoted WORD: as any shell reads it again, whatever characters it has.
quoted() {
    case $1 in
        *[!A-Za-z0-9_./:@%+=,-]* | '') printf "'%s'" "${1//\'/\'\\\'\'}" ;;
        *) printf '%s' "$1" ;;
    esac
}

# handout NAME: what the student types, in text.
handout() {
    cat <<EOF
Hello $1: this cluster is yours. On $(hostname), type:

    export KUBECONFIG=$(quoted "$WORKSHOP_DIR/students/$1/kubeconfig")
    export PATH=$(quoted "$WORKSHOP_DIR/bin"):\$PATH
    kubectl get nodes -o wide
    kubectl get pods -A -o wide

As root, you also see what packets do:

    cnilab() { sudo $(quoted "$program") --state $(quoted "$WORKSHOP_DIR/state")$also "\$@"; }
    cnilab status $1
    cnilab exec --cluster $1 n1 -- ip -brief address
    cnilab apply --cluster $1 pod-pause
    cnilab test --cluster $1 --select model

EOF
}

also=${CNILAB_CACHE:+ --cache $(quoted "$CNILAB_CACHE")}
for name in "${names[@]}"; do
    place=$WORKSHOP_DIR/students/$name
    # Only the student, where the machine has an account of that name; else whoever holds root hands it out. The student
    # may put anything there, links too: root writes with install(1), which follows none, and reads nothing of it.
    owner=()
    if id -u "$name" >/dev/null 2>&1; then owner=(-o "$name" -g "$(id -gn "$name")"); fi
    install -d -m 0750 "${owner[@]}" "$place"
    if [ "$(known "$name" status)" = Ready ]; then
        say "==> $name: is up"
    else
        say "==> $name: $variant, nodes: $nodes"
        run=$WORKSHOP_DIR/runs/$(date -u +%Y%m%dT%H%M%S)-$name
        cnilab up "$variant" --name "$name" --nodes "$nodes" --replace --run-dir "$run" "${raise[@]}" >/dev/null ||
            die $? "the cluster of $name did not come up; those before it are up" "mend it, and run this again"
    fi
    source=$WORKSHOP_DIR/state/labs/$name/kubeconfig
    [ -f "$source" ] || die 3 "the cluster of $name has no kubeconfig"
    install -T -m 0600 "${owner[@]}" "$source" "$place/kubeconfig"
    handout "$name" | install -T -m 0600 "${owner[@]}" /dev/stdin "$place/handout.txt"
done

{
    printf '<!doctype html><meta charset="utf-8"><title>Hand-outs</title>\n'
    printf '<style>body{font:15px/1.5 sans-serif;margin:2em}section{break-after:page}pre{white-space:pre-wrap}</style>\n'
    for name in "${names[@]}"; do
        printf '<section><h1>%s</h1><pre>\n' "$name"
        handout "$name" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'
        printf '</pre></section>\n'
    done
} >"$WORKSHOP_DIR/handouts.html"

say "==> ${#names[@]} clusters are up. Hand-outs: $WORKSHOP_DIR/handouts.html"
for name in "${names[@]}"; do
    printf '%s\texport KUBECONFIG=%s\n' "$name" "$(quoted "$WORKSHOP_DIR/students/$name/kubeconfig")"
done
