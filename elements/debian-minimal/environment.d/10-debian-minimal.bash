export DISTRO_NAME=debian
export DIB_RELEASE=${DIB_RELEASE:-stable}
export DIB_INIT_SYSTEM=systemd
export DIB_PYTHON_VERSION=${DIB_PYTHON_VERSION:-3}
export EFI_BOOT_DIR=EFI/debian
# package-installs.yaml asks for it, and refuses variables that are not set; images without a disk have none.
export DIB_BLOCK_DEVICE=${DIB_BLOCK_DEVICE:-}

export DIB_DEBIAN_COMPONENTS=${DIB_DEBIAN_COMPONENTS:-main}
export DIB_DISTRIBUTION_MIRROR=${DIB_DEBIAN_DISTRIBUTION_MIRROR:-${DIB_DISTRIBUTION_MIRROR:-http://deb.debian.org/debian}}
export DIB_DEBIAN_SECURITY_MIRROR=${DIB_DEBIAN_SECURITY_MIRROR:-http://security.debian.org/debian-security}

if [ -z "${DIB_APT_SOURCES_CONF:-}" ]; then
    DIB_APT_SOURCES_CONF="default:deb $DIB_DISTRIBUTION_MIRROR $DIB_RELEASE ${DIB_DEBIAN_COMPONENTS//,/ }"
    case "$DIB_RELEASE" in
        testing | unstable | sid) ;;
        *)
            DIB_APT_SOURCES_CONF+="
updates:deb $DIB_DISTRIBUTION_MIRROR $DIB_RELEASE-updates ${DIB_DEBIAN_COMPONENTS//,/ }
security:deb $DIB_DEBIAN_SECURITY_MIRROR $DIB_RELEASE-security ${DIB_DEBIAN_COMPONENTS//,/ }"
            ;;
    esac
fi
export DIB_APT_SOURCES_CONF

if [ -z "${DIB_DEBIAN_KERNEL:-}" ]; then
    case "${ARCH:-amd64}" in
        i386) DIB_DEBIAN_KERNEL=linux-image-686 ;;
        armhf) DIB_DEBIAN_KERNEL=linux-image-armmp ;;
        arm64 | aarch64) DIB_DEBIAN_KERNEL=linux-image-cloud-arm64 ;;
        ppc64le | ppc64el) DIB_DEBIAN_KERNEL=linux-image-powerpc64le ;;
        *) DIB_DEBIAN_KERNEL=linux-image-cloud-${ARCH:-amd64} ;;
    esac
fi
export DIB_DEBIAN_KERNEL

# No manual pages (there is no man to show them) and no translations (the locales of which are not generated).
DIB_DEBIAN_DPKG_OPTIONS=${DIB_DEBIAN_DPKG_OPTIONS-path-exclude=/usr/share/man/* path-exclude=/usr/share/locale/*/LC_MESSAGES/* path-include=/usr/share/locale/en*/LC_MESSAGES/*}

# What every hook may rely on comes with the bootstrap itself, with all suites in view: nothing is installed twice, in
# the release's version and then in the security archive's. (One line, quoted for the shell that runs mmdebstrap.)
DIB_DEBIAN_BASE_PACKAGES="busybox,ca-certificates,gnupg,libnss-systemd,libpam-systemd,python3,sudo,systemd-sysv,systemd-timesyncd"
DIB_MMDEBSTRAP_EXTRA_ARGS="${DIB_MMDEBSTRAP_EXTRA_ARGS:-} --include=$DIB_DEBIAN_BASE_PACKAGES --skip=cleanup/apt/lists"
read -ra _debian_minimal_options <<< "$DIB_DEBIAN_DPKG_OPTIONS"
DIB_MMDEBSTRAP_EXTRA_ARGS+="$(printf " --dpkgopt='%s'" "${_debian_minimal_options[@]}")"
unset _debian_minimal_options
DIB_MMDEBSTRAP_EXTRA_ARGS+=" --setup-hook='echo \"$(sed -n '/^default:/d; s/^[^:]*://p' <<< "$DIB_APT_SOURCES_CONF")\" > \"\$1/etc/apt/sources.list.d/suites.list\"'"
# A 64-bit kernel runs i386: mmdebstrap need not ask the package arch-test.
if [ "${ARCH:-}" = i386 ]; then
    DIB_MMDEBSTRAP_EXTRA_ARGS+=" --skip=check/qemu"
fi
export DIB_DEBIAN_BASE_PACKAGES DIB_DEBIAN_DPKG_OPTIONS DIB_MMDEBSTRAP_EXTRA_ARGS
