# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by the scripts: installs the Debian packages that they need.
# shellcheck shell=bash disable=SC2034

BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config python3 libglib2.0-dev libgnutls28-dev
    libjansson-dev liburing-dev libnbd-dev libisal-dev libzstd-dev python3-docutils"
TEST_PACKAGES="qemu-system-x86 qemu-utils libnbd-bin python3-libnbd nbdkit gnutls-bin file fio
    e2fsprogs xfsprogs util-linux procps git"
DEMO_PACKAGES="qemu-system-x86 qemu-utils libnbd-bin python3-libnbd busybox-static cpio e2fsprogs"
GUEST_PACKAGES="qemu-system-x86 qemu-utils libnbd-bin python3-libnbd gnutls-bin busybox-static cpio
    e2fsprogs util-linux nbd-client"
SANITIZER_PACKAGES="libasan8 libubsan1 libtsan2"

# Those of the packages that are not installed, in one line.
missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            echo "$package"
    done | sort -u | paste -sd ' '
}

# apt_install ARGUMENT...: says nothing unless it fails.
apt_install() {
    local log status=0
    log=$(mktemp)
    DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@" \
        >"$log" 2>&1 || { status=1; cat "$log" >&2; }
    rm -f "$log"
    return $status
}

# need_packages PACKAGE...: as root installs what is missing, else prints the one line.
need_packages() {
    local missing
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "Packages are missing. Please run:" >&2
        echo "  sudo apt-get update && sudo apt-get install --no-install-recommends $missing" >&2
        return 1
    fi
    echo "installing: $missing"
    # shellcheck disable=SC2086
    apt-get -q update >/dev/null && apt_install $missing
}

# Where this machine gets Debian itself from, as apt's sources say in either format.
debian_archive() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list \
        2>/dev/null |
        sed -nE 's/^URIs:[[:space:]]*([^[:space:]]+\/debian)\/?[[:space:]]*$/\1/p
            s/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+\/debian)\/?[[:space:]]+bookworm[[:space:]].*/\2/p' |
        head -n 1
}

# QEMU 10.0 from bookworm-backports: the reference that every script also runs against.
need_qemu_10() {
    local list=/etc/apt/sources.list.d/tidemark-backports.list source
    local packages="qemu-system-x86 qemu-utils"
    if qemu-storage-daemon --version 2>/dev/null | grep -qE 'version 1[0-9]\.'; then
        return 0
    fi
    source="deb $(debian_archive) bookworm-backports main"
    if [ "$source" = "deb  bookworm-backports main" ]; then
        echo "QEMU 10.0 is needed from bookworm-backports, and apt's sources name no Debian archive" >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        echo "QEMU 10.0 is missing. Please run:" >&2
        echo "  echo '$source' | sudo tee $list && sudo apt-get update &&" \
            "sudo apt-get install --no-install-recommends -t bookworm-backports $packages" >&2
        return 1
    fi
    echo "installing from bookworm-backports: $packages"
    [ -e "$list" ] || echo "$source" >"$list"
    # shellcheck disable=SC2086
    apt-get -q update >/dev/null && apt_install -t bookworm-backports $packages
}

# unpack_kernel DIR: a kernel for the demo's guest, unless this machine has that kind itself.  It is
# unpacked and not installed, since this machine is not to boot it.
unpack_kernel() {
    local dir=$1 name new=$1.new
    local meta=linux-image-cloud-amd64
    if [ -e "$dir/boot" ] || compgen -G '/boot/vmlinuz-*-cloud-amd64' >/dev/null; then
        return 0
    fi
    name=$(apt-cache depends $meta 2>/dev/null |
        sed -nE 's/^ *Depends: (linux-image-[0-9].*-cloud-amd64)$/\1/p')
    if [ -z "$name" ]; then
        if [ "$(id -u)" != 0 ]; then
            printf 'apt knows no %s. Please run:\n  sudo apt-get update\n' $meta >&2
            return 1
        fi
        apt-get -q update >/dev/null || return 1
        name=$(apt-cache depends $meta |
            sed -nE 's/^ *Depends: (linux-image-[0-9].*-cloud-amd64)$/\1/p')
    fi
    echo "unpacking $name for the guest"
    rm -rf "$new"
    mkdir -p "$new"
    # apt says so when it cannot use its sandbox in this folder, which does not matter.
    (cd "$new" && apt-get -q download "$name" >/dev/null 2>apt.log && dpkg-deb -x ./*.deb . &&
        rm -f ./*.deb) || { cat "$new/apt.log" >&2; return 1; }
    mv "$new" "$dir"
}
