#!/bin/sh
set -eu
for folder in /proc/sys/*/; do
  folder=${folder%/}
  test "$folder" != /proc/sys/net || continue
  mount --bind "$folder" "$folder"
  mount -o remount,bind,ro,nosuid,nodev,noexec "$folder"
done
mkdir -p /run/cnilab/sysctls
for key in kernel/panic kernel/panic_on_oops kernel/timer_migration kernel/unprivileged_bpf_disabled kernel/keys/root_maxkeys kernel/keys/root_maxbytes vm/overcommit_memory vm/panic_on_oom; do
  test -e "/proc/sys/$key" || continue
  copy=/run/cnilab/sysctls/$(echo "$key" | tr / .)
  cat "/proc/sys/$key" >"$copy"
  mount --bind "$copy" "/proc/sys/$key"
done
exec "$@"
