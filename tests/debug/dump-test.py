#!/usr/bin/env python3
"""dump-test.py: dumps of a guest on /dev/kvm, read by readelf, gdb, makedumpfile, and by hand.

The first argument is the program; words behind it choose tests by name.  Status 77: no /dev/kvm.
"""
import ctypes
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "qmp"))
sys.path.insert(0, HERE)

import payload                                         # pylint: disable=wrong-import-position
from qmp import LIMIT, Machine, check, main, same      # pylint: disable=wrong-import-position

DUMP = "dump-guest-memory"
PAGE = 4096


def machine(*args):
    """The payload at work."""
    return payload.machine(*args, stopped=False)


def dump(m, name, **options):
    path = m.folder.name + "/" + name
    m.qmp.cmd(DUMP, **{"paging": False, "protocol": "file:" + path, **options})
    return path


def tool(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True).stdout


class Elf:
    """Loads of an ELF core, by physical address."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        check(self.data[:4] == b"\x7fELF", "magic")
        self.loads = []
        wide = self.data[4] == 2
        phoff, = struct.unpack_from("<Q" if wide else "<I", self.data, 32 if wide else 28)
        size, count = struct.unpack_from("<HH", self.data, 54 if wide else 42)
        for i in range(count):
            at = phoff + i * size
            if wide:
                kind, _, off, vaddr, paddr, filesz = struct.unpack_from("<IIQQQQ", self.data, at)
            else:
                kind, off, vaddr, paddr, filesz = struct.unpack_from("<IIIII", self.data, at)
            if kind == 1:
                self.loads.append((paddr, vaddr, filesz, off))

    def page(self, frame):
        for paddr, _, size, off in self.loads:
            if paddr <= frame * PAGE < paddr + size:
                at = off + frame * PAGE - paddr
                return self.data[at:at + PAGE]
        return None


def test_elf():
    with machine("-smp", "2") as m:
        m.qmp.cmd("stop")
        path = dump(m, "core")
        same(m.qmp.event("DUMP_COMPLETED")["result"]["status"], "completed")
        same(m.qmp.status(), "paused")
        same(os.stat(path).st_mode & 0o777, 0o400)
        text = tool("readelf", "-hlW", path)
        check("CORE (Core file)" in text and "Intel 80386" in text, "header", text)
        notes = tool("readelf", "-nW", path)
        same(notes.count("NT_PRSTATUS"), 2)
        same(notes.count("QEMU"), 2)
        elf = Elf(path)
        same([load[:3] for load in elf.loads][0], (0, 0, 0xa0000), "the first part of RAM")
        done = m.qmp.cmd("query-dump")
        same(done["completed"], sum(load[2] for load in elf.loads))
        same(done["total"], done["completed"])
        check(os.stat(path).st_blocks * 512 < os.stat(path).st_size // 2, "zeroes are holes")


def test_gdb_reads_it():
    if not shutil.which("gdb"):
        print("    no gdb: left out")
        return
    with machine("-smp", "2") as m:
        same(m.guest.take(1), b"T", "the second processor")
        path = dump(m, "core")
        m.qmp.event("STOP")
        m.qmp.event("RESUME")
        same(m.qmp.status(), "running")
        text = tool("gdb", "-nx", "-batch", "-ex", "set width 0", "-ex", "info threads", "-ex",
                    "print table", "-ex",
                    "bt", "-ex", "info registers eip", "-ex", "thread 2", "-ex", "bt", payload.KERNEL, path)
        check("{11, 22, 33, 44}" in text, "memory", text)
        check(re.search(r"#\d .*kernel \(\)", text), "the first processor's stack", text)
        check(re.search(r"#\d .*kernel2 \(\)", text), "the second processor's stack", text)


def test_part():
    with machine() as m:
        elf = Elf(dump(m, "core", begin=0x100000, length=0x3000))
        same([load[0::2][:2] for load in elf.loads], [(0x100000, 0x3000)])
        elf = Elf(dump(m, "core2", begin=0x9f000, length=0x22000, paging=True))
        same([load[0::2][:2] for load in elf.loads], [(0x9f000, 0x1000), (0xc0000, 0x1000)])
        m.qmp.fails(DUMP, text="no guest memory", paging=False, protocol="file:" + m.folder.name + "/x",
                    begin=1 << 40, length=4096)
        same(m.qmp.status(), "running")
        for more, text in (({"begin": 0}, "'length' is missing"), ({"length": 1}, "'begin' is missing"),
                           ({"begin": 0, "length": 0}, "'length'"), ({"begin": -1, "length": 1}, "'begin'"),
                           ({"begin": 1, "length": 2 ** 63 - 1}, "'length'")):
            m.qmp.fails(DUMP, text=text, paging=False, protocol="file:" + m.folder.name + "/x", **more)


def flat(path):
    """The file inside a flattened one, as {offset: bytes}."""
    with open(path, "rb") as file:
        data = file.read()
    same(data[:12], b"makedumpfile")
    same(struct.unpack_from(">qq", data, 16), (1, 1))
    at, parts = 4096, []
    while True:
        off, size = struct.unpack_from(">qq", data, at)
        if off == -1:
            same(at + 16, len(data), "the end")
            return parts
        parts.append((off, data[at + 16:at + 16 + size]))
        at += 16 + size


def decompress_lzo(data):
    lib = ctypes.CDLL("liblzo2.so.2")
    out, size = ctypes.create_string_buffer(PAGE), ctypes.c_ulong(PAGE)
    same(lib.lzo1x_decompress_safe(data, ctypes.c_ulong(len(data)), out, ctypes.byref(size), None), 0)
    return out.raw[:size.value]


def decompress_snappy(data):
    lib = ctypes.CDLL("libsnappy.so.1")
    out, size = ctypes.create_string_buffer(PAGE), ctypes.c_size_t(PAGE)
    same(lib.snappy_uncompress(data, ctypes.c_size_t(len(data)), out, ctypes.byref(size)), 0)
    return out.raw[:size.value]


def check_kdump(path, elf, flag, decompress):
    """Every page of the kdump file is the page in the ELF one."""
    image = bytearray()
    for off, data in flat(path):
        image[len(image):] = bytes(max(off + len(data) - len(image), 0))
        image[off:off + len(data)] = data
    same(bytes(image[:8]), b"KDUMP   ")
    status, block, sub_blocks, bitmap_blocks, max_page = struct.unpack_from("<IIIII", image, 424)
    same((status, block), (flag, PAGE))
    same(struct.unpack_from("<I", image, 460)[0], 2, "processors")
    note_at, note_size = struct.unpack_from("<QQ", image, PAGE + 48)
    same(bytes(image[note_at + 12:note_at + 16]), b"CORE")
    check(note_at + note_size <= (1 + sub_blocks) * PAGE, "notes")
    bitmap = (1 + sub_blocks) * PAGE + bitmap_blocks // 2 * PAGE
    desc = (1 + sub_blocks + bitmap_blocks) * PAGE
    pages = 0
    for frame in range(max_page):
        if image[bitmap + frame // 8] >> frame % 8 & 1:
            at, size, flags, _ = struct.unpack_from("<QIIQ", image, desc + 24 * pages)
            data = bytes(image[at:at + size])
            check(flags in (0, flag), "flags", flags)
            same(decompress(data) if flags else data, elf.page(frame), "page %x" % frame)
            pages += 1
    same(pages, sum(load[2] for load in elf.loads) // PAGE)


KDUMPS = (("kdump-zlib", 1, zlib.decompress), ("kdump-lzo", 2, decompress_lzo),
          ("kdump-snappy", 4, decompress_snappy))


def test_kdump():
    with machine("-smp", "2") as m:
        m.qmp.cmd("stop")
        elf = Elf(dump(m, "core"))
        formats = m.qmp.cmd("query-dump-guest-memory-capability")["formats"]
        check(formats[:2] == ["elf", "kdump-zlib"], "formats", formats)
        for name, flag, decompress in KDUMPS:
            if name in formats:
                check_kdump(dump(m, name, format=name), elf, flag, decompress)
            else:
                m.qmp.fails(DUMP, text=name + " is not available now", paging=False, format=name,
                            protocol="file:" + m.folder.name + "/x")
        m.qmp.fails(DUMP, text="win-dmp is not available now", paging=False, format="win-dmp",
                    protocol="file:" + m.folder.name + "/x")
        for more in ({"paging": True}, {"paging": False, "begin": 0, "length": 4096}):
            m.qmp.fails(DUMP, text="doesn't support paging or filter", format="kdump-zlib",
                        protocol="file:" + m.folder.name + "/x", **more)
        m.qmp.fails(DUMP, paging=False, format="kdump-gzip", protocol="file:/x")


def test_makedumpfile():
    if not shutil.which("makedumpfile"):
        print("    no makedumpfile: left out")
        return
    with machine() as m:
        path = dump(m, "flat", format="kdump-zlib")
        with open(path, "rb") as file:
            subprocess.run(["makedumpfile", "-R", m.folder.name + "/core"], stdin=file, check=True,
                           timeout=LIMIT,
                           capture_output=True)
        with open(m.folder.name + "/core", "rb") as file:
            same(file.read(8), b"KDUMP   ")


def test_detached():
    with machine() as m:
        one = {"execute": DUMP, "arguments": {"paging": False, "detach": True,
                                              "protocol": "file:" + m.folder.name + "/a"}}
        two = {"execute": DUMP, "arguments": {"paging": False, "protocol": "file:" + m.folder.name + "/b"}}
        m.qmp.send(json.dumps(one) + json.dumps(two) + json.dumps({"execute": "cont"}))
        same(m.qmp.reply(), {"return": {}})
        second, cont = m.qmp.reply(), m.qmp.reply()
        # Both come before its end or after; in between they are refused.
        for answer in (second, cont):
            if "error" in answer:
                same(answer["error"]["desc"], "There is a dump in process, please wait.")
        same(m.qmp.event("DUMP_COMPLETED")["result"]["status"], "completed")
        m.qmp.event("RESUME")
        check(not os.path.exists(m.folder.name + "/b") or "return" in second, "the second's file")


def test_passed_descriptors():
    """A pipe, which a reader empties, and one whose reader has gone."""
    with machine() as m:
        reader, writer = os.pipe()
        same(m.qmp.execute_with([writer], "getfd", fdname="dump"), {"return": {}})
        os.close(writer)
        same(m.qmp.cmd(DUMP, paging=False, protocol="fd:dump", detach=True), {})
        with os.fdopen(reader, "rb") as file:
            data = file.read()
        result = m.qmp.event("DUMP_COMPLETED")["result"]
        same(result["status"], "completed")
        check(len(data) > result["total"] and data[:4] == b"\x7fELF", "what came through the pipe")
        m.qmp.fails(DUMP, text="'dump' has not been found", paging=False, protocol="fd:dump")
        reader, writer = os.pipe()
        os.close(reader)
        same(m.qmp.execute_with([writer], "getfd", fdname="dump"), {"return": {}})
        os.close(writer)
        m.qmp.fails(DUMP, text="Broken pipe", paging=False, protocol="fd:dump")
        same(m.qmp.status(), "running")


def test_failures():
    with machine() as m:
        q = m.qmp
        for protocol, text in (("bogus:x", "Invalid parameter 'protocol'"), ("fd:nope",
                                                                             "'nope' has not been found"),
                               ("file:/nonexistent/x", "Could not open '/nonexistent/x': No such file"),
                               ("file:" + m.folder.name, "Is a directory")):
            q.fails(DUMP, text=text, paging=False, protocol=protocol)
        same(q.status(), "running")
        same(q.cmd("query-dump")["status"], "none")
        for options in ({}, {"format": "kdump-zlib"}):
            q.fails(DUMP, text="No space left on device", paging=False, protocol="file:/dev/full", **options)
            end = q.event("DUMP_COMPLETED")
            same(end["result"]["status"], "failed")
            check("No space left" in end["error"], "event", end)
        same(q.cmd("query-dump")["status"], "failed")
        q.event("RESUME")
        same(q.status(), "running")
        os.mkfifo(m.folder.name + "/fifo")
        q.fails(DUMP, text="No such device or address", paging=False,
                protocol="file:" + m.folder.name + "/fifo")
        # A file that may not grow: nothing is left that looks like a dump.
        resource.prlimit(m.process.pid, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        q.fails(DUMP, text="File too large", paging=False, protocol="file:" + m.folder.name + "/limited")
        same(os.path.getsize(m.folder.name + "/limited"), 0)


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="rhea-dump-") as work:
        payload.build(work)
        STATUS = main(TESTS)
    sys.exit(STATUS)
