#!/usr/bin/env python3
"""hmp-test.py: the human monitor: each command's success and failure, terminals, several monitors.

The first argument is the program; words behind it choose tests by name.
"""
import fcntl
import os
import pty
import re
import select
import socket
import subprocess
import sys
import tempfile
import termios

from qmp import HERE, LIMIT, Failed, Machine, Nothing, Stream, check, main, same, still
from virtio import FLUSH, IN, OUT, Blk

PROMPT = b"(qemu) "


def human(m, line, **more):
    """What @line prints, with plain ends of lines."""
    text = m.qmp.cmd("human-monitor-command", **{"command-line": line}, **more)
    check("\n" not in text.replace("\r\n", ""), "ends of lines", text)
    return text.replace("\r\n", "\n")


def says(m, line, want):
    same(human(m, line), want, line)


def like(m, line, pattern):
    got = human(m, line)
    check(re.fullmatch(pattern, got, re.S), "%s does not print %s:" % (line, pattern), got)


class Terminal(Stream):
    """A human monitor at the end of a socket or a terminal."""

    def until(self, text):
        while text not in self.buffer:
            if not self.more():
                raise Failed("the stream ended; read so far: %r" % self.buffer[-300:])
        at = self.buffer.index(text) + len(text)
        got, self.buffer = self.buffer[:at], self.buffer[at:]
        return got

    def type(self, keys):
        self.sock.sendall(keys)

    def line(self, line):
        """What @line prints."""
        self.type(line.encode() + b"\r")
        got = self.until(b"\r\n" + PROMPT) if line else self.until(PROMPT)
        check(got.startswith(line.encode() + b"\r\n"), "echo", got)
        return got[len(line) + 2:-len(PROMPT)].decode().replace("\r\n", "\n")


class Pty:
    """A terminal's other end, with what Stream wants of a socket."""

    def __init__(self, fd):
        self.fd = fd

    def fileno(self):
        return self.fd

    def recv(self, n):
        try:
            return os.read(self.fd, n)
        except OSError:                                # nobody has the terminal open any more
            return b""

    def sendall(self, data):
        os.write(self.fd, data)

    def close(self):
        os.close(self.fd)


# --- the machine ---
def test_control():
    with Machine(serial=False) as m:
        says(m, "info status", "VM status: running\n")
        says(m, "stop", "")
        says(m, "info status", "VM status: paused\n")
        same(m.qmp.status(), "paused")
        says(m, "s", "")                               # stopped already
        says(m, "c", "")
        says(m, "info status", "VM status: running\n")
        says(m, "system_wakeup", "Error: Unable to wake up: guest is not in suspended state\n")
        says(m, "system_reset", "")
        m.qmp.event("RESET")
        says(m, "system_powerdown", "")
        m.qmp.event("POWERDOWN")
        says(m, "nmi", "")
        says(m, "stop now",
             'stop|s: extraneous characters at the end of line\nTry "help stop" for more information\n')
        says(m, "foo", "unknown command: 'foo'\n")
        says(m, "info foo", "unknown command: 'info foo'\n")
        says(m, "savevm x", "Error: savevm is not supported: there are no saved states in images\n")
        says(m, "quit", "")
        m.ends()


def test_facts():
    with still("-S", "-name", "n1", "-smp", "2", "-uuid", "11111111-2222-3333-4444-555555555555") as m:
        says(m, "info status", "VM status: paused (prelaunch)\n")
        says(m, "info name", "n1\n")
        says(m, "info uuid", "11111111-2222-3333-4444-555555555555\n")
        says(m, "info kvm", "kvm support: disabled\n")
        like(m, "info version", r"7\.2\.0 Rhea .*\n")
        like(m, "info chardev", r"(?s).*compat_monitor0: filename=disconnected:unix:.*|.*compat_monitor0: .*")
        says(m, "info history", "")
        says(m, "info iothreads", "")
        says(m, "info registers", "CPU#0 not available\n")
        says(m, "x 0", "0000000000000000: 0x00000000\n")
        like(m, "help", r"(?s).*\nquit\|q  -- .*\n.*\nxp /fmt addr -- .*\n")
        like(m, "info", r"(?s)info .*\ninfo status  -- .*")
        says(m, "help quit", human(m, "help q"))
        says(m, "help foo", "unknown command: 'foo'\n")


def test_what_there_is_none_of():
    with open(os.path.join(HERE, "..", "..", "monitor", "hmp-absent.def"), encoding="utf-8") as file:
        rows = re.findall(r'^(HMP|INFO)_ABSENT\("([^"]+)", "([^"]+)"\)', file.read(), re.M)
    check(len(rows) > 60, "the list", len(rows))
    with still() as m:
        for kind, name, why in rows:
            name = "info " * (kind == "INFO") + name
            says(m, name + " x", "Error: %s is not supported: %s\n" % (name, why))
        says(m, "info savevm", "unknown command: 'info savevm'\n")


def test_chips():
    for extra in ({"accel": "kvm", "serial": False}, {"accel": "qtest", "serial": False}):
        with Machine("-S", **extra) as m:
            text = human(m, "info pic")
            same(text.count("\n"), 27)
            pin = "\n  pin 23 0x0000000000010000 dest=0 vec=0   active-hi edge  masked fixed physical\n"
            check(pin in text, "info pic", text)
            like(m, "info pic", r".*\npic1: irr=00 .*\npic0: irr=0[01] imr=00 isr=00 irq_base=00 elcr=00\n")
            like(m, "info roms", r"size=0x.* mem=rom name=\"pc\.bios\"\n")
            like(m, "info ramblock", r".*Block Name.*\n.* pc\.ram +4 KiB 0x0000000001000000\n.*")
        says_none = {"info dump": "Status: none\n", "info migrate_capabilities": "events: off\n",
                     "info migrate_parameters": "",
                     "info migrate": "Outgoing migration blocked:\n"
                                     "  this program cannot migrate or save machines\n"}
    with still() as m:
        for line, want in says_none.items():
            says(m, line, want)


