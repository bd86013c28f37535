#!/bin/sh
set -eu
wanted() {
  for word in 'net/ipv4/conf/*/arp_announce=0' 'net/ipv4/conf/*/arp_filter=0' 'net/ipv4/conf/*/arp_ignore=0' 'net/ipv4/conf/*/drop_gratuitous_arp=0' 'net/ipv4/conf/*/drop_unicast_in_l2_multicast=0' 'net/ipv4/conf/*/ignore_routes_with_linkdown=0' 'net/ipv4/conf/*/proxy_arp=0' 'net/ipv4/conf/*/rp_filter=0' 'net/ipv4/conf/*/src_valid_mark=0' 'net/ipv6/conf/*/disable_ipv6=0'; do
    for file in /proc/sys/${word%=*}; do
      test ! -e "$file" || test "$(cat "$file")" = "${word#*=}" || echo "${word#*=} $file"
    done
  done
}
settle() {
  wanted | while read -r value file; do echo "$value" >"$file"; done
}
if test "$1" = --network; then
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  # A pod in its node's network has the node's.
  test "$(readlink /proc/self/ns/net)" = "$(readlink /proc/1/ns/net || :)" || settle
  exit 0
fi
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
if test -n "$(wanted)"; then
  settle
  if test -e /kind/bin/mount-product-files.sh && ! grep -q /usr/local/bin/cnilab-firstly /kind/bin/mount-product-files.sh; then
    sed -i '1a /usr/local/bin/cnilab-firstly --network || exit 1' /kind/bin/mount-product-files.sh
  fi
fi
exec "$@"
