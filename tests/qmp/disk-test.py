#!/usr/bin/env python3
"""disk-test.py: what clients see of disks, with the real program and a guest: failed requests, media.

The first argument is the program; words behind it choose tests by name.  Status 77: no /dev/kvm, or no
mount name space to have a full disk in.
"""
import contextlib
import json
import os
import subprocess
import sys
import tempfile

from qmp import Machine, check, main, same

INSIDE = "RHEA_DISK_TEST_INSIDE"


@contextlib.contextmanager
def small_disk(size="64k"):
    """A tmpfs of @size with a sparse image of 1 MiB and a filler that takes all the rest."""
    with tempfile.TemporaryDirectory(prefix="rhea-full-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "full", folder], check=True)
        try:
            with open(folder + "/disk.raw", "wb") as f:
                f.truncate(1 << 20)
            with open(folder + "/filler", "wb", buffering=0) as f, contextlib.suppress(OSError):
                while f.write(bytes(4096)):
                    pass
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)


class Disk:
    """The first ATA disk of a pc, by programmed I/O."""

    def __init__(self, m):
        self.m = m

    def command(self, command, lba, count=1):
        for port, value in ((6, 0xe0), (2, count), (3, lba & 0xff), (4, lba >> 8 & 0xff), (5, 0),
                            (7, command)):
            self.m.outb(0x1f0 + port, value)

    def wait(self):
        while (status := self.m.inb(0x3f6)) & 0x80:
            pass
        return status

    def write(self, lba, word):
        """Hands a sector over; the machine may stop before the last word's answer comes."""
        self.command(0x30, lba)
        same(self.wait(), 0x58)
        for _ in range(255):
            self.m.outw(0x1f0, word)
        self.m.outw(0x1f0, word, silent=True)


def error(m):
    e = m.qmp.event("BLOCK_IO_ERROR")
    e.pop("node-name")
    return e


def test_full_disk_stops():
    with small_disk() as folder, Machine("-drive", "id=d0,if=ide,format=raw,file=%s/disk.raw" % folder,
                                         machine="pc") as m:
        disk, q = Disk(m), m.qmp
        disk.write(9, 0x4142)
        want = {"device": "d0", "operation": "write", "action": "stop", "nospace": True,
                "reason": "No space left on device"}
        same(error(m), want)
        q.event("STOP")
        same(q.status(), "io-error")
        q.cmd("cont")                                  # still full
        same(error(m), want)
        q.event("STOP")
        same(q.status(), "io-error")
        os.unlink(folder + "/filler")
        q.cmd("cont")
        q.event("RESUME")
        same(m.guest.take(1), b".", "the last word's answer")
        same(disk.wait(), 0x50)
        same(q.status(), "running")
        same(q.events, [])
        with open(folder + "/disk.raw", "rb") as f:
            f.seek(9 * 512)
            same(f.read(512), b"BA" * 256)


def test_stop_flushes():
    """What the guest wrote and did not flush is in the image, for another reader, once the machine stands."""
    with tempfile.TemporaryDirectory(prefix="rhea-stop-") as folder:
        image = folder + "/disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
        with Machine("-drive", "id=d0,if=ide,format=qcow2,file=" + image, machine="pc") as m:
            disk, q = Disk(m), m.qmp
            for lba, byte in ((9, "0x41"), (1000, "0x42")):
                disk.write(lba, int(byte, 0) * 0x101)
                same(m.guest.take(1), b".", "the last word's answer")
                same(disk.wait(), 0x50)
                q.cmd("stop")
                subprocess.run(["qemu-io", "-r", "-U", "-f", "qcow2", "-c", "read -P %s %d 512" %
                                (byte, lba * 512), image], check=True)
                q.cmd("cont")


