"""What the guest tests share: start Rhea, watch what the guest prints, look at its exit status.

A test is a script that imports this, makes what the guest starts from, and calls Guest.  What the
guest prints goes to standard output too, so that the log of a failed test shows it.
"""
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.join(ROOT, "tests", "guest")
SKIPPED = 77


def rhea():
    """The program under test."""
    path = os.environ.get("RHEA", ROOT + "/build/release/rhea")
    if not shutil.which(path):
        sys.exit("no %s: ./run makes build/release/rhea, RHEA=PROGRAM names another" % path)
    return path


def rhea_img():
    """rhea-img of the same build: Debian's may fail to measure its processor time when it makes a key."""
    folder = os.path.dirname(os.path.realpath(rhea()))
    return next(path for path in (folder + "/rhea-img", folder + "/../img/rhea-img") if os.path.exists(path))


def skip(reason):
    print(reason)
    sys.exit(SKIPPED)


class Work:
    """A folder for the test's files, gone at its end."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="rhea-guest-")

    def __call__(self, name):
        return os.path.join(self._folder.name, name)


def run(*command, **options):
    """A program of the host that must succeed."""
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, **options)


class Guest:
    """A running guest whose first serial port is in our hands."""

    def __init__(self, *args, machine="q35", cpu="max", memory="256", serial=True,
                 reboot=False):
        self.command = [rhea(), "-M", machine, "-accel", "kvm", *(["-cpu", cpu] if cpu else []),
                        "-m", memory, "-display", "none", "-nodefaults",
                        *([] if reboot else ["-no-reboot"]), *args]
        if serial:
            self.command += ["-serial", "stdio"]
        print("+ " + " ".join(self.command), flush=True)
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, cwd=ROOT)
        self.seen = b""

    def _more(self, seconds):
        """Some more output; b"" at its end, None if the time is over."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        data = os.read(self.process.stdout.fileno(), 65536)
        sys.stdout.write(data.decode("latin-1"))
        sys.stdout.flush()
        return data

    def expect(self, text, silence=60):
        """Wait until the guest has printed text; fail if it ends, or is silent for so long.

        What it printed before that is returned."""
        pattern = re.compile(re.escape(text.encode()))
        while not (match := pattern.search(self.seen)):
            data = self._more(silence)
            if not data:
                self.process.kill()
                sys.exit("\nnot seen: %r: %s" % (text, "the guest ended" if data == b"" else
                                                 "silent for %d s" % silence))
            self.seen += data
        found = self.seen[:match.start()]
        self.seen = self.seen[match.end():]
        return found.decode("latin-1")

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def type(self, text):
        """Key by key, each after the echo of the one before: a BIOS holds no more than 15."""
        for key in text:
            self.send(key)
            self.expect(key)
        self.send("\r")

    def ends(self, status):
        """Wait for the end; the status must be as told."""
        while self._more(None):
            pass
        got = self.process.wait()
        if got != status:
            sys.exit("\n%s ended with status %d, not %d" % (self.command[0], got, status))
        print("\nended with status %d, as it should" % got)

    def kill(self):
        self.process.kill()
        self.process.wait()