def test_graph():
    none = "Error: Cannot find device='x' nor node-name='x'\n"
    with tempfile.TemporaryDirectory(prefix="rhea-hmp-") as folder:
        for name in "abc":
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", folder + "/" + name, "1M"], check=True)
        with still("-drive", "if=none,id=d,format=qcow2,file=" + folder + "/a", "-device",
                   "virtio-blk-pci,drive=d") as m:
            says(m, "snapshot_blkdev_internal d s0", "")
            like(m, "snapshot_blkdev_internal d s0", r"Error: .*s0.*\n")
            says(m, "snapshot_delete_blkdev_internal d s0", "")
            like(m, "snapshot_delete_blkdev_internal d s0", r"Error: .*s0.*\n")
            says(m, "snapshot_blkdev_internal x s", none)
            says(m, "snapshot_blkdev -n d %s/b qcow2" % folder, "")
            check(folder + "/b" in human(m, "info block"), "the top")
            says(m, "snapshot_blkdev d", "Error: Parameter 'snapshot-file' is missing\n")
            says(m, "block_stream d 1M", "")
            m.qmp.event("BLOCK_JOB_COMPLETED")
            says(m, "block_stream x", none)
            for line in ("drive_backup -f d %s/copy raw", "drive_backup -f -c d %s/packed qcow2",
                         "drive_backup -n d %s/c qcow2"):
                says(m, line % folder, "")
                m.qmp.event("BLOCK_JOB_COMPLETED")
            same(os.stat(folder + "/copy").st_size, 1 << 20)
            says(m, "drive_mirror -f d %s/mirror qcow2" % folder, "")
            m.qmp.event("BLOCK_JOB_READY")
            says(m, "block_job_cancel d", "")
            m.qmp.event("BLOCK_JOB_COMPLETED")
            like(m, "drive_backup x %s/copy" % folder, r"Error: Cannot find device='?x.*\n")
            like(m, "drive_mirror -n d /nonexistent/x qcow2", r"Error: .*/nonexistent/x.*\n")
            like(m, "nbd_server_start -a -w localhost:0", r"Error: Node .* is already used by .*\n")
            says(m, "nbd_server_stop", "Error: NBD server not running\n")
            says(m, "nbd_server_start -a localhost:0", "")
            same([e["id"] for e in m.qmp.cmd("query-block-exports")], ["d"])
            like(m, "nbd_server_start localhost:0", r"Error: .*already running\n")
            like(m, "nbd_server_add -w d e", r"Error: Node .* is already used by .*\n")
            says(m, "nbd_server_add d e", "")
            says(m, "nbd_server_add x", none)
            says(m, "nbd_server_remove -f e", "")
            says(m, "nbd_server_remove e", "Error: Export 'e' is not found\n")
            says(m, "nbd_server_stop", "")
            says(m, "nbd_server_stop", "Error: NBD server not running\n")
            says(m, "nbd_server_start -w localhost:0", "Error: -w only valid together with -a\n")
            says(m, "nbd_server_start localhost", "Error: error parsing address 'localhost'\n")
            says(m, "closefd x", "Error: File descriptor named 'x' not found\n")


def test_vcpus():
    with Machine("-smp", "2", serial=False) as m:
        like(m, "info cpus", r"\* CPU #0: thread_id=\d+\n  CPU #1: thread_id=\d+\n")
        like(m, "info registers",
             r"\nCPU#0\nEAX=[0-9a-f]{8} EBX=.*\nCS =.* 00009[ab]00\n.*XMM06=.*XMM07=.*\n")
        like(m, "info registers 1", r"\nCPU#1\n.*HLT=1\n.*")
        like(m, "info registers -a", r"\nCPU#0\n.*\nCPU#1\n.*")
        says(m, "info registers 2", "CPU#2 not available\n")
        says(m, "info registers x",
             "invalid char 'x' in expression\nTry \"help info registers\" for more information\n")
        like(m, "info lapic", r"dumping local APIC state for CPU 0 \n\nLVT0\t 0x.*\nAPR 0x00 TPR .*\n")
        like(m, "info lapic 1", r"dumping local APIC state for CPU 1 .*")
        says(m, "info lapic 7", "No CPU available\n")
        says(m, "info mem", "PG disabled\n")
        says(m, "info tlb", "PG disabled\n")
        says(m, "cpu 9", "invalid CPU index\n")
        says(m, "cpu", 'unexpected end of expression\nTry "help cpu" for more information\n')
        second = {"command-line": "info cpus", "cpu-index": 1}
        same(m.qmp.cmd("human-monitor-command", **second)[:9], "  CPU #0:")
        m.qmp.fails("human-monitor-command", text="cpu-index", **(second | {"cpu-index": 2}))
        m.qmp.fails("human-monitor-command", text="command-line")
        says(m, "p $cs.base+0", human(m, "p $cs.base"))
        like(m, "p $r15", r"\d+\n|0x[0-9a-f]+\n")