def test_account():
    """The time of what failed is counted unless the device, or else the -drive, says no."""
    for drive, device, want in (("", "", True), ("stats-account-failed=off,", "", False),
                                ("stats-account-failed=off,", ",account-failed=on", True),
                                ("stats-account-failed=on,", ",account-failed=off", False)):
        bad = ("-drive", "if=none,id=d0,%srerror=report,driver=blkdebug,image.driver=null-co,image.size=1M,"
               "inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.once=off" % drive)
        with Machine(*bad, "-device", "ide-hd,drive=d0" + device, machine="pc") as m:
            disk = Disk(m)

            def stats():
                return m.qmp.cmd("query-blockstats")[0]["stats"]
            same([stats().get(k) for k in ("account_failed", "account_invalid", "idle_time_ns")],
                 [want, True, None], drive + device)
            disk.command(0x20, 9)
            check(disk.wait() & 1, "a read that fails")
            s = stats()
            same((s["failed_rd_operations"], s["rd_operations"], "idle_time_ns" in s), (1, 0, want),
                 drive + device)
            check(want or s["rd_total_time_ns"] == 0, "time of what does not count")
            disk.command(0x20, 4000)                   # past the end: refused by the disk itself
            check(disk.wait() & 1, "a read of what is not there")
            s = stats()
            same((s["failed_rd_operations"], s["invalid_rd_operations"], "idle_time_ns" in s), (1, 1, True))
    for name in ("stats-account-failed", "stats-account-invalid"):
        got = subprocess.run([sys.argv[1], "-drive", "if=none,id=d,format=raw,file=x,%s=maybe" % name],
                             stderr=subprocess.PIPE, text=True, check=False)
        check(got.returncode == 1 and "%s'" % name in got.stderr, "a wrong value", got.stderr)


def test_intervals():
    """stats-intervals.N of a -drive: times over each; none elsewhere, zeroes of a drive without a device."""
    drive = ("if=none,driver=null-co,size=1M,latency-ns=1000000,stats-intervals.0=3600,"
             "stats-intervals.1=7200,id=")
    with Machine("-drive", drive + "d0", "-device", "ide-hd,drive=d0", "-drive", drive + "spare",
                 "-drive", "if=ide,index=2,media=cdrom", machine="pc") as m:
        disk = Disk(m)
        disk.command(0x20, 9)
        same(disk.wait() & 1, 0, "a read")
        stats = {s["device"]: s["stats"]["timed_stats"] for s in m.qmp.cmd("query-blockstats")}
    same(stats.pop("ide1-cd0"), [])
    for name, lists in stats.items():
        same([t.pop("interval_length") for t in lists], [3600, 7200], name)
        for t in lists:
            read = [t.pop(k + "_rd_latency_ns") for k in ("min", "avg", "max")]
            same((read[0] > 0, read == sorted(read), t.pop("avg_rd_queue_depth") > 0),
                 (name == "d0", True, name == "d0"), name)
            same(set(t.values()), {0}, "nothing was written")
    same(set(stats), {"d0", "spare"})
    for words, said in ((".1=5", "Invalid option stats-intervals.1"), (".0=0", "Invalid interval length: 0"),
                        (".x=4", "Invalid option stats-intervals.x"), (".0=", "Invalid interval length: "),
                        (".01=5", "Invalid option stats-intervals.01"),
                        (".0.0=4", "The specification of stats-intervals is invalid"),
                        (".0=4294967296", "Invalid interval length: 4294967296"),
                        (".0=4x", "Invalid interval length: 4x"),
                        ("=5", "Parameter 'stats-intervals' is unexpected")):
        got = subprocess.run([sys.argv[1], "-drive", "if=none,id=d,driver=null-co,stats-intervals" + words],
                             stderr=subprocess.PIPE, text=True, check=False)
        same((got.returncode, got.stderr.rstrip("\n").endswith(": " + said)), (1, True), got.stderr)


def test_policies():
    rows = (("report", "report", 0x51), ("ignore", "ignore", 0x50))
    for policy, action, status in rows:
        with small_disk() as folder, Machine(
                "-drive", "if=none,id=d0,format=raw,file=%s/disk.raw,werror=%s" % (folder, policy), "-device",
                "ide-hd,drive=d0", machine="pc") as m:
            disk = Disk(m)
            disk.write(9, 0x4142)
            same(m.guest.take(1), b".", "the last word's answer")
            same(disk.wait(), status, policy)
            same(error(m)["action"], action)
            same(m.qmp.status(), "running")


