# SPDX-License-Identifier: LGPL-2.1-or-later
"""The root file system of a guest, packed for the kernel to unpack: busybox, modules, and copies of
programs of this machine with the libraries that they need."""
import pathlib
import re
import shutil
import subprocess


class Initramfs:
    def __init__(self, folder, modules):
        """Is gathered in `folder`; `modules` is the kernel's folder of modules."""
        self.root = folder
        self.found = {_module_name(p): p for p in modules.rglob('*.ko*')}
        self.loaded = []                # files of modules, in the order in which they are loaded
        for name in ('bin', 'dev', 'etc', 'mnt', 'modules', 'proc', 'root', 'run', 'sys', 'tmp'):
            (self.root / name).mkdir(parents=True)
        self._busybox()

    def _busybox(self):
        shutil.copy('/bin/busybox', self.root / 'bin')
        listed = subprocess.run(['/bin/busybox', '--list'], capture_output=True, text=True,
                                check=True)
        for applet in listed.stdout.split():
            if applet != 'busybox':
                (self.root / 'bin' / applet).symlink_to('busybox')

    def module(self, name):
        """Adds a module and those that it needs; it may as well be built in."""
        path = self.found.get(name)
        if not path or path in self.loaded:
            return
        for needed in _depends(path):
            self.module(needed)
        self.loaded.append(path)
        shutil.copy(path, self.root / 'modules' / f'{len(self.loaded):03}-{path.name}')

    def text(self, path, content, mode=0o644):
        target = self._target(path)
        target.write_text(content, encoding='utf-8')
        target.chmod(mode)

    def file(self, source, path=None):
        """Copies a file, and the libraries that it needs, to `path` or the same place."""
        target = self._target(path or source)
        if target.is_symlink():         # of busybox
            target.unlink()
        if not target.exists():
            shutil.copy(source, target)
            self._libraries([source])

    def program(self, name):
        """Copies a program of this machine."""
        found = shutil.which(name, path='/usr/bin:/usr/sbin:/bin:/sbin')
        if not found:
            raise FileNotFoundError(f'{name} is not installed')
        self.file(found, f'/usr/bin/{name}')

    def tree(self, source, path=None, ignore=('__pycache__',)):
        """Copies a folder, and the libraries that what is in it needs."""
        target = self._target(path or source)
        shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True,
                        ignore=shutil.ignore_patterns(*ignore))
        self._libraries(target.rglob('*.so'))

    def pack(self, image):
        names = '\0'.join(str(p.relative_to(self.root)) for p in sorted(self.root.rglob('*')))
        with open(image, 'wb') as f:
            subprocess.run(['cpio', '-0', '-o', '-H', 'newc', '--quiet'], cwd=self.root,
                           input=names.encode(), stdout=f, check=True)

    def _target(self, path):
        target = self.root / str(path).lstrip('/')
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _libraries(self, files):
        """ldd tells of what those libraries need, too."""
        files = [str(f) for f in files]
        if not files:
            return
        listed = subprocess.run(['ldd', *files], capture_output=True, text=True, check=False)
        for path in set(re.findall(r'(/\S+) \(0x', listed.stdout)):
            target = self._target(path)
            if not target.exists():
                shutil.copy(path, target)


def _module_name(path):
    return re.sub(r'\.ko.*', '', path.name).replace('-', '_')


def _depends(path):
    found = re.search(rb'\0depends=([^\0]*)\0', pathlib.Path(path).read_bytes())
    return [n.replace('-', '_') for n in found[1].decode().split(',') if n] if found else []
