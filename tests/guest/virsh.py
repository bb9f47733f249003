"""virsh.py: virsh, and a libvirtd of the test's own, in a name space where libvirt's folders are empty."""
import contextlib
import os
import re
import select
import subprocess
import sys
import tempfile
import time
from guest import ROOT, skip

sys.path.insert(0, ROOT + "/tests/qmp")
from qmp import check, same                             # noqa: E402  pylint: disable=wrong-import-position

INSIDE = "RHEA_LIBVIRT_INSIDE"
LIMIT = 60
IMAGES = "/var/lib/libvirt/images/"
QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
remember_owner = 0
stdio_handler = "file"
"""


def enter():
    """Again, as root in a mount name space of our own, where libvirt's folders are empty."""
    if os.geteuid() != 0:
        skip("libvirtd wants root")
    for program in ("libvirtd", "virsh", "qemu-img"):
        if subprocess.run(["sh", "-c", "PATH=$PATH:/usr/sbin; command -v " + program], check=False,
                          stdout=subprocess.DEVNULL).returncode:
            skip("no %s here (tools/setup installs it)" % program)
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "-m", sys.executable] + sys.argv)


def settle_in():
    for folder in ("/var/lib/libvirt", "/run/libvirt", "/var/cache/libvirt", "/etc/libvirt",
                   "/var/log/libvirt"):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "libvirt", folder], check=True)
    for folder in (IMAGES, "/var/lib/libvirt/qemu", "/var/cache/libvirt/qemu", "/var/log/libvirt/qemu"):
        os.makedirs(folder)
    os.makedirs(os.path.realpath("/var/lock"), exist_ok=True)     # virsh console keeps a file there
    with open("/etc/libvirt/qemu.conf", "w") as conf:
        conf.write(QEMU_CONF)
    with open("/etc/libvirt/libvirtd.conf", "w") as conf:
        conf.write('auth_unix_rw = "none"\nlog_outputs = "1:file:/var/log/libvirt/log"\n'
                   'log_filters = "1:qemu.qemu_monitor 3:*"\n')
    with open(IMAGES + "a.img", "wb") as image:
        image.truncate(8 << 20)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", IMAGES + "b.img", "16M"], check=True)


class Libvirt:
    """A libvirtd of our own, and virsh."""

    def __init__(self):
        self.daemon = None
        self.start()

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink("/run/libvirt/libvirt-sock")
        self.daemon = subprocess.Popen(["/usr/sbin/libvirtd", "-f", "/etc/libvirt/libvirtd.conf", "-p",
                                        "/run/libvirt/pid"], stderr=subprocess.DEVNULL)
        end = time.monotonic() + LIMIT
        while not os.path.exists("/run/libvirt/libvirt-sock"):
            check(self.daemon.poll() is None and time.monotonic() < end, "libvirtd does not start")
            select.select([], [], [], 0.02)

    def end(self):
        for name in self("list", "--name").split():
            self("destroy", name)
        self.daemon.terminate()
        self.daemon.wait(LIMIT)

    def __call__(self, *words, rc=0):
        done = subprocess.run(["virsh", "-c", "qemu:///system", *words], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False)
        print("+ virsh %s\n%s" % (" ".join(words), done.stdout.strip()), flush=True)
        same(done.returncode, rc, "virsh " + " ".join(words))
        return done.stdout

    def state(self, name, want):
        """Waits for an act of the guest's to arrive."""
        end = time.monotonic() + LIMIT
        while (got := self("domstate", name, "--reason").strip()) != want:
            check(time.monotonic() < end, "state is %r, not" % got, want)
            select.select([], [], [], 0.1)

    def job_ends(self, name):
        """Waits until no job of the domain's is left."""
        end = time.monotonic() + LIMIT
        while not re.search("Job type: +None", self("domjobinfo", name)):
            check(time.monotonic() < end, "a job does not end")
            select.select([], [], [], 0.1)


@contextlib.contextmanager
def xml_file(text):
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as f:
        f.write(text)
        f.flush()
        yield f.name


def manage(act):
    """Runs act(the libvirt) in the name space; what it leaves is ended."""
    if INSIDE not in os.environ:
        enter()
    settle_in()
    libvirt = Libvirt()
    try:
        act(libvirt)
    finally:
        subprocess.run("tail -n 8 /var/log/libvirt/qemu/*.log", shell=True, check=False)
        libvirt.end()
