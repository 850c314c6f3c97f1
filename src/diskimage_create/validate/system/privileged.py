"""The programs of distributions that run with more rights than those of who starts them, and where each comes from.

What is not here nobody has looked at, as far as an image can tell.
"""

from __future__ import annotations

import re
import stat

_SETUID, _SETGID = stat.S_ISUID, stat.S_ISGID

#: What the distributions' packages give the set-user-ID bit
_USER = {
    # util-linux, mount, login, passwd and shadow-utils
    "/usr/bin/chfn",
    "/usr/bin/chsh",
    "/usr/bin/chage",
    "/usr/bin/gpasswd",
    "/usr/bin/mount",
    "/usr/bin/newgidmap",
    "/usr/bin/newgrp",
    "/usr/bin/newuidmap",
    "/usr/bin/passwd",
    "/usr/bin/su",
    "/usr/bin/umount",
    # sudo, sudo-rs, polkit
    "/usr/bin/pkexec",
    "/usr/bin/sudo",
    "/usr/lib/cargo/bin/su",
    "/usr/lib/cargo/bin/sudo",
    "/usr/lib/policykit-1/polkit-agent-helper-1",
    "/usr/lib/polkit-1/polkit-agent-helper-1",
    "/usr/libexec/polkit-agent-helper-1",
    # at, cron
    "/usr/bin/at",
    "/usr/bin/crontab",
    # dbus, openssh-client (and the server's on the redhat family)
    "/usr/lib/dbus-1.0/dbus-daemon-launch-helper",
    "/usr/libexec/dbus-1/dbus-daemon-launch-helper",
    "/usr/lib/openssh/ssh-keysign",
    "/usr/libexec/openssh/ssh-keysign",
    # fuse, fuse3, ntfs-3g, nfs-common and nfs-utils, cifs-utils, eject
    "/usr/bin/fusermount",
    "/usr/bin/fusermount3",
    "/usr/bin/ntfs-3g",
    "/usr/lib/eject/dmcrypt-get-device",
    "/usr/bin/mount.cifs",
    "/usr/bin/mount.nfs",
    # pam, usermode, initscripts, grub2-tools-minimal, krb5-workstation
    "/usr/bin/ksu",
    "/usr/bin/grub2-set-bootflag",
    "/usr/bin/pam_timestamp_check",
    "/usr/bin/unix_chkpwd",
    "/usr/bin/userhelper",
    "/usr/bin/usernetctl",
    # sssd, cockpit-ws, qemu, bubblewrap, snapd, systemtap-runtime
    "/usr/bin/bwrap",
    "/usr/bin/staprun",
    "/usr/lib/snapd/snap-confine",
    "/usr/libexec/cockpit-session",
    "/usr/libexec/qemu-bridge-helper",
    "/usr/libexec/sssd/krb5_child",
    "/usr/libexec/sssd/ldap_child",
    "/usr/libexec/sssd/proxy_child",
    "/usr/libexec/sssd/selinux_child",
    # exim4-daemon, ppp, iputils of older releases
    "/usr/bin/ping",
    "/usr/bin/ping6",
    "/usr/bin/traceroute6.iputils",
    "/usr/bin/exim4",
    "/usr/bin/pppd",
}

#: The same of the set-group-ID bit
_GROUP = {
    # passwd, cron, at, openssh-client, pam (Debian), libpam-extrausers (Ubuntu)
    "/usr/bin/at",
    "/usr/bin/chage",
    "/usr/bin/crontab",
    "/usr/bin/expiry",
    "/usr/bin/ssh-agent",
    "/usr/libexec/openssh/ssh-keysign",
    "/usr/bin/pam_extrausers_chkpwd",
    "/usr/bin/unix_chkpwd",
    # bsdutils and util-linux (messages to terminals), libutempter, screen
    "/usr/bin/bsd-write",
    "/usr/bin/screen",
    "/usr/bin/wall",
    "/usr/bin/write",
    "/usr/bin/write.ul",
    "/usr/lib/utempter/utempter",
    "/usr/libexec/utempter/utempter",
    # liblockfile-bin, postfix, plocate and mlocate
    "/usr/bin/dotlockfile",
    "/usr/bin/locate",
    "/usr/bin/mlocate",
    "/usr/bin/plocate",
    "/usr/bin/postdrop",
    "/usr/bin/postqueue",
}

#: The same of file capabilities
CAPABLE = {
    # iputils, mtr, fping, gstreamer1.0, wireshark-common
    "/usr/bin/arping",
    "/usr/bin/clockdiff",
    "/usr/bin/dumpcap",
    "/usr/bin/fping",
    "/usr/bin/mtr-packet",
    "/usr/bin/ping",
    "/usr/lib/gstreamer1.0/gstreamer-1.0/gst-ptp-helper",
    "/usr/libexec/gstreamer-1.0/gst-ptp-helper",
    # shadow-utils, httpd, sssd, snapd
    "/usr/bin/newgidmap",
    "/usr/bin/newuidmap",
    "/usr/lib/snapd/snap-confine",
    "/usr/libexec/sssd/krb5_child",
    "/usr/libexec/sssd/ldap_child",
    "/usr/libexec/sssd/selinux_child",
    "/usr/libexec/sssd/sssd_pam",
    "/usr/bin/suexec",
}

_OLD_PLACE = re.compile(r"^/(bin|sbin|lib|lib64)/")
_SYSTEM_PROGRAMS = re.compile(r"^/usr/sbin/")
_MULTIARCH = re.compile(r"^/usr/lib(?:64|32|exec)?/[a-z0-9_]+-linux-[a-z0-9_]+/")


def usual_name(name: str) -> str:
    """The name under which a program is in these lists.

    With /usr in front, as all distributions have it now; in bin instead of sbin, as some do; and
    without the name of an architecture.
    """
    name = _OLD_PLACE.sub(r"/usr/\1/", name)
    return _MULTIARCH.sub("/usr/lib/", _SYSTEM_PROGRAMS.sub("/usr/bin/", name))


def unknown_rights(name: str, mode: int) -> str | None:
    """Which of a file's bits no distribution's package gives it; None where all are known."""
    usual = usual_name(name)
    unknown = [
        word
        for bit, word, known in ((_SETUID, "setuid", _USER), (_SETGID, "setgid", _GROUP))
        if mode & bit and usual not in known
    ]
    return " and ".join(unknown) or None
