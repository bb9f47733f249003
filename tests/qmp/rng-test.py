#!/usr/bin/env python3
"""Entropy for the guest from an EGD daemon (-object rng-egd), which is this test."""
import os
import select
import socket
import sys
import tempfile
import time
from qmp import LIMIT, Failed, Machine, check, main, same

PORTS, QUEUE, DATA = 0xc000, 0x10000, 0x20000


class Rng:
    """A virtio-rng-pci function at slot 5 by its legacy ports (Virtio 1.2, section 4.1.4.10)."""

    def __init__(self, m):
        self.m, self.sent = m, 0
        m.pci_write(5 << 3, 0x10, PORTS)
        m.pci_write(5 << 3, 4, 7)
        for status in (0, 1, 3):
            m.outb(PORTS + 18, status)
        m.outl(PORTS + 4, 0)
        m.outw(PORTS + 14, 0)
        self.size = size = m.inl(PORTS + 12) & 0xffff
        m.outl(PORTS + 8, QUEUE >> 12)
        self.avail = QUEUE + 16 * size
        self.used = self.avail + 4 + 2 * size + 2 + 4095 & ~4095
        m.outb(PORTS + 18, 7)

    def ask(self, n):
        for at, value in ((0, DATA), (4, 0), (8, n), (12, 2)):
            self.m.store(QUEUE + at, value)
        self.sent += 1
        self.m.store(self.avail, self.sent << 16)
        self.m.outw(PORTS + 16, 0)

    def done(self):
        return self.m.load(self.used) >> 16 == self.sent

    def answer(self):
        """The bytes that came."""
        end = time.monotonic() + LIMIT
        while not self.done():
            if time.monotonic() > end:
                raise Failed("no entropy")
        n = self.m.load(self.used + 4 + 8 * ((self.sent - 1) % self.size) + 4)
        data = b"".join(self.m.load(DATA + at).to_bytes(4, "little") for at in range(0, n, 4))
        return data[:n]


def daemon(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(LIMIT)
    s.connect(path)
    return s


def silent(s):
    """Nothing has been asked: a right program cannot have, whatever the time."""
    check(not select.select([s], [], [], 0)[0], "asked too early")


def test_egd():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "egd")
        with Machine("-chardev", "socket,id=e,server=on,wait=off,path=" + path, "-object",
                     "rng-egd,id=r,chardev=e", "-device",
                     "virtio-rng-pci,rng=r,addr=5,disable-legacy=off") as m:
            rng = Rng(m)
            rng.ask(64)
            check(not rng.done(), "entropy from nowhere")
            egd = daemon(path)
            same(egd.recv(100), b"\x02\xff")
            entropy = bytes(range(255))
            egd.sendall(entropy[:10])
            got = rng.answer()
            check(0 < len(got) <= 10 and entropy.startswith(got), "not what was sent", got)
            egd.sendall(entropy[10:])
            while len(got) < 255:                  # the last answer is short: there is no more
                rng.ask(64)
                got += rng.answer()
            same(got, entropy)
            same(egd.recv(100), b"\x02\xff")       # the pipe is empty
            # What was not asked for stays outside until the pipe is empty, and then is the next answer's
            # beginning: a request of the guest that empties the pipe may get some of it already.
            sent, got = bytes(reversed(entropy)) + b"nobody asked for this", b""
            egd.sendall(sent)
            while len(got) < 254:
                rng.ask(min(64, 254 - len(got)))
                got += rng.answer()
            silent(egd)
            while len(got) < len(sent):
                rng.ask(64)
                got += rng.answer()
            same(got, sent)
            same(egd.recv(100), b"\x02\xff")
            # A daemon that goes away in the middle; the guest waits for the next one.
            egd.close()
            rng.ask(16)
            egd = daemon(path)
            same(egd.recv(100), b"\x02\xff")
            egd.sendall(b"A" * 255)
            same(rng.answer(), b"A" * 16)
            m.qmp.fails("object-del", text="object 'r' is in use", id="r")
            egd.close()


def test_refused():
    with Machine("-chardev", "null,id=e", "-chardev", "null,id=f", "-S", serial=False) as m:
        q = m.qmp
        egd = {"qom-type": "rng-egd", "id": "r"}
        q.fails("object-add", text="chardev", **egd)
        q.fails("object-add", text="'nope'", chardev="nope", **egd)
        q.cmd("object-add", chardev="e", **egd)
        q.fails("object-add", text="in use", chardev="e", **{**egd, "id": "s"})
        q.cmd("object-del", id="r")
        q.cmd("object-add", chardev="e", **egd)


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS))