def test_stop_meets_reset_and_stop():
    """The guest is reset while a request waits; a plain stop does not hide the error's state."""
    with small_disk() as folder, Machine(
            "-blockdev", "raw,node-name=n0,file.driver=file,file.filename=%s/disk.raw" % folder, "-device",
            "ide-hd,drive=n0,werror=stop", machine="pc") as m:
        q = m.qmp
        Disk(m).write(9, 0x4142)
        e = q.event("BLOCK_IO_ERROR")
        same((e["device"], e["node-name"]), ("", "n0"))
        q.event("STOP")
        q.cmd("stop")
        same(q.status(), "io-error")
        q.cmd("system_reset")
        q.event("RESET")
        same(q.status(), "prelaunch")
        q.cmd("cont")
        while m.guest.take(1) != b"S":
            pass
        same(Disk(m).wait() & 0x80, 0)
        same(q.events[1:], [])


def test_statistics():
    with small_disk("2m") as folder:
        os.unlink(folder + "/filler")
        with Machine("-drive", "id=d0,if=ide,format=raw,file=%s/disk.raw" % folder, machine="pc") as m:
            disk = Disk(m)
            disk.write(9, 0x4142)
            same(m.guest.take(1), b".", "the last word's answer")
            same(disk.wait(), 0x50)
            got = m.qmp.cmd("query-blockstats")[0]
            same((got["device"], got["stats"]["wr_bytes"], got["stats"]["wr_operations"]), ("d0", 512, 1))
            for stats in (got["stats"], got["parent"]["stats"]):
                same(stats["wr_highest_offset"], 5120)
            same((got["stats"]["rd_operations"], got["stats"]["failed_wr_operations"]), (0, 0))
            same(got.get("driver-specific"), None)
            same(got["parent"]["driver-specific"],
                 {"driver": "file", "discard-nb-ok": 0, "discard-nb-failed": 0, "discard-bytes-ok": 0})


# --- media ---

def moved(m, is_open):
    same(m.qmp.event("DEVICE_TRAY_MOVED"), {"device": "", "id": "cd0", "tray-open": is_open})


def drive_of(m):
    return next(b for b in m.qmp.cmd("query-block") if b["qdev"] == "cd0")


MEDIA = ["-blockdev", "null-co,node-name=n1,size=1048576,read-only=on", "-blockdev",
         "null-co,node-name=n2,size=2097152", "-device", "ide-hd,drive=n2,id=hd0"]


CONTROLLER = ["-device", "virtio-scsi-pci"]


def test_change_of_medium():
    change_of_medium("-device", "ide-cd,id=cd0,drive=n1")
    change_of_medium(*CONTROLLER, "-device", "scsi-cd,id=cd0,drive=n1")


def change_of_medium(*drive):
    with Machine(*MEDIA, *drive) as m:
        q = m.qmp
        for _ in range(3):
            same((drive_of(m)["tray_open"], drive_of(m)["removable"], drive_of(m)["locked"]),
                 (False, True, False))
            same(drive_of(m)["inserted"]["node-name"], "n1")
            q.cmd("blockdev-open-tray", id="cd0", force=False)
            moved(m, True)
            q.cmd("blockdev-open-tray", id="cd0")
            q.cmd("blockdev-remove-medium", id="cd0")
            q.cmd("blockdev-remove-medium", id="cd0")
            same((drive_of(m)["tray_open"], "inserted" in drive_of(m)), (True, False))
            q.cmd("blockdev-del", **{"node-name": "n1"})
            q.cmd("blockdev-add", driver="null-co", size=4096, **{"node-name": "n1", "read-only": True})
            q.cmd("blockdev-insert-medium", id="cd0", **{"node-name": "n1"})
            q.cmd("blockdev-close-tray", id="cd0")
            moved(m, False)
            q.cmd("blockdev-close-tray", id="cd0")
        same(q.events, [])


def test_change_of_medium_refused():
    change_of_medium_refused("-device", "ide-cd,id=cd0,drive=n1")
    change_of_medium_refused(*CONTROLLER, "-device", "scsi-cd,id=cd0,drive=n1")


