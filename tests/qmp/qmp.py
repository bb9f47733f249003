"""What the live QMP tests share: a QMP client, a guest that does as told, and the runner.

1. Nothing sleeps: everything is waited for, and LIMIT ends a wait that has failed.
"""
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 30


class Failed(Exception):
    """What a test expected and did not get."""


def check(truth, text, *values):
    if not truth:
        raise Failed(text + "".join(" %r" % (v,) for v in values))


def same(got, want, text=""):
    if got != want:
        raise Failed("%s: got %r, not %r" % (text, got, want))


class Stream:
    """A connected socket read with a time limit."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    @classmethod
    def connect(cls, path):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(LIMIT)
        sock.connect(path)
        return cls(sock)

    def more(self, limit=None):
        """Reads some; False at the end of the stream."""
        if not select.select([self.sock], [], [], limit or LIMIT)[0]:
            raise Failed("silent for %g s; read so far: %r" % (limit or LIMIT, self.buffer[-200:]))
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def take(self, n, limit=None):
        while len(self.buffer) < n:
            if not self.more(limit):
                raise Failed("the stream ended")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def close(self):
        self.sock.close()


class Qmp(Stream):
    """A QMP client.  Events that come while a reply is waited for are kept in @events; @log has every
    message in the order of arrival."""

    def __init__(self, sock, negotiate=True):
        super().__init__(sock)
        self.events, self.log = [], []
        self.greeting = self.message()
        if negotiate:
            same(self.cmd("qmp_capabilities"), {}, "negotiation")

    def message(self, limit=None):
        """The next message; None at the end."""
        while b"\n" not in self.buffer:
            if not self.more(limit or LIMIT):
                check(not self.buffer, "half a message at the end:", self.buffer)
                return None
        line, self.buffer = self.buffer.split(b"\n", 1)
        check(line.endswith(b"\r"), "a line does not end in CR LF:", line)
        message = json.loads(line)
        self.log.append(message)
        return message

    def send(self, text):
        self.sock.sendall(text if isinstance(text, bytes) else text.encode())

    def reply(self):
        while True:
            message = self.message()
            if message is None:
                raise Failed("the monitor ended without a reply")
            if "event" not in message:
                return message
            self.events.append(message)

    def execute(self, name, /, **arguments):
        """Runs a command; the whole reply.  Underscores of argument names stay; give others by **."""
        message = {"execute": name}
        if arguments:
            message["arguments"] = arguments
        self.send(json.dumps(message) + "\n")
        return self.reply()

    def execute_with(self, fds, name, /, **arguments):
        """As execute(), with descriptors sent along."""
        text = json.dumps({"execute": name, "arguments": arguments})
        socket.send_fds(self.sock, [text.encode() + b"\n"], fds)
        return self.reply()

    def cmd(self, name, /, **arguments):
        got = self.execute(name, **arguments)
        check("return" in got, name + " failed:", got)
        return got["return"]

    def fails(self, name, /, kind="GenericError", text=None, **arguments):
        got = self.execute(name, **arguments)
        check("error" in got, "%s %r should fail, returned" % (name, arguments), got)
        same(got["error"]["class"], kind, name)
        if text is not None:
            check(text in got["error"]["desc"], "desc of " + name, got["error"]["desc"])
        return got["error"]["desc"]

    def event(self, name):
        """The next event of that name; others before it are dropped."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name:
                    return event.get("data")
            message = self.message()
            check(message is not None, "the monitor ended before " + name)
            check("event" in message, "a reply nobody asked for:", message)
            self.events.append(message)

    def deleted(self):
        """The DEVICE_DELETED of the next device with an id; what is inside it goes first."""
        while "device" not in (data := self.event("DEVICE_DELETED")):
            check(data["path"].endswith("-backend"), "deleted:", data)
        return data

    def status(self):
        return self.cmd("query-status")["status"]

    def rest(self):
        """Everything up to the end, by event name or 'return'."""
        names = [m["event"] for m in self.events]
        self.events = []
        while (message := self.message()) is not None:
            names.append(message.get("event", next(iter(message))))
        return names


