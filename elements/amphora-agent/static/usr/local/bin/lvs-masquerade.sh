#!/bin/bash
# Masquerade the UDP and SCTP traffic that leaves through an interface, so that the back ends answer through this
# amphora. The agent calls it when it configures an interface:
#
#     lvs-masquerade.sh add|delete ipv4|ipv6 INTERFACE [sriov]
#
# TCP is exempt from connection tracking: HAProxy has no use for it. Not with sriov, where the security groups are
# rules of this machine's own firewall and track connections.
set -eu

usage() {
    echo "Usage: ${0##*/} add|delete ipv4|ipv6 INTERFACE [sriov]" >&2
    exit 1
}

[ $# -ge 3 ] || usage
action=$1
interface=$3
sriov=${4:-}
case "$2" in
    ipv4) family=ip iptables=iptables ;;
    ipv6) family=ip6 iptables=ip6tables ;;
    *) usage ;;
esac
case "$action" in
    add | delete) ;;
    *) usage ;;
esac

# One table per interface: deleting it takes back exactly what was added. (A chain cannot be called masquerade: that is a
# word of the language.)
with_nftables() {
    table="octavia-$2-$interface"
    if nft list table "$family" "$table" > /dev/null 2>&1; then
        nft delete table "$family" "$table"
    fi
    [ "$action" = add ] || return 0
    notrack=
    if [ "$sriov" != sriov ]; then
        notrack="
            chain prerouting {
                type filter hook prerouting priority raw;
                iifname \"$interface\" meta l4proto tcp notrack
            }
            chain output {
                type filter hook output priority raw;
                oifname \"$interface\" meta l4proto tcp notrack
            }"
    fi
    nft -f - << EOF
table $family $table {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "$interface" meta l4proto { udp, sctp } masquerade
    }
    $notrack
}
EOF
}

with_iptables() {
    operation=-A
    [ "$action" = add ] || operation=-D
    for protocol in udp sctp; do
        "$iptables" -t nat "$operation" POSTROUTING -p "$protocol" -o "$interface" -j MASQUERADE
    done
    [ "$sriov" != sriov ] || return 0
    # An interface that was added as sriov has no such rules to delete.
    "$iptables" -t raw "$operation" PREROUTING -p tcp -i "$interface" -j NOTRACK || [ "$action" = delete ]
    "$iptables" -t raw "$operation" OUTPUT -p tcp -o "$interface" -j NOTRACK || [ "$action" = delete ]
}

if command -v nft > /dev/null; then
    with_nftables "$@"
else
    with_iptables
fi