def change_of_medium_refused(*drive):
    with Machine(*MEDIA, *drive, "-S", serial=False) as m:
        q = m.qmp
        both = "Need exactly one of 'device' and 'id'"
        for command in ("blockdev-open-tray", "blockdev-close-tray", "eject"):
            q.fails(command, "DeviceNotFound", "Device 'nope' not found", id="nope")
            q.fails(command, text=both)
            q.fails(command, text=both, id="cd0", device="d")
            q.fails(command, text="Device 'hd0' is not removable", id="hd0")
        q.fails("blockdev-remove-medium", text="Device 'hd0' is not removable", id="hd0")
        q.fails("blockdev-remove-medium", text="Tray of device 'cd0' is not open", id="cd0")
        insert = {"id": "cd0", "node-name": "n1"}
        q.fails("blockdev-insert-medium", text="Node 'n1' is already in use", **insert)
        q.fails("blockdev-insert-medium", text="Node 'nope' not found", **{**insert, "node-name": "nope"})
        q.cmd("blockdev-add", driver="null-co", **{"node-name": "n3", "read-only": True})
        insert["node-name"] = "n3"
        q.fails("blockdev-insert-medium", text="Tray of the device is not open", **insert)
        q.cmd("blockdev-open-tray", id="cd0")
        q.fails("blockdev-insert-medium", text="There already is a medium in the device", **insert)
        q.fails("blockdev-change-medium", text="Could not open '/nope'", id="cd0", filename="/nope")
        q.fails("blockdev-change-medium", id="cd0", filename="/nope", format="foo")
        q.fails("blockdev-change-medium", text="writes", id="cd0", filename="/nope",
                **{"read-only-mode": "read-write"})
        same(drive_of(m)["inserted"]["node-name"], "n1")


def test_change_and_eject_of_a_drive():
    with tempfile.NamedTemporaryFile() as one, tempfile.NamedTemporaryFile() as two:
        one.truncate(1 << 20)
        two.truncate(1 << 21)
        with Machine("-drive", "if=none,id=d0,media=cdrom,format=raw,file=" + one.name, "-device",
                     "ide-cd,drive=d0,id=cd0") as m:
            q = m.qmp
            nodes = len(q.cmd("query-named-block-nodes"))
            for file, size in ((two, 1 << 21), (one, 1 << 20)) * 2:
                q.cmd("blockdev-change-medium", device="d0", filename=file.name, format="raw")
                same([q.event("DEVICE_TRAY_MOVED")["tray-open"] for _ in range(2)], [True, False])
                same(drive_of(m)["inserted"]["image"]["virtual-size"], size)
                same(drive_of(m)["device"], "d0")
                same(len(q.cmd("query-named-block-nodes")), nodes)
            q.cmd("eject", device="d0")
            same(q.event("DEVICE_TRAY_MOVED"), {"device": "d0", "id": "cd0", "tray-open": True})
            check("inserted" not in drive_of(m), "still there", drive_of(m))
            same(q.cmd("query-named-block-nodes"), [])
            q.cmd("eject", id="cd0")


def test_empty_drives():
    """They have names and words without a medium; the device that gets one is left without a medium."""
    with tempfile.NamedTemporaryFile() as one:
        one.truncate(1 << 20)
        with Machine("-drive", "if=none,id=d0,media=cdrom", "-device", "ide-cd,drive=d0,id=cd0", "-device",
                     "virtio-scsi-pci", "-device", "scsi-cd,drive=d1,bootindex=1",
                     "-drive", "if=none,id=d1,bps=1000000",
                     "-drive", "if=ide,media=cdrom", "-drive", "if=none,id=d2") as m:
            q = m.qmp
            drives = {d["device"]: d for d in q.cmd("query-block")}
            same(sorted(d for d in drives if not d.startswith("floppy")), ["d0", "d1", "d2", "ide0-cd0"])
            same([d for d in drives.values() if "inserted" in d or not d["removable"]], [])
            same("qdev" in drives["d2"], False)
            same(q.cmd("query-named-block-nodes"), [])
            for device in ("d0", "d1"):
                q.cmd("blockdev-change-medium", device=device, filename=one.name, format="raw")
            drives = {d["device"]: d for d in q.cmd("query-block")}
            same([drives[d]["inserted"]["file"] for d in ("d0", "d1")], [one.name] * 2)
            same(drives["d1"]["inserted"]["bps"], 1000000)
            q.fails("device_add", driver="scsi-cd", drive="d2", bootindex=1, text="has already been used")
            same("d2" in [d["device"] for d in q.cmd("query-block")], True, "what a device did not get")
            q.fails("blockdev-backup", device="d2", target="d0", sync="full", **{"job-id": "j"},
                    text="Cannot find device='d2' nor node-name='d2'")
            same(q.cmd("human-monitor-command", **{"command-line": "commit d2"}),
                 "Device 'd2' has no medium\r\n")
            q.cmd("device_add", driver="scsi-cd", drive="d2", id="late")
            same([d["qdev"] for d in q.cmd("query-block") if d["device"] == "d2"], ["late"])


