# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel that guests boot: Debian's cloud kernel, installed or unpacked by the scripts."""
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND_LINE = 'console=ttyS0 panic=-1 quiet nokaslr mitigations=off'


def kernel():
    """(image, folder of its modules)"""
    for root in (pathlib.Path('/'), ROOT / 'build-demo/kernel'):
        for image in sorted(root.glob('boot/vmlinuz-*-cloud-amd64'), reverse=True):
            modules = root / 'lib/modules' / image.name.removeprefix('vmlinuz-')
            if modules.is_dir() and os.access(image, os.R_OK):
                return image, modules
    raise FileNotFoundError('no cloud kernel: scripts/demo and .ci/run would unpack one')


def kvm_works(image):
    """Whether a kernel starts under KVM here: some hosts have /dev/kvm, but stock kernels stop on
    it."""
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return False
    try:
        out = subprocess.run(['timeout', '4', 'qemu-system-x86_64', '-enable-kvm', '-m', '256',
                              '-nographic', '-no-reboot', '-nodefaults', '-serial', 'stdio',
                              '-kernel', str(image), '-append', 'console=ttyS0 panic=-1'],
                             stdin=subprocess.DEVNULL, capture_output=True, timeout=10,
                             check=False).stdout
    except subprocess.TimeoutExpired:
        return False
    return b'Kernel panic' in out  # it came as far as looking for a root file system
