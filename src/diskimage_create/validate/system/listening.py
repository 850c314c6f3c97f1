"""Services that listen on the network, as the distributions' packages name their units."""

from __future__ import annotations

import re

from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.units import unit_file

#: Unit -> what it serves, and the packages that bring it, for the families debian and redhat
LISTENERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "apache2.service": ("HTTP", ("apache2",)),
    "httpd.service": ("HTTP", ("httpd",)),
    "nginx.service": ("HTTP", ("nginx",)),
    "lighttpd.service": ("HTTP", ("lighttpd",)),
    "avahi-daemon.service": ("multicast DNS", ("avahi-daemon", "avahi")),
    "bind9.service": ("DNS", ("bind9",)),
    "named.service": ("DNS", ("bind9", "bind")),
    "dnsmasq.service": ("DNS and DHCP", ("dnsmasq",)),
    "unbound.service": ("DNS", ("unbound",)),
    "isc-dhcp-server.service": ("DHCP", ("isc-dhcp-server",)),
    "dhcpd.service": ("DHCP", ("dhcp-server",)),
    "cockpit.socket": ("a web console", ("cockpit", "cockpit-ws")),
    "cups.service": ("printing", ("cups", "cups-daemon")),
    "cups-browsed.service": ("printing", ("cups-browsed",)),
    "dovecot.service": ("mail", ("dovecot-core", "dovecot")),
    "exim4.service": ("mail", ("exim4", "exim4-daemon-light", "exim4-daemon-heavy", "exim")),
    "postfix.service": ("mail", ("postfix",)),
    "sendmail.service": ("mail", ("sendmail",)),
    "epmd.socket": ("Erlang", ("erlang-base", "erlang")),
    "rabbitmq-server.service": ("AMQP", ("rabbitmq-server",)),
    "mariadb.service": ("SQL", ("mariadb-server",)),
    "mysql.service": ("SQL", ("mysql-server", "default-mysql-server")),
    "mysqld.service": ("SQL", ("mysql-server",)),
    "postgresql.service": ("SQL", ("postgresql", "postgresql-server")),
    "memcached.service": ("memory without a password", ("memcached",)),
    "redis-server.service": ("memory without a password", ("redis-server",)),
    "redis.service": ("memory without a password", ("redis",)),
    "nfs-server.service": ("NFS", ("nfs-kernel-server", "nfs-utils")),
    "rpcbind.service": ("RPC", ("rpcbind", "nfs-common", "nfs-utils")),
    "rpcbind.socket": ("RPC", ("rpcbind", "nfs-common", "nfs-utils")),
    "rpc-statd.service": ("RPC", ("nfs-common", "nfs-utils")),
    "ntp.service": ("NTP", ("ntp",)),
    "ntpd.service": ("NTP", ("ntp",)),
    "ntpsec.service": ("NTP", ("ntpsec",)),
    "rsync.service": ("rsync", ("rsync",)),
    "rsyncd.service": ("rsync", ("rsync-daemon",)),
    "salt-master.service": ("Salt", ("salt-master",)),
    "slapd.service": ("LDAP", ("slapd", "openldap-servers")),
    "smbd.service": ("SMB", ("samba",)),
    "smb.service": ("SMB", ("samba",)),
    "nmbd.service": ("NetBIOS", ("samba",)),
    "nmb.service": ("NetBIOS", ("samba",)),
    "snmpd.service": ("SNMP", ("snmpd", "net-snmp")),
    "squid.service": ("an HTTP proxy", ("squid",)),
    "systemd-journal-gatewayd.socket": ("the journal", ("systemd-journal-remote",)),
    "systemd-journal-remote.socket": ("the journal", ("systemd-journal-remote",)),
    "telnet.socket": ("telnet, without encryption", ("telnet-server",)),
    "inetd.service": ("whatever inetd.conf says", ("openbsd-inetd", "inetutils-inetd")),
    "xinetd.service": ("whatever xinetd.d says", ("xinetd",)),
    "tftpd-hpa.service": ("TFTP", ("tftpd-hpa",)),
    "tftp.socket": ("TFTP", ("tftp-server",)),
    "tor.service": ("Tor", ("tor",)),
    "vsftpd.service": ("FTP, without encryption", ("vsftpd",)),
    "proftpd.service": ("FTP, without encryption", ("proftpd-core", "proftpd")),
    "xrdp.service": ("a remote desktop", ("xrdp",)),
}

_LISTEN = re.compile(r"^Listen(?:Stream|Datagram|SequentialPacket)[ \t]*=(.*)$", re.MULTILINE)
_CONDITION = re.compile(r"^ConditionPathExists\s*=\s*(!?)(/\S+)", re.MULTILINE)
_LOOPBACK = re.compile(r"^(?:127\.\d+\.\d+\.\d+|\[::1\]):")


def can_start(root: ImageRoot, unit: str) -> bool:
    """Whether the files are there that a unit makes its start depend on."""
    name = unit_file(root, unit)
    conditions = _CONDITION.findall((root.read_text(name) if name else None) or "")
    return all(root.exists(path) != bool(negated) for negated, path in conditions)


def listening_addresses(root: ImageRoot, socket: str) -> list[str]:
    """The addresses and ports of the network that a socket unit listens on, with its drop-ins."""
    files = [unit_file(root, socket), *root.glob(f"/etc/systemd/system/{socket}.d/*.conf")]
    addresses: list[str] = []
    for name in files:
        for value in _LISTEN.findall((root.read_text(name) if name else None) or ""):
            # An empty value takes back all before it (systemd.socket(5)).
            addresses = [*addresses, value.strip()] if value.strip() else []
    return [address for address in addresses if is_of_the_network(address)]


def is_of_the_network(address: str) -> bool:
    """Whether others than this machine can reach it: no path, no abstract name, no loopback, no virtual machine's."""
    return bool(re.match(r"^[\d\[]", address)) and not _LOOPBACK.match(address)