# --- memory ---
def test_memory():
    with Machine(serial=False) as m:
        m.qmp.cmd("stop")
        says(m, "xp/4xb 0xfffffff0", "00000000fffffff0: 0x%02x 0x%02x 0x%02x 0x%02x\n"
             % tuple(open(m.rom, "rb").read()[-16:-12]))
        says(m, "xp/3wx 0x4000", "0000000000004000: 0x00000000 0x00000000 0x00000000\n")
        says(m, "xp/9bd 0x4000", "0000000000004000:   0   0   0   0   0   0   0   0\n0000000000004008:   0\n")
        says(m, "xp/2ho 0x4000", "0000000000004000:      0      0\n")
        says(m, "xp/2gu 0x4000", "0000000000004000:                    0                    0\n")
        says(m, "xp/2cb 0x4000", "0000000000004000:" + " '\\x00'" * 2 + "\n")
        says(m, "xp 0x4000", "0000000000004000: '\\x00'\n")        # as the last one
        says(m, "xp/0x 0x4000", "")
        says(m, "xp/4x 0x900000000", "0000000900000000: Cannot access memory\n")
        says(m, "xp/4xb -1", "ffffffffffffffff: Cannot access memory\n")
        says(m, "xp/s 0", "invalid char in format: 's'\nTry \"help xp\" for more information\n")
        says(m, "xp", "unexpected end of expression\nTry \"help xp\" for more information\n")
        like(m, "x/2i 0xfffffff0", r"0xfffffff0:  .*\n0xfffffff.:  .*\n|0xfffffff0: no disassembler.*\n")
        says(m, "x/2i 0x900000000", "0x900000000: unable to read memory\n")
        says(m, "sum 0x4000 4096", "00000\n")
        says(m, "sum 0xfffffff0", "unexpected end of expression\nTry \"help sum\" for more information\n")
        like(m, "gpa2hva 0x1000", r"Host virtual address for 0x1000 \(pc.ram\) is 0x[0-9a-f]+\n")
        says(m, "gpa2hva 0x900000000", "No memory is mapped at address 0x900000000\n")
        says(m, "gva2gpa 0x1234", "gpa: 0x1234\n")
        # A line's output ends somewhere, whatever is asked for.
        big = human(m, "xp/9999999xb 0")
        check(4 << 20 < len(big) < 5 << 20 and "more than 4 MiB" in big[-100:], "a large dump", len(big))


def test_memory_to_files():
    with Machine("-S", serial=False) as m:
        q, path = m.qmp, m.folder.name + "/saved"
        says(m, 'pmemsave 0xfffffff0 16 "%s"' % path, "")
        with open(path, "rb") as saved:
            same(saved.read(), open(m.rom, "rb").read()[-16:])
        q.cmd("pmemsave", val=0, size=3 << 20, filename=path)
        same(os.path.getsize(path), 3 << 20)
        q.cmd("memsave", val=0xfffffff0, size=16, filename=path, **{"cpu-index": 0})
        same(os.path.getsize(path), 16)
        says(m, 'memsave 0xfffffff8 8 "%s"' % path, "")
        same(os.path.getsize(path), 8)
        says(m, "pmemsave 0 16 " + path,
             "invalid char 't' in expression\nTry \"help pmemsave\" for more information\n")
        says(m, "pmemsave 0 16", "pmemsave: string expected\nTry \"help pmemsave\" for more information\n")
        like(m, 'pmemsave 0 16 "/nonexistent/x"',
             r"Error: Could not open '/nonexistent/x': No such file or directory\n")
        q.fails("pmemsave", text="Could not open", val=0, size=1, filename="/nonexistent/x")
        q.fails("pmemsave", text="not a regular file", val=0, size=1, filename=fifo(m))
        q.fails("memsave", text="cpu-index", val=0, size=1, filename=path, **{"cpu-index": 5})
        q.fails("memsave", text="Invalid addr 0xffffffffffffffff/size 1", val=-1, size=1, filename=path)
        q.fails("memsave", text="'size'", val=0, size=-1, filename=path)
        same(m.qmp.status(), "prelaunch")


def fifo(m):
    path = m.folder.name + "/fifo"
    os.mkfifo(path)
    m.keep = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    return path


def test_ports():
    with Machine() as m:
        says(m, "o/b 0x80 0x12", "")
        like(m, "i/b 0x61", r"portb\[0x0061\] = 0x[0-9a-f]{2}\n")
        like(m, "i/h 0x510", r"portw\[0x0510\] = 0x[0-9a-f]{4}\n")
        like(m, "i/w 0xcf8", r"portl\[0x0cf8\] = 0x[0-9a-f]{8}\n")
        human(m, "o 0xcf8 0x80000000")
        says(m, "i 0xcf8", "portl[0x0cf8] = 0x80000000\n")
        same(m.pci_read(0, 0) & 0xffff, 0x8086)
        says(m, "o/b 0x80", "unexpected end of expression\nTry \"help o\" for more information\n")
        says(m, "i/z 0x80", "invalid char in format: 'z'\nTry \"help i\" for more information\n")


