/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What --help and --version print. */
#include "daemon/help.h"

#include <stdio.h>

static const char help[] =
    "Usage: tidemarkd [options]\n"
    "Serves disk images to running guests, tracks what they write, and backs them up live.\n"
    "Options are carried out in the order given, as by qemu-storage-daemon.\n"
    "\n"
    "Disks:\n"
    "  --blockdev [driver=]DRIVER,node-name=NAME[,read-only=on|off][,auto-read-only=on|off]\n"
    "             [,cache.direct=on|off][,cache.no-flush=on|off][,discard=ignore|unmap]\n"
    "             [,detect-zeroes=on|off|unmap][,force-share=on|off][,OPTION=VALUE…]\n"
    "                         open a block node (drivers: file, host_device, raw, qcow2, nbd,\n"
    "                         null-co, copy-before-write, snapshot-access, blkdebug);\n"
    "                         or the same as JSON\n"
    "  --object iothread,id=ID\n"
    "                         a thread on which disks can be served; or the same as JSON\n"
    "  --object tls-creds-x509,id=ID,endpoint=server|client,dir=FOLDER[,verify-peer=on|off]\n"
    "  --object tls-creds-psk,id=ID,endpoint=server|client,dir=FOLDER[,username=USER]\n"
    "  --object secret,id=ID,data=TEXT|file=FILE[,format=raw|base64]\n"
    "  --object authz-simple|authz-list|authz-listfile,id=ID,...\n"
    "                         certificates, keys and who may come in, for TLS\n"
    "  --image-folders FOLDER[:FOLDER…]\n"
    "                         images may name backing and data files only in these folders\n"
    "  --scratch-dir FOLDER   where backups put what does not fit in memory (default: $TMPDIR,\n"
    "                         or /var/tmp)\n"
    "\n"
    "Serving them:\n"
    "  --nbd-server addr.type=unix,addr.path=PATH[,max-connections=N][,tls-creds=ID]\n"
    "  --nbd-server addr.type=inet,addr.host=HOST,addr.port=PORT[,max-connections=N]\n"
    "                         start the NBD server\n"
    "  --export [type=]nbd,id=ID,node-name=NODE[,name=NAME][,writable=on|off]\n"
    "           [,description=TEXT][,bitmaps.0=BITMAP…][,iothread=ID][,fixed-iothread=on|off]\n"
    "                         serve a node by the NBD server\n"
    "\n"
    "Control by QMP:\n"
    "  --chardev socket,id=ID,path=PATH[,server=on|off][,wait=on|off][,reconnect-ms=MS]\n"
    "  --chardev socket,id=ID,host=HOST,port=PORT[,server=on|off][,wait=on|off][,reconnect-ms=MS]\n"
    "  --chardev socket,id=ID,fd=FD[,server=on|off]\n"
    "  --chardev stdio,id=ID  a connection for a monitor\n"
    "  --monitor [chardev=]ID[,mode=control][,pretty[=on|off]]\n"
    "                         speak QMP on it\n"
    "\n"
    "The process:\n"
    "  --daemonize            go to the background once all is set up\n"
    "  --pidfile PATH         write the process id to a file, when all is set up\n"
    "  -T, --trace PATTERN    accepted and ignored\n"
    "  -h, --help             show this and exit\n"
    "  -V, --version          show the version and exit\n"
    "\n"
    "Examples:\n"
    "  A disk for a guest, with a monitor:\n"
    "    tidemarkd --blockdev file,node-name=f0,filename=disk.img \\\n"
    "        --blockdev raw,node-name=disk0,file=f0 \\\n"
    "        --nbd-server addr.type=unix,addr.path=nbd.sock \\\n"
    "        --export nbd,id=e0,node-name=disk0,name=disk0,writable=on \\\n"
    "        --chardev socket,id=qmp,path=qmp.sock,server=on,wait=off --monitor chardev=qmp\n"
    "    qemu-system-x86_64 -drive 'file=nbd:unix:nbd.sock:exportname=disk0,format=raw,if=virtio'\n"
    "\n"
    "  QMP on the terminal:\n"
    "    tidemarkd --chardev stdio,id=s --monitor s,pretty\n"
    "\n"
    "Run \"man tidemarkd\" for more.\n";

void print_help(void)
{
    fputs(help, stdout);
}

void print_version(void)
{
    puts("tidemarkd version " TIDEMARK_VERSION " (QMP as in QEMU 10.0)");
}
