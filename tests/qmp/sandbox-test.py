#!/usr/bin/env python3
"""sandbox-test.py: what guests and clients do that makes unusual system calls, which the sandbox must allow.

The other live tests run in it too.  The first argument is the program; words behind it choose tests by name.
Status 77: no /dev/kvm.
"""
import socket
import sys
import tempfile

import virtio
from qmp import Machine, Nothing, check, main, same, still

HPET = 0xfed00000


def test_hpet_replaces_timer():
    """A vCPU switches the in-kernel timer's interrupt off and on (HPET 1.0a, 2.3.5: LEG_RT_CNF)."""
    for machine in ("q35", "pc"):
        with Machine("-machine", "hpet=on", machine=machine) as m:
            for value in (3, 1, 3, 0):
                m.store(HPET + 0x10, value)
            m.count()


def drive(m, q):
    """Every kind of request, vectors masked and not, a new size."""
    blk = virtio.Blk(m, 5)
    for masked in (True, False, True):
        blk.mask(masked)
        m.store(virtio.DATA, 0x12345678)
        blk.request(virtio.OUT)
        m.store(virtio.DATA, 0)
        blk.request(virtio.IN)
        same(m.load(virtio.DATA), 0x12345678)
    blk.mask(False)
    blk.request(virtio.FLUSH)
    blk.request(virtio.WRITE_ZEROES, length=65536)
    blk.request(virtio.IN)
    same(m.load(virtio.DATA), 0)
    blk.request(virtio.DISCARD, length=65536)
    q.cmd("block_resize", device="d", size=2 << 20)
    blk.request(virtio.OUT, sector=3000)
    blk.request(virtio.OUT, sector=1 << 20, status=1)


def test_disks():
    """A guest's driver, on each engine: queues on I/O threads and on the loop, doorbells, routes, vectors."""
    for aio, more in (("threads", ""), ("native", ",iothread=io"), ("io_uring", ",iothread=io")):
        with tempfile.NamedTemporaryFile(dir="/var/tmp") as disk:
            disk.truncate(1 << 20)
            with Machine("-object", "iothread,id=io", "-drive",
                         "if=none,id=d,format=raw,discard=unmap,cache=none,aio=%s,file=%s" % (aio, disk.name),
                         "-device", "virtio-blk-pci,drive=d,addr=5" + more) as m:
                drive(m, m.qmp)


def test_late_wishes():
    """What clients may name when the sandbox is closed: memory, firmware, logs, connections by name."""
    with still() as m:
        q = m.qmp
        q.cmd("object-add", **{"qom-type": "memory-backend-ram", "id": "m", "size": 1 << 20, "policy": "bind",
                               "host-nodes": [0]})
        q.fails("object-add", **{"qom-type": "memory-backend-ram", "id": "n", "size": 1 << 46,
                                 "prealloc": True})
        q.fails("device_add", driver="virtio-rng-pci", id="r", romfile="/nonexistent/rom")
        for log in ("one", "two"):
            q.cmd("human-monitor-command", **{"command-line": "logfile %s/%s" % (m.folder.name, log)})
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            q.cmd("chardev-add", id="c", backend={"type": "socket", "data": {
                "addr": {"type": "inet", "data": {"host": "localhost", "port": str(port)}}, "server": False}})
            listener.accept()[0].close()
        q.fails("chardev-add", id="f", backend={"type": "socket", "data": {
            "addr": {"type": "inet", "data": {"host": "no.such.invalid", "port": "1"}}, "server": False}})
        q.cmd("query-status")


def test_nothing():
    """Libraries that were not loaded are missed, and that is all."""
    with Nothing() as m:
        check("elf" in m.qmp.cmd("query-dump-guest-memory-capability")["formats"], "formats")
        m.qmp.cmd("query-status")


def test_tcp():
    """A listening socket's client, and one that connects again by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as free:
        port, ours = listener.getsockname()[1], free.getsockname()[1]
        free.close()
        with still("-chardev", "socket,id=l,host=127.0.0.1,port=%d,server=on,wait=off" % ours, "-serial",
                   "chardev:l", "-chardev", "socket,id=c,host=127.0.0.1,port=%d,reconnect=1" % port,
                   "-serial", "chardev:c") as m:
            with socket.create_connection(("127.0.0.1", ours)):
                while "<->" not in str(m.qmp.cmd("query-chardev")):
                    pass
            for _ in range(2):
                listener.accept()[0].close()


if __name__ == "__main__":
    sys.exit(main([v for k, v in list(globals().items()) if k.startswith("test_")]))