# --- devices ---
def test_devices():
    with still("-S", "-device", "pcie-root-port,id=rp1,chassis=1,slot=1") as m:
        says(m, "device_add virtio-rng-pci,id=r1,bus=rp1", "")
        like(m, "info qtree",
             r".*      dev: pcie-root-port, id \"rp1\"\n.*dev: virtio-rng-pci, id \"r1\"\n.*")
        like(m, "info qom-tree /machine/peripheral",
             r"/machine/peripheral \(container\)\n  /r1 \(virtio-rng-pci\)\n.*")
        like(m, "info qom-tree", r"/machine \(pc-q35-7.2-machine\)\n.*")
        says(m, "info qom-tree /nope", "Path '/nope' could not be resolved.\n")
        says(m, "device_del r1", "")
        m.qmp.event("DEVICE_DELETED")
        says(m, "device_del r1", "Error: Device 'r1' not found\n")
        says(m, "device_del", 'device_del: string expected\nTry "help device_del" for more information\n')
        like(m, "device_add", r"device_add: string expected\n.*|Error: Parameter 'driver' is missing\n")
        like(m, "device_add foo", r"Error: '?foo'? is not a valid device model name\n.*")
        like(m, "device_add help", r".* devices:\nname \".*")
        like(m, "device_add virtio-rng-pci,help", r"virtio-rng-pci options:\n.*")
        same(human(m, "info qdm"), human(m, "device_add help"))
        like(m, "info mtree",
             r"address-space: .*address-space: memory\n  0+-f{16} \(prio 0, i/o\): system\n.*")
        like(m, "info mtree -f", r"FlatView #0\n AS \".*")
        like(m, "info mtree -o", r".* owner:\{dev .*")
        says(m, "info mtree -x",
             "mtree: unsupported option -x\nTry \"help info mtree\" for more information\n")


def test_tree_of_pci():
    with still("-S", "-device", "edu", "-device", "pci-bridge,chassis_nr=1,id=b", machine="pc") as m:
        tree = human(m, "info qtree")
        for lines in ("        class Class 00ff, addr 00:02.0, pci id 1234:11e8 (sub 1af4:1100)\n"
                      "        bar 0: mem at 0xffffffffffffffff [0xffffe]\n",
                      "        class PCI bridge, addr 00:03.0, pci id 1b36:0001 (sub 0000:0000)\n",
                      "        class Host bridge, addr 00:00.0, pci id 8086:1237 (sub 1af4:1100)\n",
                      "        bar 4: i/o at 0xffffffffffffffff [0xe]\n"):
            check(lines in tree, "in the tree:", lines, tree)


def test_numa():
    with still("-S", machine="pc") as m:
        says(m, "info numa", "0 nodes\n")
    with still("-S", "-m", "128M,slots=2,maxmem=1G", "-smp", "2,maxcpus=3",
               "-object", "memory-backend-ram,id=m0,size=64M", "-object", "memory-backend-ram,id=m1,size=64M",
               "-object", "memory-backend-ram,id=m2,size=128M", "-numa", "node,nodeid=0,cpus=0-1,memdev=m0",
               "-numa", "node,nodeid=1,cpus=2,memdev=m1", "-device", "pc-dimm,memdev=m2,node=1") as m:
        says(m, "info numa", "2 nodes\nnode 0 cpus: 0 1\nnode 0 size: 64 MB\nnode 0 plugged: 0 MB\n"
             "node 1 cpus:\nnode 1 size: 192 MB\nnode 1 plugged: 128 MB\n")
    with Nothing() as m:
        says(m, "info numa", "0 nodes\n")


def test_boot_set():
    with Machine("-boot", "order=c,once=n") as m:
        def order():
            m.outb(0x70, 0x3d)
            return m.inb(0x71)

        same(order(), 0x04, "once")
        says(m, "boot_set dc", "boot device list now set to dc\n")
        m.qmp.cmd("system_reset")
        m.qmp.event("RESET")
        m.started()
        same(order(), 0x23, "after a reset")
        says(m, "boot_set zz", "Invalid boot device 'z'\n")
        says(m, "boot_set cc", "Boot device 'c' was given twice\n")
        like(m, "boot_set", r"boot_set: string expected\n.*")
        m.qmp.cmd("system_reset")
        m.qmp.event("RESET")
        m.started()
        same(order(), 0x23, "unchanged")
    with Nothing() as m:
        like(m, "boot_set c", r"no function defined .*\n")


def test_drives():
    with still("-S") as m, tempfile.NamedTemporaryFile() as f:
        f.truncate(1 << 20)
        for _ in range(2):
            says(m, "drive_add 0 if=none,id=x,format=raw,file=" + f.name, "OK\n")
            same([n["drv"] for n in m.qmp.cmd("query-named-block-nodes")], ["file", "raw"])
            says(m, "drive_add 0 if=none,id=x,format=raw,file=" + f.name, "Duplicate ID 'x' for drive\n")
            says(m, "drive_del x", "")
            says(m, "drive_del x", "Device 'x' not found\n")
        says(m, "drive_add 0 if=none,id=y,file=/nonexistent",
             "Could not open '/nonexistent': No such file or directory\n")
        says(m, "drive_add 0:4 if=virtio,file=" + f.name, "Can't hot-add drive to type virtio\n")
        says(m, "drive_add 0 if=none,id=y,serial=S,file=" + f.name,
             "if=none makes no device that could have a serial number\n")
        says(m, "drive_add 0 help", "Can't hot-add drive to type ide\n")
        says(m, "drive_add 0 foo=1", "Can't hot-add drive to type ide\n")
        says(m, "drive_add 0 if=none,foo=1", "Must specify either driver or file\n")
        for line in ("drive_add", "drive_add 0", "drive_del"):
            like(m, line, line.split()[0] + r": (string|block device name) expected\n.*")
        says(m, "drive_add -n 0 driver=null-co,node-name=nn", "")
        same([n["node-name"] for n in m.qmp.cmd("query-named-block-nodes")], ["nn"])
        says(m, "drive_add -n 0 driver=null-co,node-name=nn",
             "Error: Duplicate nodes with node-name='nn'\n")
        like(m, "drive_add -n 0 driver=null-co", r"Error: 'node-name' must be specified.*\n")
        says(m, "drive_del nn", "")
        same(m.qmp.cmd("query-named-block-nodes"), [])

