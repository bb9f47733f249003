#!/usr/bin/env python3
"""client-test: the block driver nbd, with servers that are not ours; rhea-nbd hands it on to such clients.

    tests/nbd/client-test.py RHEA_NBD [TEST...]
"""
import os
import random
import socket
import struct
import subprocess
import sys
import unittest

from foreign import LIMIT_S, MIB, Nbd, needs, read, run

REQUEST = struct.pack(">I", 0x25609513)


def random_ops(seed, size, count=60):
    """qemu-io commands, and what the disk holds after them."""
    rng = random.Random(seed)
    disk = bytearray(size)
    commands = []
    for _ in range(count):
        off = rng.randrange(0, size - 1)
        length = min(rng.choice((1, 511, 512, 4096, 70000, 300000)), size - off)
        kind = rng.choice(("write", "write -f", "write -z", "write -z -u", "read", "flush"))
        if kind == "flush":
            commands.append("flush")
        elif kind == "read":
            commands.append("read %d %d" % (off, length))
        else:
            value = 0 if "-z" in kind else rng.randrange(1, 256)
            commands.append("%s%s %d %d" % (kind, "" if "-z" in kind else " -P %d" % value, off, length))
            disk[off:off + length] = bytes([value]) * length
    return [a for c in commands for a in ("-c", c)], bytes(disk)


def option_reply(option, kind, data=b""):
    return struct.pack(">QIII", 0x3e889045565a9, option, kind, len(data)) + data


def handshake(size):
    """What a server of one export without structured replies says to our client."""
    return b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3) + option_reply(8, 0x80000001) + \
        option_reply(7, 3, struct.pack(">HQH", 0, size, 1)) + option_reply(7, 1)