class Machine:
    """A Rhea whose guest is remote.S.  Use in a with statement: what is left is killed at its end."""

    program = rom = None

    def __init__(self, *args, machine="q35", qmp=True, serial=True, fds=(), accel="kvm"):
        self.folder = tempfile.TemporaryDirectory(prefix="rhea-qmp-")
        self.path = self.folder.name + "/qmp"
        command = [self.program, "-M", machine, "-accel", accel, "-m", "16", "-nodefaults",
                   "-display", "none", "-bios", self.rom]
        if qmp:
            command += ["-qmp", "unix:%s,server=on,wait=off" % self.path]
        if serial:
            # -S and cont: the line is there before the guest prints.
            command += ["-chardev", "socket,id=ser,server=on,wait=off,path=" + self.folder.name +
                        "/serial", "-serial", "chardev:ser"]
        self.command = command + [a.replace("@FOLDER", self.folder.name) for a in args]
        self.machine, self.serial_wanted, self.fds = machine, serial, fds
        self.guest = self.qmp = None

    def __enter__(self):
        go = self.serial_wanted and "-S" not in self.command
        self.process = subprocess.Popen(self.command + (["-S"] if go else []), pass_fds=self.fds,
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            if os.path.basename(self.path) == "qmp" and "-qmp" in self.command:
                self.qmp = self.monitor()
            if self.serial_wanted:
                self.guest = self.connect(self.folder.name + "/serial")
                # Accepted, or what the guest prints is lost as on an unplugged cable.
                while self.qmp and self.serial_text().startswith("disconnected"):
                    pass
            if go and self.qmp:
                self.qmp.cmd("cont")
                self.qmp.event("RESUME")
                self.started()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        err = self.process.stderr.read().decode()
        self.process.stderr.close()
        if err:
            print("    stderr: " + err.strip().replace("\n", "\n            "))
        for stream in (self.guest, self.qmp):
            if stream:
                stream.close()
        self.folder.cleanup()

    def connect(self, path):
        """A connection to a socket that Rhea makes while it starts."""
        end = time.monotonic() + LIMIT
        while not os.path.exists(path):
            check(self.process.poll() is None, "ended with status", self.process.returncode)
            check(time.monotonic() < end, "no socket", path)
            select.select([], [], [], 0.005)
        while True:
            try:
                return Stream.connect(path)
            except ConnectionRefusedError:             # bound, not yet listening
                check(time.monotonic() < end, "nobody listens at", path)

    def monitor(self, negotiate=True):
        return Qmp(self.connect(self.path).sock, negotiate)

    def ends(self, status=0):
        got = self.process.wait(LIMIT)
        same(got, status, "exit status")

    def serial_text(self):
        return next(c["filename"] for c in self.qmp.cmd("query-chardev") if c["label"] == "ser")

    # --- the guest ---
    def started(self):
        same(self.guest.take(1), b"S", "the guest's start")

    def tell(self, letter, *operands):
        self.guest.sock.sendall(letter.encode() + b"".join(operands))

    def ask(self, letter, *operands, answer=0):
        self.tell(letter, *operands)
        same(self.guest.take(1), b".", "the guest's answer")
        return int.from_bytes(self.guest.take(answer), "little")

    @staticmethod
    def le(value, size):
        return value.to_bytes(size, "little")

    def outb(self, port, value, silent=False):
        (self.tell if silent else self.ask)("b", self.le(port, 2), self.le(value, 1))

    def outw(self, port, value, silent=False):
        (self.tell if silent else self.ask)("w", self.le(port, 2), self.le(value, 2))

    def outl(self, port, value):
        self.ask("d", self.le(port, 2), self.le(value, 4))

    def inb(self, port):
        return self.ask("i", self.le(port, 2), answer=1)

    def inl(self, port):
        return self.ask("j", self.le(port, 2), answer=4)

    def store(self, address, value):
        """Four bytes in memory, or to a device that is there."""
        self.ask("m", self.le(value, 4), self.le(address, 4))

    def load(self, address):
        return self.ask("l", self.le(address, 4), answer=4)

    def count(self):
        """How often this was asked since RAM was cleared."""
        return self.ask("e", answer=1)

    def pci_read(self, bdf, reg):
        self.outl(0xcf8, 0x80000000 | bdf << 8 | reg & ~3)
        return self.inl(0xcfc)

    def pci_write(self, bdf, reg, value):
        self.outl(0xcf8, 0x80000000 | bdf << 8 | reg & ~3)
        self.outl(0xcfc, value)

    def pci_capability(self, bdf, kind):
        at = self.pci_read(bdf, 0x34) & 0xff
        while (word := self.pci_read(bdf, at)) & 0xff != kind:
            at = word >> 8 & 0xff
            check(at, "no PCI capability", kind)
        return at

    def pm_base(self):
        """Puts the ACPI PM block at 0x600, as SeaBIOS does."""
        bdf = 0x1f << 3 if self.machine == "q35" else 1 << 3 | 3
        enable = (0x44, 0x80) if self.machine == "q35" else (0x80, 1)
        self.pci_write(bdf, 0x40, 0x601)
        self.pci_write(bdf, *enable)

    # --- the process ---
    def used(self):
        """Descriptors, threads, and resident KiB (0 where a sanitizer keeps what was freed)."""
        proc = "/proc/%d/" % self.process.pid
        with open(proc + "maps") as maps:
            sanitized = any("libasan" in line or "libtsan" in line for line in maps)
        with open(proc + "status") as status:
            rss = next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
        return (len(os.listdir(proc + "fd")), len(os.listdir(proc + "task")),
                0 if sanitized else rss)


    def settles(self, before, qmp=None, more=0):
        """No more descriptors (but for @more) and threads than used() told @before: at the latest after some
        commands, for what another thread might still look at is closed a little later."""
        for _ in range(20000):
            after = self.used()
            if after[0] <= before[0] + more and after[1] <= before[1]:
                return after
            (qmp or self.qmp).cmd("query-status")
        raise Failed("descriptors and threads before and after: %r %r" % (before[:2], after[:2]))


class Nothing(Machine):
    """-machine none, as libvirt starts it to look around."""

    def __init__(self, accel="kvm:tcg"):
        super().__init__(serial=False)
        self.command = [self.program, "-S", "-no-user-config", "-nodefaults", "-nographic",
                        "-machine", "none,accel=" + accel, "-qmp", "unix:%s,server=on,wait=off" % self.path]


def build_rom(folder):
    obj, rom = folder + "/remote.o", folder + "/remote"
    subprocess.run(["gcc", "-m32", "-c", "-o", obj, HERE + "/remote.S"], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-nostdlib", "-N", "-Ttext=0", "--oformat", "binary",
                    "-o", rom, obj], check=True)
    return rom


def still(*args, machine="q35", fds=()):
    """A machine without a guest: for what only looks at or changes it.  It runs without /dev/kvm."""
    return Machine(*args, machine=machine, accel="qtest", serial=False, fds=fds)


def main(tests, kvm=True):
    """Runs the functions given whose names contain one of the words behind the program's path."""
    if kvm and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("no usable /dev/kvm")
        return 77
    Machine.program = os.path.abspath(sys.argv[1])
    # At its end the program leaves to the kernel what lived as long as it did.
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    words, failed = sys.argv[2:], 0
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="rhea-rom-") as folder:
        Machine.rom = build_rom(folder)
        for test in tests:
            if words and not any(w in test.__name__ for w in words):
                continue
            start = time.monotonic()
            try:
                test()
                result = "ok  "
            except Exception as e:                     # pylint: disable=broad-except
                if not isinstance(e, Failed):
                    traceback.print_exc(file=sys.stdout)
                result, failed = "FAIL", failed + 1
                where = traceback.extract_tb(e.__traceback__)
                lines = [f.lineno for f in where if f.name == test.__name__]
                print("    line %s: %s" % (lines, e))
            print("%s %s (%.2f s)" % (result, test.__name__, time.monotonic() - start), flush=True)
    return 1 if failed else 0