def test_drives_in_use():
    """drive_del of what a device has: the device stays, without a medium; the id is its until it goes."""
    with tempfile.NamedTemporaryFile() as f:
        f.truncate(1 << 20)
        image = "format=raw,file=" + f.name
        with Machine("-drive", "if=none,id=d0,werror=stop,rerror=stop," + image,
                     "-device", "virtio-blk-pci,drive=d0,id=v,addr=5", machine="pc") as m:
            blk = Blk(m, 5)
            blk.request(OUT)
            says(m, "drive_del d0", "")
            same(m.qmp.cmd("query-named-block-nodes"), [])
            for kind in (IN, OUT, FLUSH):
                blk.request(kind, status=1)
            for operation in ("read", "write"):
                event = m.qmp.event("BLOCK_IO_ERROR")
                same((event["operation"], event["action"], event["device"]), (operation, "report", ""))
            same(m.qmp.status(), "running")
            like(m, "info block", r"/machine/peripheral/v/virtio-backend: \[not inserted\]\n"
                                  r"    Attached to:      /machine/peripheral/v/virtio-backend\n")
            same(m.qmp.cmd("qom-get", path="/machine/peripheral/v", property="drive"), "")
            same(["node-name" in row for row in m.qmp.cmd("query-blockstats")], [False])
            same(m.qmp.cmd("query-blockstats", **{"query-nodes": True}), [])
            says(m, "drive_del d0", "Device 'd0' not found\n")
            limits = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
            m.qmp.fails("block_set_io_throttle", text="Device has no medium", id="v", **limits)
            says(m, "drive_add 0 if=none,id=d0," + image, "Duplicate ID 'd0' for drive\n")
            human(m, "info qtree")
            says(m, "device_del v", "")
            m.qmp.cmd("system_reset")
            m.qmp.event("DEVICE_DELETED")
            says(m, "drive_add 0 if=none,id=d0," + image, "OK\n")


def test_media_in_use():
    """drive_del of media, and of nodes that are in use."""
    with tempfile.NamedTemporaryFile() as f, tempfile.NamedTemporaryFile() as g:
        for file in (f, g):
            file.truncate(1 << 20)
        with still("-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=d1,id=cd", "-drive",
                   "if=none,id=d1,media=cdrom,format=raw,file=" + f.name, "-device", "ide-cd,drive=d2,id=ide",
                   "-drive", "if=none,id=d2,media=cdrom,format=raw,file=" + f.name,
                   "-drive", "if=none,id=d3,node-name=n3,format=raw,file=" + g.name,
                   "-device", "scsi-hd,drive=d3",
                   "-blockdev", "null-co,node-name=n5,size=1M", "-blockdev", "raw,node-name=n4,file=n5",
                   "-device", "scsi-hd,drive=n4,id=hd", "-blockdev", "null-co,node-name=n6,size=1M") as m:
            for node in "n3", "n4":
                says(m, "drive_del " + node, "Node %s is in use\n" % node)
            says(m, "drive_del n5", "Block device n5 is in use\n")
            same(human(m, "info block").count("not inserted"), 0)
            m.qmp.cmd("blockdev-mirror", device="d3", target="n6", sync="none", **{"job-id": "j"})
            says(m, "drive_del d3", "Node 'd3' is busy: block device is in use by block job: mirror\n")
            m.qmp.cmd("block-job-cancel", device="j", force=True)
            m.qmp.event("BLOCK_JOB_CANCELLED")
            m.qmp.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": m.folder.name + "/nbd"}})
            m.qmp.cmd("block-export-add", type="nbd", id="e", **{"node-name": "n3"})
            for drive in "d1", "d2", "d3":
                says(m, "drive_del " + drive, "")
                says(m, "drive_del " + drive, "Device '%s' not found\n" % drive)
            for device in "cd", "ide":
                like(m, "info block " + device, device + r": \[not inserted\]\n    Attached to:      .*\n"
                                                r"    Removable device: not locked, tray closed\n")
            m.qmp.cmd("block-export-del", id="e")
            says(m, "drive_del n3", "")                # what else had it has let it go
            same({n["node-name"] for n in m.qmp.cmd("query-named-block-nodes")}, {"n4", "n5", "n6"})
            m.qmp.cmd("blockdev-open-tray", id="cd")
            m.qmp.cmd("blockdev-add", driver="null-co", **{"node-name": "d1", "read-only": True})
            m.qmp.cmd("blockdev-insert-medium", id="cd", **{"node-name": "d1"})
            like(m, "info block cd", r".*null-co.*tray open.*")
            says(m, "drive_del d1", "Node d1 is in use\n")


def rsp(stream, packet):
    """What a GDB stub answers, output packets joined."""
    stream.sock.sendall(b"$%s#%02x" % (packet.encode(), sum(packet.encode()) & 0xff))
    output = b""
    while True:
        while not re.match(rb"\+*\$[^#]*#..", stream.buffer):
            stream.more()
        got = re.match(rb"\+*\$([^#]*)#..", stream.buffer)
        stream.buffer = stream.buffer[got.end():]
        stream.sock.sendall(b"+")
        if not (got[1].startswith(b"O") and got[1] != b"OK"):
            return output.decode(), got[1].decode()
        output += bytes.fromhex(got[1][1:].decode())


