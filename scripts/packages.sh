# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by the scripts: installs the Debian packages that they need.
# shellcheck shell=bash

BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config python3 libglib2.0-dev libjansson-dev
    liburing-dev libnbd-dev python3-docutils"
TEST_PACKAGES="qemu-system-x86 qemu-utils libnbd-bin python3-libnbd nbdkit file fio e2fsprogs util-linux
    procps git"
DEMO_PACKAGES="qemu-system-x86 qemu-utils libnbd-bin python3-libnbd busybox-static cpio e2fsprogs
    linux-image-cloud-amd64 kmod"
SANITIZER_PACKAGES="libasan8 libubsan1 libtsan2"

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            echo "$package"
    done
}

# need_packages [-t SUITE] PACKAGE...: as root installs what is missing, else prints the one line.
need_packages() {
    local suite=() missing
    if [ "$1" = -t ]; then
        suite=(-t "$2")
        shift 2
    fi
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "Packages are missing. Please run:" >&2
        # shellcheck disable=SC2086
        echo "  sudo apt-get install --no-install-recommends ${suite[*]} "$missing >&2
        return 1
    fi
    echo "installing: $missing"
    apt-get -q update >/dev/null || return 1
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${suite[@]}" \
        $missing >/tmp/tidemark-apt.$$ 2>&1 || { cat /tmp/tidemark-apt.$$; rm -f /tmp/tidemark-apt.$$; return 1; }
    rm -f /tmp/tidemark-apt.$$
}

# Makes bookworm-backports known to apt, from wherever this machine gets Debian itself.
add_backports() {
    local list=/etc/apt/sources.list.d/tidemark-backports.list uri
    [ -e "$list" ] && return 0
    uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -nE 's/^URIs:[[:space:]]*([^[:space:]]+\/debian)\/?[[:space:]]*$/\1/p;
                 s/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+\/debian)\/?[[:space:]]+bookworm[[:space:]].*/\2/p' |
        head -n 1)
    [ -n "$uri" ] || { echo "apt's sources name no Debian archive" >&2; return 1; }
    echo "deb $uri bookworm-backports main" >"$list"
    apt-get -q update >/dev/null
}

# QEMU 10.0 from bookworm-backports, for CI: the reference that every script also runs against.
need_qemu_10() {
    if qemu-storage-daemon --version 2>/dev/null | grep -qE 'version (1[0-9])\.'; then
        return 0
    fi
    [ "$(id -u)" = 0 ] || { echo "QEMU 10.0 is needed: install qemu-utils from bookworm-backports" >&2; return 1; }
    add_backports || return 1
    echo "installing QEMU from bookworm-backports"
    DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends \
        -t bookworm-backports qemu-system-x86 qemu-utils >/dev/null
}