def output(*command):
    """What a program of the tree prints."""
    return subprocess.run(command, cwd=ROOT, check=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def guest_initrd(work, script, files=()):
    """The initramfs of ./run with a script to run, and more files of the work folder."""
    with open(work("cmd"), "w") as file:
        file.write(script)
    pack = "cd $1 && printf '%s\\n' cmd ${@:3} | cpio -o -H newc 2>/dev/null | cat - $2 >initrd"
    run("bash", "-c", pack, "", work(""), output("./run", "--initrd"), *files)
    return work("initrd")


def linux_args(work, script, append="", files=()):
    """The options that boot Debian's Linux, which runs a script; its status ends in work("status")."""
    return ["-kernel", output("tools/kernel") + "/vmlinuz", "-initrd", guest_initrd(work, script, files),
            "-append", "console=ttyS0 quiet loglevel=1 panic=-1 " + append,
            "-debugcon", "file:" + work("status"), "-serial", "stdio", "-serial", "null"]


def modules(work, *wanted):
    """Puts kernel modules ("NAME PARAMETER=VALUE...") and what they need into the work folder: files for
    linux_args(), and the lines of a script that loads them."""
    kernel, lines = output("tools/kernel"), {}
    version = output("cat", kernel + "/version")
    for module in wanted:
        shown = output("bash", "-c", ". tools/lib.sh; modprobe -d $1 -S $2 --show-depends $3", "", kernel,
                       version, module.split()[0])
        paths = re.findall(r"^insmod (\S+)", shown, re.M)
        for path in paths:
            name = os.path.basename(path)
            shutil.copy(path, work(name))
            lines.setdefault(name, "/" + name)
        lines[name] = " ".join(["/" + name, *module.split()[1:]])
    # What is there already is refused, as it should be.
    return list(lines), "".join("insmod %s 2>/dev/null\n" % line for line in lines.values())


class MonitorSocket:
    """A socket for Rhea's monitor to connect to: the machine and we need not wait for each other."""

    def __init__(self, work):
        self.args = ["-qmp", "unix:" + work("qmp")]
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(work("qmp"))
        self._listener.listen(1)

    def accept(self, seconds=60):
        self._listener.settimeout(seconds)
        sock = self._listener.accept()[0]
        self._listener.close()
        return sock


def assemble(work, source, address, name, form="binary"):
    """Assemble a file of payload/ to run at an address: a flat binary, or an ELF file."""
    obj, out = work(name + ".o"), work(name)
    run("gcc", "-m32", "-c", "-I", HERE + "/payload", "-o", obj, HERE + "/payload/" + source)
    flat = ["--oformat", "binary"] if form == "binary" else []
    run("ld", "-m", "elf_i386", "-nostdlib", "-N", "-Ttext=%#x" % address, *flat, "-o", out, obj)
    return out


def grub_core(work, config, *modules):
    """A GRUB core image for BIOS disks with a built-in configuration and its rescue shell.

    It is kept small: what unpacks it runs in a software KVM's slow interpreter.
    """
    with open(work("early.cfg"), "w") as file:
        file.write(config)
    run("grub-mkimage", "-O", "i386-pc", "-p", "/boot/grub", "-c", work("early.cfg"),
        "-o", work("core.img"), "biosdisk", "serial", "terminal", "echo", "boot", *modules)
    with open(work("core.img"), "rb") as file:
        return file.read()


def grub_disk(work, core, files=(), size_mib=64, ext4_mib=0):
    """A raw disk with an MBR, GRUB behind it, a FAT partition at 1 MiB holding files, and behind
    that an empty ext4 one if wished."""
    disk, start = work("disk.img"), 1 << 20
    with open("/usr/lib/grub/i386-pc/boot.img", "rb") as file:
        boot = bytearray(file.read())
    # The core image follows at sector 1, where an unpatched boot.img looks for it.  One partition
    # entry: bootable, type 0x0c (FAT32, LBA), from sector 2048 to the end.
    sectors = (size_mib << 11) - 2048
    boot[446:462] = (bytes([0x80, 0, 0, 0, 0x0c, 0, 0, 0]) + (2048).to_bytes(4, "little") +
                     sectors.to_bytes(4, "little"))
    # boot.img has its floppy code where the other three entries belong.
    boot[462:512] = bytes(48) + b"\x55\xaa"
    if ext4_mib:
        boot[466:478] = (bytes([0x83, 0, 0, 0]) + (size_mib << 11).to_bytes(4, "little") +
                         (ext4_mib << 11).to_bytes(4, "little"))
    assert 512 + len(core) <= start
    with open(disk, "wb") as file:
        file.write(bytes(boot) + core)
        file.truncate(size_mib + ext4_mib << 20)
    if ext4_mib:
        run("mkfs.ext4", "-q", "-E", "offset=%d" % (size_mib << 20), disk, "%dM" % ext4_mib)
    env = dict(os.environ, MTOOLS_SKIP_CHECK="1")
    run("mformat", "-i", "%s@@%d" % (disk, start), "-F", "-T", str(sectors), "::", env=env)
    for path, name in files:
        run("mcopy", "-i", "%s@@%d" % (disk, start), path, "::" + name, env=env)
    return disk


def grub_cd(work, config, files=()):
    """An El Torito CD with GRUB."""
    os.makedirs(work("cd/boot/grub"))
    with open(work("cd/boot/grub/grub.cfg"), "w") as file:
        file.write(config)
    for path, name in files:
        shutil.copy(path, work("cd/" + name))
    run("grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "--locales=", "--fonts=", "--themes=",
        "--install-modules=normal serial terminal echo ls linux linux16 iso9660 halt",
        "-o", work("cd.iso"), work("cd"), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    return work("cd.iso")


def disk_args(path, kind, machine):
    """The options that attach an image: kind is virtio, nvme, ide (AHCI on q35), cd, scsi or scsi-cd."""
    drive = ["-drive", "if=none,id=d,format=raw,file=" + path +
             (",readonly=on" if kind.endswith("cd") else "")]
    device = {"virtio": "virtio-blk-pci,drive=d", "ide": "ide-hd,drive=d,bus=ide.0",
              "cd": "ide-cd,drive=d,bus=ide.1", "scsi": "scsi-hd,drive=d,scsi-id=5,lun=2",
              "scsi-cd": "scsi-cd,drive=d,scsi-id=1", "nvme": "nvme,serial=S,drive=d"}[kind]
    drive += ["-device", "virtio-scsi-pci"] if kind.startswith("scsi") else []
    return drive + ["-device", device + ",bootindex=1"]