def test_gdbserver():
    """A debugger that comes later, and what it says to the monitor."""
    with Machine() as m:
        path = m.folder.name + "/gdb"
        says(m, "gdbserver none", "Disabled gdbserver\n")
        says(m, "gdbserver unix:%s,server=on,wait=off" % path,
             "Waiting for gdb connection on device 'unix:%s,server=on,wait=off'\n" % path)
        gdb = m.connect(path)
        m.qmp.event("STOP")

        def ask(line):
            return rsp(gdb, "qRcmd," + line.encode().hex())

        same(ask("info status"), ("VM status: paused\n", "OK"))
        same(ask("nosuch"), ("unknown command: 'nosuch'\n", "OK"))
        same(ask("sendkey bogus")[0], "invalid parameter: bogus\n")
        same(ask("stop")[1], "OK")
        same(ask("cont")[1], "OK")
        m.qmp.event("RESUME")
        says(m, "gdbserver none", "Disabled gdbserver\n")
        check(not gdb.more(), "the debugger is still there")
        gdb.close()
        like(m, "gdbserver foo",
             r".*'foo' is not a valid char driver\nCould not open gdbserver on device 'foo'\n")
        m.inb(0x61)
    with still() as m:
        like(m, "gdbserver", r"gdbstub: meaningless to attach gdb .*\nCould not open .* 'tcp::1234'\n")


def test_objects():
    with still() as m:
        says(m, "object_add iothread,id=io9", "")
        like(m, "info iothreads", r"io9:\n  thread_id=\d+\n  poll-max-ns=32768\n.*")
        says(m, "qom-get /objects/io9 poll-max-ns", "32768\n")
        says(m, "qom-set /objects/io9 poll-max-ns 1000", "")
        says(m, "qom-set -j /objects/io9 poll-max-ns 2000", "")
        says(m, "qom-get /objects/io9 poll-max-ns", "2000\n")
        like(m, "qom-set -j /objects/io9 poll-max-ns {", r"Error: .*")
        like(m, "qom-set /objects/io9 poll-max-ns no", r"Error: .*")
        like(m, "qom-list /objects", r"(?s).*io9 \(child<iothread>\)\n.*")
        says(m, "qom-list", "/\n")
        like(m, "qom-list /nope", r"Error: Device '/nope' not found\n")
        like(m, "qom-get /machine nope", r"Error: Property '.*nope' not found\n")
        says(m, "object_del io9", "")
        says(m, "object_del io9", "Error: object 'io9' not found\n")
        like(m, "object_add help", r"List of user creatable objects:\n  authz-list\n(  [\w-]+\n)+")
        like(m, "object_add iothread,help", r"iothread options:\n  aio-max-batch=<int> .*\n")
        like(m, "object_add foo,help", r"Error: Parameter 'qom-type' does not accept value 'foo'\n.*")
        like(m, "chardev-add help", r"Available chardev backend types: \n  file\n(  [\w-]+\n)+")
        like(m, "chardev-add null,help", r"-chardev: .*\n(  .*\n)+")
        says(m, "object_add", 'object_add: string expected\nTry "help object_add" for more information\n')
        like(m, "object_add iothread", r"Error: Parameter 'id' is missing\n")
        like(m, "object_add foo,id=x", r"Error: Parameter 'qom-type' does not accept value 'foo'\n.*")


def test_streams():
    with still("-chardev", "ringbuf,id=rb,size=64", "-serial", "null") as m:
        says(m, "ringbuf_write rb hello", "")
        says(m, "ringbuf_read rb 3", "hel\n")
        says(m, 'ringbuf_write rb "a\\\\b\\n\\r"', "")
        got = m.qmp.cmd("human-monitor-command", **{"command-line": "ringbuf_read rb 64"})
        same(got, "loa\\\\b\r\n\\u000D\r\n")
        says(m, "ringbuf_read serial0 1", "Error: serial0 is not a ringbuf device\n")
        says(m, "ringbuf_write nope x", "Error: Device 'nope' not found\n")
        says(m, "ringbuf_read rb",
             'unexpected end of expression\nTry "help ringbuf_read" for more information\n')
        like(m, "ringbuf_read rb -1", r"Error: .*'size'.*\n")
        says(m, "chardev-send-break serial0", "")
        m.qmp.cmd("chardev-send-break", id="serial0")
        says(m, "chardev-send-break nope", "Error: Chardev 'nope' not found\n")
        m.qmp.fails("chardev-send-break", text="not found", id="nope")
        like(m, "info chardev", r"(?s).*rb: filename=ringbuf\n.*")


def test_traces():
    with still() as m:
        path = m.folder.name + "/log"
        says(m, "info trace-events qmp_command", "qmp_command : state 0\n")
        says(m, "logfile " + path, "")
        says(m, "trace-event qmp_command on", "")
        says(m, "info trace-events qmp_comman?", "qmp_command : state 1\n")
        m.qmp.cmd("query-name")
        says(m, "trace-event qmp_command off", "")
        with open(path, encoding="utf-8") as log:
            check("query-name" in log.read(), "no trace")
        says(m, "trace-event nope on", 'unknown event "nope"\n')
        says(m, "trace-event qmp_command maybe",
             "Expected 'on' or 'off'\nTry \"help trace-event\" for more information\n")
        says(m, "info trace-events nope", 'unknown event "nope"\n')
        says(m, "log trace:qmp_event,guest_errors", "")
        says(m, "info trace-events qmp_event", "qmp_event : state 1\n")
        says(m, "log none", "")
        says(m, "info trace-events qmp_event", "qmp_event : state 0\n")
        like(m, "log foo", r"Log items .*")
        like(m, "logfile /nonexistent/x", r"Error opening logfile.*")
        same(m.qmp.cmd("trace-event-get-state", name="qmp_event"),
             [{"name": "qmp_event", "state": "disabled", "vcpu": False}])
        same(m.qmp.cmd("trace-event-get-state", name="nope*"), [])
        m.qmp.fails("trace-event-get-state", text='unknown event "nope"', name="nope")
        m.qmp.cmd("trace-event-set-state", name="qmp_event", enable=True)
        m.qmp.cmd("trace-event-set-state", name="qmp_event", enable=False, **{"ignore-unavailable": True})
        m.qmp.cmd("trace-event-set-state", name="nope*", enable=False)
        m.qmp.fails("trace-event-set-state", text='unknown event "nope"', name="nope", enable=True)