class Client(Nbd):
    def check_random(self, backing, seed):
        """Random operations through us to @backing, a URI; gives what it must hold."""
        ours = self.serve(backing, "-f", "raw", "--discard=unmap", name="ours")
        commands, disk = random_ops(seed, 4 * MIB)
        said = run("qemu-io", "-f", "raw", *commands, ours).stdout
        self.assertNotIn("failed", said)
        with open(self.path("read"), "wb") as file:
            file.truncate(0)
        run("nbdcopy", ours, self.path("read"))
        self.assertEqual(read(self.path("read")), disk)
        return disk

    @needs("qemu-nbd", "nbdcopy")
    def test_qemu(self):
        for seed in (1, 2, 3):
            image = self.path("a%d" % seed)
            with open(image, "wb") as file:
                file.truncate(4 * MIB)
            theirs = self.serve(image, "-f", "raw", "-e", "4", name="theirs%d" % seed, tool="qemu-nbd")
            disk = self.check_random(theirs, seed)
            self.end(self.processes.pop())
            self.assertEqual(read(image), disk)

    def start_nbdkit(self, *args):
        path = self.path("nbdkit")
        if os.path.exists(path):
            os.unlink(path)
        pid = self.path("nbdkit.pid")
        if os.path.exists(pid):
            os.unlink(pid)
        process = self.start("nbdkit", "-f", "-U", path, "-P", pid, *args)
        while not os.path.exists(pid):
            self.assertIsNone(process.poll(), "nbdkit ended")
        return "nbd:unix:" + path

    @needs("nbdkit", "nbdcopy")
    def test_nbdkit(self):
        for seed, filters in ((4, ()), (5, ("--filter=noextents", "--no-sr")), (6, ("--filter=nozero",)),
                              (7, ("--filter=fua", "fuamode=emulate")), (8, ("--mask-handshake=0",))):
            with self.subTest(filters=filters):
                options = [f for f in filters if f.startswith("-")]
                settings = [f for f in filters if not f.startswith("-")]
                backing = self.start_nbdkit(*options, "memory", "4M", *settings)
                self.check_random(backing, seed)
                self.end(self.processes.pop())
                self.end(self.processes.pop())

    @needs("nbdkit")
    def test_errors(self):
        """An error of the server is an error of the request, and of nothing else."""
        backing = self.start_nbdkit("--filter=error", "memory", "4M", "error-pwrite=ENOSPC",
                                    "error-pwrite-rate=100%")
        ours = self.serve(backing, "-f", "raw", name="ours")
        result = run("qemu-io", "-f", "raw", "-c", "write 0 4k", "-c", "read -P 0 0 4k", ours, check=False)
        self.assertIn("write failed: No space left on device", result.stdout + result.stderr)
        self.assertIn("read 4096/4096", result.stdout)

    @needs("qemu-nbd")
    def test_lost(self):
        """A server that is gone: requests fail, at once, and go on when it is back."""
        image = self.image("a")
        theirs = self.serve(image, "-f", "raw", "-e", "4", name="theirs", tool="qemu-nbd")
        ours = self.serve(theirs, "-f", "raw", "-e", "4", name="ours")
        lost = self.processes.pop(0)
        run("qemu-io", "-f", "raw", "-c", "read 0 4k", ours)
        self.end(lost, 9)
        result = run("qemu-io", "-f", "raw", "-c", "read 0 4k", ours, check=False)
        self.assertIn("read failed: Input/output error", result.stdout + result.stderr)
        self.serve(image, "-f", "raw", "-e", "4", name="theirs", tool="qemu-nbd")
        for _ in range(LIMIT_S * 10):
            result = run("qemu-io", "-f", "raw", "-c", "read 0 4k", ours, check=False)
            if result.returncode == 0 and "read 4096/4096" in result.stdout:
                return
        self.fail("it did not come back: " + result.stdout + result.stderr)

    def listener(self, name):
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.path(name))
        listener.listen()
        return listener

    def test_early_reply(self):
        """A server that answers a write before it has come: the connection ends, and nothing else."""
        listener = self.listener("early")
        ours = self.start(self.tool, "-f", "raw", "-t", "-k", self.path("x"),
                          "nbd+unix:///?socket=" + self.path("early"))
        peer = listener.accept()[0]
        peer.sendall(handshake(64 * MIB))
        listener.close()
        while not os.path.exists(self.path("x")):
            self.assertIsNone(ours.poll(), "it ended")
        uri = "nbd+unix:///?socket=" + self.path("x")
        client = subprocess.Popen(["qemu-io", "-f", "raw", "-c", "write 0 16M", uri],
                                  stdout=subprocess.PIPE, text=True)
        request = b""
        while len(request.partition(REQUEST)[2]) < 24:
            request += peer.recv(4096)
        handle = request.partition(REQUEST)[2][4:12]
        peer.sendall(struct.pack(">II", 0x67446698, 0) + handle)
        self.assertIn("Input/output error", client.communicate(timeout=LIMIT_S)[0])
        peer.close()
        result = run("qemu-io", "-f", "raw", "-c", "read 0 4k", uri, check=False)
        self.assertIn("read failed: Input/output error", result.stdout + result.stderr)
        self.assertIsNone(ours.poll(), "it ended")

    def test_cut(self):
        """A server that ends after any byte of its handshake: one line, status 1."""
        said = handshake(MIB)
        listener = self.listener("cut")
        for length in range(len(said)):
            process = self.start(self.tool, "-f", "raw", "-k", self.path("x"),
                                 "nbd+unix:///?socket=" + self.path("cut"))
            peer = listener.accept()[0]
            peer.sendall(said[:length])
            peer.shutdown(socket.SHUT_WR)
            error = process.communicate(timeout=LIMIT_S)[1]
            peer.close()
            self.processes.remove(process)
            self.assertEqual(process.returncode, 1, length)
            self.assertRegex(error, "^rhea-nbd: Failed to blk_new_open '.*': The NBD server closed .*\n$")

    @needs("qemu-nbd")
    def test_refused(self):
        image = self.image("a")
        theirs = self.serve(image, "-f", "raw", "-r", "-e", "4", "-x", "name", name="theirs", tool="qemu-nbd")
        path = self.path("theirs")
        for uri, message in ((theirs, "Requested export not available"),
                             ("nbd+unix:///name?socket=" + path, "request on write denied without .*"),
                             ("nbd:unix:%s:exportname=nope" % path, "Requested export not available"),
                             ("nbd+unix:///name?socket=/none", "Failed to connect to '/none': No .*"),
                             ("nbd+unix:///name", ".*\\?socket=PATH.*"), ("nbd:unix:", ".*path is missing"),
                             ("nbd://", ".*host is missing"), ("nbds://h", ".*needs tls-creds.*")):
            with self.subTest(uri=uri):
                result = run(self.tool, "-f", "raw", "-k", self.path("x"), uri, check=False)
                self.assertEqual(result.returncode, 1)
                self.assertRegex(result.stderr.splitlines()[0],
                                 "rhea-nbd: Failed to blk_new_open '.*': %s$" % message)


if __name__ == "__main__":
    Client.tool = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
