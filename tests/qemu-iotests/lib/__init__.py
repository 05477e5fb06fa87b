# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the scripts share: `from lib import *` in a script of this folder brings all of it.

env      skip(), requires_…(), run(), wait_until(), case()
qmp      Qmp: a QMP session; QmpError
daemon   Daemon: a daemon under test and its monitors; daemon_refuses()
images   pattern files, comparing, qemu-io, qemu-img, loop devices, a small file system
nbdtool  nbd_uri(), connect(): libnbd handles, RawNbd: the protocol by hand, Server: qemu-nbd or
nbdkit as a peer
"""
import errno
import faulthandler
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time

from .env import *
from .qmp import *
from .daemon import *
from .images import *
from .nbdtool import *

faulthandler.enable()