# --- terminals ---
def connect(m, name):
    t = Terminal(m.connect(m.folder.name + "/" + name).sock)
    t.until(b"monitor - type 'help' for more information\r\n" + PROMPT)
    return t


def test_sockets():
    """Two human monitors and QMP at once; a session outlives neither its client nor the next one's."""
    with still("-monitor", "unix:@FOLDER/one,server=on,wait=off",
               "-chardev", "socket,id=c,path=@FOLDER/two,server=on,wait=off",
               "-mon", "chardev=c,mode=readline") as m:
        one, two = connect(m, "one"), connect(m, "two")
        same(one.line("info status"), "VM status: running\n")
        same(two.line("stop"), "")
        m.qmp.event("STOP")
        same(one.line("info status"), "VM status: paused\n")
        one.type(b"info hist\t\r")
        one.until(b"0: 'info status'\r\n1: 'info history '\r\n")
        one.until(PROMPT)
        one.type(b"half a li")
        one.close()
        one = connect(m, "one")
        same(one.line(""), "")
        same(one.line("p 1"), "0x1\n")
        two.type(b"\x01\x02\x7f\x1b[999999D\xff\xfe" + b"x" * 100000 + b"\r")
        two.until(b"the line is not valid UTF-8\r\n" + PROMPT)
        two.type(b"quit\r")
        m.ends()


def test_completion():
    with still("-monitor", "unix:@FOLDER/one,server=on,wait=off", "-device", "virtio-rng-pci,id=rng7",
               "-chardev", "null,id=nul1") as m:
        t = connect(m, "one")

        def completes(typed, text):
            t.type(typed.encode() + b"\t")
            t.until(text.encode())
            t.type(b"\x05\x15\r")                      # C-e, C-u: an empty line again
            t.until(b"\r\n" + PROMPT)

        completes("system_w", "system_wakeup ")
        completes("info statu", "info status ")
        completes("help info statu", "help info status ")
        completes("device_del rn", "device_del rng7 ")
        completes("device_add virtio-rng-pc", "(qemu) device_add virtio-rng-pci")
        completes("device_add virtio-rng-pci,max-b", "device_add virtio-rng-pci,max-bytes=")
        completes("device_add isa-serial,chardev=nu", "device_add isa-serial,chardev=nul1")
        completes("chardev-send-break nu", "chardev-send-break nul1 ")
        completes("object_add iot", "object_add iothread")
        completes("trace-event qmp_comma", "trace-event qmp_command ")
        completes("trace-event qmp_command of", "trace-event qmp_command off ")
        completes("qom-list /machine/periph", "qom-list /machine/peripheral")
        completes("logfile %s/on" % m.folder.name, "logfile %s/one " % m.folder.name)
        completes("print $rfl", "print $rflags ")
        completes("nothing ", "nothing ")
        t.type(b"s\t")
        got = t.until(PROMPT + b"s").decode()
        check("stop  " in got and "system_reset  " in got, "a list", got)


def test_slow_client():
    """A client that asks and does not read stops nobody else, and the program keeps little for it."""
    with still("-monitor", "unix:@FOLDER/one,server=on,wait=off") as m:
        t = connect(m, "one")
        t.sock.setblocking(False)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += t.sock.send(b"info mtree\r" * 1000)
        except BlockingIOError:
            pass
        check(sent < 4 << 20, "it took", sent)
        before = m.used()[2]
        for _ in range(100):
            same(m.qmp.status(), "running")
        check(m.used()[2] < before + 4096, "it grew")
        t.sock.setblocking(True)
        while not t.buffer.endswith(PROMPT):           # goes on when it reads
            t.more()
            t.buffer = t.buffer[-1000:]


def terminal(*args):
    """The program on a terminal of its own; (process, Terminal)."""
    ours, theirs = pty.openpty()
    command = [Machine.program, "-M", "q35", "-accel", "kvm", "-m", "16", "-bios", Machine.rom, *args]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                               preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    # What is typed before the terminal is the program's is edited by the terminal itself.
    while termios.tcgetattr(theirs)[3] & termios.ICANON and process.poll() is None:
        select.select([], [], [], 0.005)
    os.close(theirs)
    return process, Terminal(Pty(ours))


def test_nographic():
    """-nographic: the serial line first, Ctrl-A c to the monitor and back, Ctrl-A x."""
    process, t = terminal("-nographic")
    try:
        t.until(b"S")                                  # the guest
        t.type(b"\x01h")
        t.until(b"C-a c    switch between console and monitor\r\n")
        t.type(b"\x01c")
        t.until(b"monitor - type 'help' for more information\r\r\n(qemu) ")
        t.type(b"info statu")
        t.type(b"\x01c")
        t.until(b"\r\r\n")
        t.type(b"to the guest\x01c")
        t.until(b"(qemu) info statu")
        t.type(b"\t\r")
        t.until(b"VM status: running\r\r\n(qemu) ")
        t.type(b"\x1b[A\r")
        t.until(b"VM status: running\r\r\n(qemu) ")
        t.type(b"\x01x")
        t.until(b"Terminated")
        same(process.wait(LIMIT), 0)
    finally:
        process.kill()
        process.wait()
        t.close()


