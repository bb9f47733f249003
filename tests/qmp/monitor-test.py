#!/usr/bin/env python3
"""monitor-test.py: every command of the human monitor is seen to work, and to fail.

1. Forms: what the table says of a command's arguments is tried out: each mandatory one left out, one too
   many, a flag that it does not have.  The answer names the command, or what is wrong with the word.
2. FAILS has what a command whose form is right is refused for: the whole text, as QEMU 7.2 prints it unless
   the schema says it first.
3. Every command has a row there or in CANNOT_FAIL, and a suite that gives it something to do.

The first argument is the program; words behind it choose tests by name.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

from disks import Disks
from qmp import HERE, Machine, check, main, same

TABLE = os.path.join(HERE, "..", "..", "monitor", "hmp-commands.def")
# A word that is right in form, by the letter of the argument's type.
WORDS = {"B": "d0", "C": "c0", "I": "i0", "D": "driver", "F": "/nonexistent/file", "s": "word", "o": "64",
         "O": "word", "i": "1", "V": "o0", "P": "path", "T": "event", "M": "64", "c": "word", "b": "on"}
MISSING = {"B": "%s: block device name expected", "F": "%s: filename expected", "o": "invalid size",
           "i": "unexpected end of expression", "M": "unexpected end of expression",
           "b": "Expected 'on' or 'off'"}
NEVER_TRIED = ("quit", "info")          # ends the program; is a table of its own

# (line, what is printed), in a machine without devices that has not begun
FAILS = [
    ("balloon 64", "Error: No balloon device has been activated"),
    ("block_job_cancel j0", "Error: Block job 'j0' not found"),
    ("block_job_complete j0", "Error: Block job 'j0' not found"),
    ("block_job_pause j0", "Error: Block job 'j0' not found"),
    ("block_job_resume j0", "Error: Block job 'j0' not found"),
    ("block_job_set_speed j0 64", "Error: Block job 'j0' not found"),
    ("block_resize d0 64", "Error: Cannot find device='d0' nor node-name=''"),
    ("block_set_io_throttle d0 1 1 1 1 1 1", "Error: Device 'd0' not found"),
    ("block_stream d0", "Error: Cannot find device='d0' nor node-name='d0'"),
    ("boot_set zz", "Invalid boot device 'z'"),
    ("change d0 /nonexistent/file", "Error: Device 'd0' not found"),
    ("chardev-add null", "Error: Parameter 'id' is missing"),
    ("chardev-add nosuch,id=c1", "Error: Parameter 'backend' does not accept value 'nosuch'"),
    ("chardev-change c0 nosuch", "Error: Parameter 'backend' does not accept value 'nosuch'"),
    ("chardev-change c0 null", "Error: Chardev 'c0' does not exist"),
    ("chardev-remove c0", "Error: Chardev 'c0' not found"),
    ("chardev-send-break c0", "Error: Chardev 'c0' not found"),
    ("closefd f0", "Error: File descriptor named 'f0' not found"),
    ("commit d0", "Device 'd0' not found"),
    ("cpu 1", "invalid CPU index"),
    ("device_add nosuch", "Error: 'nosuch' is not a valid device model name"),
    ("device_del i0", "Error: Device 'i0' not found"),
    ("drive_backup d0 /nonexistent/file", "Error: Cannot find device='d0' nor node-name='d0'"),
    ("drive_del d0", "Device 'd0' not found"),
    ("drive_mirror d0 /nonexistent/file", "Error: Cannot find device='d0' nor node-name='d0'"),
    ("eject d0", "Error: Device 'd0' not found"),
    ("exit_preconfig", "Error: The command is permitted only before machine initialization"),
    ("gpa2hva 0xffffffffff", "No memory is mapped at address 0xffffffffff"),
    ("info balloon", "Error: No balloon device has been activated"),
    ("info stats nosuch", "invalid stats target nosuch"),
    ("logfile /nonexistent/file",
     "Error opening logfile: cannot open trace file '/nonexistent/file': No such file or directory"),
    ("nbd_server_add d0", "Error: Cannot find device='d0' nor node-name='d0'"),
    ("nbd_server_remove e0", "Error: Export 'e0' is not found"),
    ("nbd_server_start nowhere", "Error: error parsing address 'nowhere'"),
    ("nbd_server_stop", "Error: NBD server not running"),
    ("object_add nosuch,id=o0", "Error: Parameter 'qom-type' does not accept value 'nosuch'"),
    ("object_del o0", "Error: object 'o0' not found"),
    ("qom-get nosuch type", "Error: Device 'nosuch' not found"),
    ("qom-list nosuch", "Error: Device 'nosuch' not found"),
    ("qom-set nosuch type 1", "Error: Device 'nosuch' not found"),
    ("ringbuf_read c0 1", "Error: Device 'c0' not found"),
    ("ringbuf_write c0 text", "Error: Device 'c0' not found"),
    ("sendkey nosuch", "invalid parameter: nosuch"),
    ("snapshot_blkdev d0", "Error: Parameter 'snapshot-file' is missing"),
    ("snapshot_blkdev d0 /nonexistent/file", "Error: Cannot find device='d0' nor node-name=''"),
    ("snapshot_blkdev_internal d0 s0", "Error: Cannot find device='d0' nor node-name='d0'"),
    ("snapshot_delete_blkdev_internal d0 s0", "Error: Cannot find device='d0' nor node-name='d0'"),
    ("system_wakeup", "Error: Unable to wake up: guest is not in suspended state"),
    ("trace-event nosuch on", 'unknown event "nosuch"'),
    ("watchdog_action nosuch", "Error: Parameter 'action' does not accept value 'nosuch'"),
]

# What is always done when its form is right, or fails in another suite.
CANNOT_FAIL = {
    "drive_add": "hmp-test: test_drives",
    "dump-guest-memory": "hmp-test: test_memory_to_files",
    "gva2gpa": "any address is one without paging",
    "i": "any port can be read", "o": "any port can be written",
    "log": "what it does not know it lists",
    "memsave": "hmp-test: test_memory_to_files", "pmemsave": "hmp-test: test_memory_to_files",
    "mouse_button": "any number is one of buttons", "mouse_move": "hmp-test", "mouse_set": "hmp-test",
    "print": "any number can be printed", "sum": "hmp-test: test_memory",
    "x": "hmp-test: test_memory", "xp": "any address can be read",
}


class Row:
    """A command of the table: its names and its arguments, (type, mandatory) each."""

    def __init__(self, kind, names, arguments):
        self.prefix = "info " if kind == "INFO" else ""
        self.names = names.split("|")
        self.line = self.prefix + self.names[0]
        types = [word.split(":", 1)[1] for word in arguments.split()]
        self.flags = [t[1] for t in types if t.startswith("-")]
        self.words = [t for t in types if t[0] not in "-/"]
        self.all = bool(self.words) and "*" in self.words[-1]

    def mandatory(self):
        return [t for t in self.words if "?" not in t]

    def forms(self):
        """(line, the first line of the answer) of what is wrong in form."""
        named = "|".join(self.names)
        good = [WORDS[t[0]] for t in self.words]
        if not self.all:
            yield [*good, "more"], "%s: extraneous characters at the end of line" % named
        for i, t in enumerate(self.mandatory()):
            form = MISSING.get(t[0], "%s: string expected")
            yield good[:i], form % named if "%" in form else form
        if self.flags and not self.words[:1] == ["B"]:
            yield ["-Z", *good], "%s: unsupported option -Z" % named


def rows(m):
    """The commands there are: the others say that they are not supported."""
    with open(TABLE, encoding="utf-8") as file:
        text = file.read()
    have = {c["name"] for c in m.qmp.cmd("query-commands")}
    found = re.findall(r'^(HMP|INFO)\("([^"]+)", "([^"]*)",\s*"[^"]*",\s*(?:NULL|"([^"]*)")', text, re.M)
    check(len(found) == len(re.findall(r"^(?:HMP|INFO)\(", text, re.M)), "rows that are not understood")
    return [Row(*row[:3]) for row in found if not row[3] or row[3] in have]


def human(m, line):
    return m.qmp.cmd("human-monitor-command", **{"command-line": line}).replace("\r\n", "\n")


def reached(q, state):
    while q.event("JOB_STATUS_CHANGE")["status"] != state:
        pass


def test_forms():
    with Machine("-S", "-nodefaults") as m:
        tried = 0
        for row in rows(m):
            if row.names[0] in NEVER_TRIED:
                continue
            for words, want in row.forms():
                line = " ".join([row.line, *words])
                hint = 'Try "help %s" for more information\n' % row.line
                same(human(m, line), want + "\n" + hint, line)
                tried += 1
        check(tried > 150, "forms tried", tried)
        same(human(m, "info status"), "VM status: paused (prelaunch)\n")


def test_fails():
    with Machine("-S", "-nodefaults") as m:
        for line, text in FAILS:
            same(human(m, line), text + "\n", line)
        same(human(m, "info status"), "VM status: paused (prelaunch)\n")


def test_jobs():
    with Disks("-drive", "driver=null-co,if=none,id=n", added="a") as m:
        q = m.qmp
        same(human(m, "info block-jobs"), "No active jobs\n")
        q.cmd("blockdev-add", driver="null-co", size=1 << 20, **{"node-name": "null"})
        q.cmd("blockdev-mirror", device="a", target="null", sync="full", **{"job-id": "j"})
        reached(q, "ready")
        same(human(m, "block_job_set_speed j 1M"), "")
        check("1048576" in human(m, "info block-jobs"), "the speed", human(m, "info block-jobs"))
        same(human(m, "block_job_pause j"), "")
        reached(q, "standby")
        same(human(m, "block_job_resume j"), "")
        reached(q, "ready")
        check("j" in human(m, "info jobs"), "no job", human(m, "info jobs"))
        same(human(m, "block_job_complete j"), "")
        reached(q, "null")
        same(human(m, "info block-jobs"), "No active jobs\n")
        check("n: rd_bytes=0 " in human(m, "info blockstats"), "no statistics")


def image(*args):
    subprocess.run(["qemu-img", *args], check=True, stdout=subprocess.DEVNULL)


def write(path, *commands):
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *words, path], check=True, stdout=subprocess.DEVNULL)


def drive(name, path, *more):
    return ["-drive", ",".join(["if=none,format=qcow2,id=" + name, "file=" + path, *more])]


COMMITS = [[], ["-o", "compat=0.10"], ["-o", "extended_l2=on"]]


def test_commit():
    """Every kind of cluster: the base has it, the overlay nothing, and both look as the overlay did."""
    with tempfile.TemporaryDirectory() as folder:
        args = []
        for i, options in enumerate(COMMITS):
            base, top, want = (folder + "/%s%d" % (name, i) for name in ("base", "top", "want"))
            image("create", "-q", "-f", "qcow2", base, "1M")
            write(base, "write -P 1 0 512k")
            image("create", "-q", "-f", "qcow2", *options, "-b", base, "-F", "qcow2", top, "2M")
            write(top, "write -P 2 64k 64k", "write -z 128k 64k", "write -P 3 200k 4k",
                  "write -c -P 4 1M 64k", "write -P 5 2047k 1k")
            image("convert", "-f", "qcow2", "-O", "qcow2", top, want)
            args += drive("d%d" % i, top)
        with Machine("-S", "-nodefaults", *args) as m:
            same(human(m, "commit d0"), "")
            same(m.qmp.cmd("query-jobs"), [])
            same(human(m, "commit all"), "")
            check(not any("JOB" in e["event"] for e in m.qmp.events), "events of a job:", m.qmp.events)
            m.qmp.cmd("quit")
            m.ends()
        for i, _ in enumerate(COMMITS):
            base, top, want = (folder + "/%s%d" % (name, i) for name in ("base", "top", "want"))
            image("check", "-q", "-f", "qcow2", base)
            image("check", "-q", "-f", "qcow2", top)
            image("compare", "-q", "-f", "qcow2", "-F", "qcow2", base, want)
            image("compare", "-q", "-f", "qcow2", "-F", "qcow2", top, want)
            image("rebase", "-u", "-f", "qcow2", "-b", "", top)
            found = subprocess.run(["qemu-img", "map", "-f", "qcow2", top], check=True, capture_output=True,
                                   text=True).stdout
            check(found.strip().count("\n") == 0, "clusters of its own:", found)


def test_commit_fails():
    with tempfile.TemporaryDirectory() as folder:
        base, top, raw, held = (folder + "/" + name for name in ("base", "top", "raw", "held"))
        image("create", "-q", "-f", "qcow2", base, "1M")
        for over in (top, held):
            image("create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", over, "1M")
        image("create", "-q", "-f", "raw", raw, "1M")
        with Machine("-S", "-nodefaults", "-drive", "if=none,format=raw,id=raw0,file=" + raw,
                     "-drive", "if=none,format=raw,id=e0,readonly=on,file=" + raw,
                     "-device", "ide-cd,id=cd0,drive=e0",
                     *drive("d0", top), *drive("ro", held, "readonly=on")) as m:
            not_there = "Device 'x' not found\n"
            same(human(m, "commit x"), not_there)
            same(human(m, "commit cd0"), not_there.replace("x", "cd0"))
            same(human(m, "commit raw0"), "'commit' error for 'raw0': Operation not supported\n")
            refused = "Block node is read-only\n'commit' error for '%s': Operation not permitted\n"
            same(human(m, "commit ro"), refused % "ro")
            same(human(m, "commit all"), refused % "all")
            same(human(m, "eject e0"), "")
            same(human(m, "commit e0"), "Device 'e0' has no medium\n")
            m.qmp.cmd("blockdev-add", driver="null-co", size=1 << 20, **{"node-name": "null"})
            m.qmp.cmd("blockdev-mirror", device="d0", target="null", sync="full", **{"job-id": "j"})
            reached(m.qmp, "ready")
            same(human(m, "commit d0"), "'commit' error for 'd0': Device or resource busy\n")


def test_memory():
    with Machine("-S", "-m", "64", "-object", "memory-backend-ram,id=r,size=1M", "-device",
                 "virtio-balloon-pci") as m:
        same(human(m, "info balloon"), "balloon: actual=64\n")
        check("memory backend: r\n  size:  1048576\n" in human(m, "info memdev"), "no backend")
        same(human(m, "info memory_size_summary"), "base memory: 67108864\nplugged memory: 0\n")
        check('vcpus_count: "1"' in human(m, "info hotpluggable-cpus"), "no CPU")


def test_every_command():
    """Each has something to do in a suite, where its line begins a string."""
    text = ""
    for path in glob.glob(os.path.join(HERE, "..", "*", "*")):
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                had = file.read()
            text += had if not path.endswith("/monitor-test.py") else had[had.index("\nclass Row"):]
    lacks = []
    with Machine("-S", "-nodefaults") as m:
        for row in rows(m):
            used = any(re.search(r"[\"'/]%s(?=[ \"'\\/])" % re.escape(row.prefix + name), text)
                       for name in row.names)
            fails = (row.line in CANNOT_FAIL or
                     any((line + " ").startswith(row.line + " ") for line, _ in FAILS))
            if not used or (row.mandatory() and not fails):
                lacks.append((row.line, used, fails))
    same(lacks, [], "(command, something to do, a failure)")


TESTS = [f for name, f in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(main(TESTS))
