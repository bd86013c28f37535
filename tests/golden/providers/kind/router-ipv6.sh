mkdir -p /run/netns /var/log/cnilab
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
for file in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 >$file; done
ip link add world0 type bridge
ip link set world0 up
ip addr add 2001:4860:4860::8888/128 dev world0 nodad
ip addr add 2001:db8:31:1::20/128 dev world0 nodad
ip addr add 2001:db8:10:1::200/64 dev world0 nodad
ip addr add 2001:db8:10:2::200/64 dev world0 nodad
ip netns add far
ip link add far0 mtu 1300 type veth peer name eth0 mtu 1300 netns far
ip addr add 2001:db8:100::1/64 dev far0 nodad
ip link set far0 up
ip -n far link set lo up
ip -n far addr add 2001:db8:100::10/64 dev eth0 nodad
ip -n far link set eth0 up
ip -n far route add default via 2001:db8:100::1
nsenter --net=/run/netns/far /opt/cnilab/bin/responder serve --name=far --ports=8080,80 &
exec /opt/cnilab/bin/responder world --name=router --log=/var/log/cnilab/world.jsonl