def test_stdio():
    """-monitor stdio, mon:stdio, and who shares the terminal by default."""
    cases = (
        (["-display", "none", "-monitor", "stdio", "-nodefaults"], b""),
        (["-nographic", "-serial", "null"], b""),
        (["-nographic", "-serial", "mon:stdio"], b"\x01c"),
        (["-display", "none", "-serial", "mon:stdio"], b"\x01c"),
        (["-display", "none", "-chardev", "stdio,mux=on,id=m", "-serial", "chardev:m", "-mon", "chardev=m"],
         b"\x01c"),
    )
    for args, keys in cases:
        process, t = terminal(*args)
        try:
            if keys:
                t.until(b"S")                          # the guest: all is set up
                t.type(keys)
            t.until(b"(qemu) ")
            t.type(b"p 6*7\rquit\r")
            t.until(b"0x2a\r\r\n(qemu) ")
            same(process.wait(LIMIT), 0)
        finally:
            process.kill()
            process.wait()
            t.close()


def test_refused_monitors():
    for args, text in ((["-mon", "chardev=nope"], "chardev"), (["-mon", "chardev=x,mode=foo"], "mode"),
                       (["-monitor", "nonsense:"], "monitor"),
                       (["-monitor", "stdio", "-serial", "stdio"], "stdio")):
        ended = subprocess.run([Machine.program, "-M", "q35", "-accel", "qtest", "-nodefaults", *args],
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT,
                               check=False)
        same(ended.returncode, 1)
        check(text in ended.stderr, "stderr of %r" % args, ended.stderr)


def test_silence():
    """A monitor on a file or nothing says nothing wrong."""
    with still("-monitor", "null") as m:
        same(m.qmp.status(), "running")


def all_of(stream):
    while stream.more():
        pass
    stream.close()
    return stream.buffer


def test_clients_that_say_all_at_once():
    """A socket's client that ends its own side after the last word (socat does), and standard input that
    ends: every answer comes, however long."""
    text = (b'{"execute": "qmp_capabilities"} {"execute": "query-qmp-schema"}'
            b'{"execute": "query-status", "id": 7}')
    with still("-monitor", "unix:@FOLDER/mon,server=on,wait=off", "-qmp",
               "unix:@FOLDER/q2,server=on,wait=off") as m:
        for _ in range(2):
            got = {}
            for name, words in (("mon", b"info qtree\ninfo version\n"), ("q2", text)):
                stream = m.connect(m.folder.name + "/" + name)
                stream.sock.sendall(words)
                stream.sock.shutdown(socket.SHUT_WR)
                got[name] = all_of(stream)
            check(b"bus: pcie.0" in got["mon"] and b"7.2.0 Rhea" in got["mon"], "monitor", got["mon"])
            check(len(got["q2"]) > 80000 and got["q2"].count(b"\n") == 4, "QMP", len(got["q2"]))
            check(b'"id": 7}' in got["q2"].splitlines()[-1], "QMP", got["q2"][-200:])
    for option, words, end in (("-qmp", text + b'{"execute": "quit"}', b'"reason": "host-qmp-quit"}}\r\n'),
                               ("-monitor", b"info qtree\n" * 30 + b"quit\n", b"quit\r\n")):
        got = subprocess.run([Machine.program, "-display", "none", "-M", "pc,accel=qtest", option, "stdio"],
                             input=words, capture_output=True, timeout=LIMIT, check=True).stdout
        check(got.endswith(end) and len(got) > 80000, option, len(got), got[-100:])


def test_clients_that_say_all_at_once_to_a_mux():
    """The same of a monitor that shares its socket with a serial line, in front of it and behind it."""
    words = b"info qtree\nstop\ninfo status\ncont\ninfo version\n"
    mux = ["-chardev", "socket,id=c,path=@FOLDER/mux,server=on,wait=off,mux=on"]
    for args, keys in ((["-mon", "chardev=c"], b""),
                       (["-mon", "chardev=c", "-serial", "chardev:c"], b"\x01c"),
                       (["-serial", "chardev:c", "-mon", "chardev=c,mode=readline"], b"\x01c")):
        with still(*mux, *args) as m:
            for i in range(3):
                stream = m.connect(m.folder.name + "/mux")
                stream.sock.sendall((keys if i == 0 else b"") + words)
                stream.sock.shutdown(socket.SHUT_WR)
                got = all_of(stream)
                for text in (b"bus: pcie.0", b"VM status: paused\r\n", b"7.2.0 Rhea"):
                    check(text in got, "%r: the monitor's answers %d" % (args, i), got[-300:])
            stream = m.connect(m.folder.name + "/mux")
            stream.sock.shutdown(socket.SHUT_WR)
            check(b"VM status" not in all_of(stream), "%r: nothing asked" % args)


def test_events_come_after_the_end_of_standard_input():
    with subprocess.Popen([Machine.program, "-display", "none", "-M", "none", "-qmp", "stdio"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b'{"execute": "qmp_capabilities"} {"execute": "query-status"}')
        process.stdin.close()
        for _ in range(3):
            process.stdout.readline()
        process.terminate()
        check(b'"event": "SHUTDOWN"' in process.stdout.read(), "SHUTDOWN")
        same(process.wait(LIMIT), 0)


if __name__ == "__main__":
    sys.exit(main([f for name, f in list(globals().items()) if name.startswith("test_")]))