def test_default_drives():
    """An empty CD-ROM in the third place, and pc's floppy drive, unless somebody says otherwise."""
    disk = ("-drive", "if=none,driver=null-co,id=x")
    for machine, args, want in (("pc", (), {"ide1-cd0", "floppy0"}), ("q35", (), {"ide2-cd0"}),
                                ("pc", ("-nodefaults",), set()), ("none", (), set()),
                                ("q35", ("-nodefaults",), set()), ("q35", ("-device", "ide-cd"), {""}),
                                ("pc", (*disk, "-device", "ide-hd,drive=x"), {"x", "floppy0"}),
                                ("pc", ("-drive", "driver=null-co,index=2"), {"ide1-hd0", "floppy0"}),
                                ("pc", ("-drive", "media=cdrom"), {"ide0-cd0", "ide1-cd0", "floppy0"}),
                                ("q35", ("-drive", "if=none,id=ide2-cd0"), {"ide2-cd0"}),
                                ("q35", ("-cdrom", sys.argv[1]), {"ide2-cd0"})):
        got = subprocess.run([sys.argv[1], "-M", machine, *args, "-S", "-display", "none", "-qmp", "stdio"],
                             input='{"execute":"qmp_capabilities"}{"execute":"query-block"}'
                             '{"execute":"quit"}', stdout=subprocess.PIPE, text=True, check=True).stdout
        told = next(json.loads(line)["return"] for line in got.splitlines() if '"return": [' in line)
        same({b["device"] for b in told}, want, machine + " " + " ".join(args))
        same([b for b in told if b["device"] in ("ide1-cd0", "floppy0") and "inserted" in b], [], machine)


def test_floppy():
    """A slot without a tray: media come and go at once, and are written if they can be."""
    with tempfile.NamedTemporaryFile() as one, tempfile.NamedTemporaryFile() as two:
        one.truncate(1474560)
        two.truncate(737280)
        with Machine("-drive", "if=floppy,id=fd0") as m:
            q = m.qmp
            (drive,) = q.cmd("query-block")
            same((drive["device"], drive["removable"], drive["locked"]), ("fd0", True, False))
            check("inserted" not in drive and "tray_open" not in drive, "a tray, or a medium", drive)
            qdev, file = drive["qdev"], two
            q.cmd("eject", device="fd0")
            q.cmd("blockdev-open-tray", id=qdev)
            q.cmd("blockdev-close-tray", id=qdev)
            for mode, read_only in (("retain", False), ("read-only", True), ("retain", True),
                                    ("read-write", False)):
                file = one if file is two else two
                q.cmd("blockdev-change-medium", device="fd0", filename=file.name, format="raw",
                      **{"read-only-mode": mode})
                (drive,) = q.cmd("query-block")
                same((drive["device"], drive["inserted"]["ro"], drive["inserted"]["file"]),
                     ("fd0", read_only, file.name))
            q.cmd("blockdev-remove-medium", id=qdev)
            check("inserted" not in q.cmd("query-block")[0], "still there", qdev)
            q.cmd("blockdev-add", driver="null-co", size=1474560, **{"node-name": "n"})
            q.cmd("blockdev-insert-medium", id=qdev, **{"node-name": "n"})
            q.fails("blockdev-insert-medium", text="Node 'n' is already in use", id=qdev,
                    **{"node-name": "n"})
            q.cmd("eject", id=qdev)


if __name__ == "__main__":
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        if subprocess.run(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            print("no name spaces here")
            sys.exit(77)
        os.execvp("unshare", ["unshare", "-rm", sys.executable] + sys.argv)
    sys.exit(main([v for k, v in list(globals().items()) if k.startswith("test_")]))
