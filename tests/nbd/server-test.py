#!/usr/bin/env python3
"""server-test: rhea-nbd, asked by programs that are not ours.

    tests/nbd/server-test.py RHEA_NBD [TEST...]
"""
import json
import os
import sys
import unittest

from foreign import MIB, Nbd, needs, read, run


class Server(Nbd):
    @needs("nbdinfo")
    def test_info(self):
        uri = self.serve(self.image("a"), "-f", "raw", "-e", "3", "-x", "", "-D", "a disk", "-A")
        info = json.loads(run("nbdinfo", "--json", uri).stdout)
        self.assertEqual(info["protocol"], "newstyle-fixed")
        self.assertTrue(info["structured"])
        export = info["exports"][0]
        self.assertEqual((export["export-size"], export["description"]), (4 * MIB, "a disk"))
        self.assertEqual(export["contexts"], ["base:allocation", "qemu:allocation-depth"])
        for flag in ("cache", "df", "fast_zero", "flush", "fua", "multi_conn", "trim", "zero"):
            self.assertTrue(export["can_" + flag], flag)
        self.assertFalse(export["is_read_only"])
        self.assertEqual((export["block_size_minimum"], export["block_size_maximum"]), (1, 32 * MIB))

    @needs("nbdinfo")
    def test_read_only(self):
        uri = self.serve(self.image("a"), "-f", "raw", "-r")
        export = json.loads(run("nbdinfo", "--json", uri).stdout)["exports"][0]
        self.assertTrue(export["is_read_only"])
        self.assertFalse(export["can_zero"] or export["can_trim"])

    @needs("nbdcopy")
    def test_copy(self):
        """Four connections each way, with holes and data."""
        image = self.image("a", 16 * MIB)
        uri = self.serve(image, "-f", "raw", "-e", "8")
        run("nbdcopy", "--connections=4", uri, self.path("out"))
        self.assertEqual(read(self.path("out")), read(image))
        other = self.image("b", 16 * MIB, seed=2)
        run("nbdcopy", "--connections=4", "--flush", other, uri)
        self.assertEqual(read(image), read(other))

    @needs("qemu-img", "qemu-io")
    def test_qemu_client(self):
        image = self.image("a")
        uri = self.serve(image, "-f", "raw", "-e", "2")
        compared = run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, image)
        self.assertIn("Images are identical", compared.stdout)
        run("qemu-io", "-f", "raw", "-c", "write -P 7 1000 70000", "-c", "write -z 1M 64k",
            "-c", "discard 2M 64k", "-c", "flush", "-c", "read -P 7 1000 70000",
            "-c", "read -P 0 1M 64k", uri)
        self.assertEqual(read(image)[1000:71000], bytes([7]) * 70000)

    def test_qcow2(self):
        image = self.path("q")
        raw = self.image("a")
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
        uri = self.serve(image, "-f", "qcow2", "-e", "2")
        run("qemu-io", "-f", "raw", "-c", "write -P 9 300k 100k", uri)
        self.assertIn("identical", run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, uri).stdout)
        self.end(self.processes.pop())
        run("qemu-img", "check", image)
        run("qemu-io", "-f", "qcow2", "-c", "read -P 9 300k 100k", image)

    @needs("nbdinfo")
    def test_list(self):
        uri = self.serve(self.image("a"), "-f", "raw", "-x", "one", "-D", "first")
        out = run("qemu-nbd", "-L", "-k", uri.split("=")[1]).stdout
        self.assertIn("export: 'one'\n  description: first\n  size:  4194304\n", out)
        socket = uri.split("=")[1]
        self.assertEqual(run(self.tool, "-L", "-k", socket).stdout, out)
        failed = run("nbdinfo", uri, check=False)
        self.assertIn("No such file", failed.stderr)

    @needs("nbdinfo")
    def test_map(self):
        """Holes and data as the file has them, told by block status."""
        image = self.path("m")
        with open(image, "wb") as file:
            file.truncate(4 * MIB)
            file.seek(MIB)
            file.write(bytes([1]) * MIB)
        uri = self.serve(image, "-f", "raw", "-e", "4")
        found = [(e["offset"], e["length"], e["description"])
                 for e in json.loads(run("nbdinfo", "--map", "--json", uri).stdout)]
        self.assertEqual(found, [(0, MIB, "hole,zero"), (MIB, MIB, "data"), (2 * MIB, 2 * MIB, "hole,zero")])
        mapped = json.loads(run("qemu-img", "map", "--output=json", "-f", "raw", uri).stdout)
        self.assertEqual(mapped[1]["length"], MIB)
        ours = self.serve(uri, "-f", "raw", "-e", "4", name="again")      # by our client
        again = [(e["offset"], e["length"], e["description"])
                 for e in json.loads(run("nbdinfo", "--map", "--json", ours).stdout)]
        self.assertEqual(again, found)

    def test_image_opts(self):
        image = self.image("a")
        uri = self.serve("driver=raw,offset=65536,size=131072,file.driver=file,file.filename=" + image,
                         "--image-opts", "-e", "2")
        run("nbdcopy", uri, self.path("out"))
        self.assertEqual(read(self.path("out")), read(image)[65536:65536 + 131072])

    def test_snapshots(self):
        """An internal snapshot is shown; with -s writes go nowhere."""
        image = self.path("q")
        run("qemu-img", "create", "-q", "-f", "qcow2", image, "4M")
        run("qemu-io", "-f", "qcow2", "-c", "write -P 1 100k 200k", image)
        run("qemu-img", "snapshot", "-c", "one", image)
        run("qemu-io", "-f", "qcow2", "-c", "write -P 2 150k 2M", image)
        run("qemu-img", "convert", "-l", "one", "-O", "raw", image, self.path("theirs"))
        before = read(image)
        for param in ("one", "1", "snapshot.id=1", "snapshot.id=1,snapshot.name=one"):
            uri = self.serve(image, "-f", "qcow2", "-l", param, name="l")
            run("nbdcopy", uri, self.path("ours"))
            self.assertEqual(read(self.path("ours")), read(self.path("theirs")))
            denied = run("qemu-io", "-f", "raw", "-c", "write 0 4k", uri, check=False)
            self.assertIn("ermission", denied.stdout + denied.stderr)
            self.end(self.processes.pop())
        uri = self.serve(image, "-f", "qcow2", "-s", name="s")
        said = run("qemu-io", "-f", "raw", "-c", "write -P 7 0 4M", "-c", "read -P 7 0 4M", uri).stdout
        self.assertIn("read 4194304/4194304", said)
        self.end(self.processes.pop())
        self.assertEqual(read(image), before)

    def test_detect_zeroes(self):
        """Zeroes that a client writes take no space."""
        image = self.path("z")
        with open(image, "wb") as file:
            file.write(bytes([1]) * MIB)
        uri = self.serve(image, "-f", "raw", "--detect-zeroes=unmap", "--discard=unmap")
        run("qemu-io", "-f", "raw", "-c", "write -P 0 0 512k", uri)
        self.end(self.processes.pop())
        self.assertLess(os.stat(image).st_blocks * 512, MIB)
        self.assertEqual(read(image), bytes(MIB // 2) + bytes([1]) * (MIB // 2))

    def test_ends(self):
        """Without -t it ends with its last client; socket and pid file go with it."""
        image = self.image("a")
        socket = self.path("s")
        process = self.start(self.tool, "-f", "raw", "-k", socket, image)
        while not os.path.exists(socket):
            self.assertIsNone(process.poll())
        run("qemu-io", "-f", "raw", "-r", "-c", "read 0 4k", "nbd+unix:///?socket=" + socket)
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 0)
        self.assertFalse(os.path.exists(socket))

    def test_wrong(self):
        image = self.image("a")
        for args, message in (
                ([], "Invalid number of arguments"),
                (["nofile"], "Failed to blk_new_open 'nofile': Could not open 'nofile': No such file .*"),
                (["-f", "foo", image], "Failed to blk_new_open '%s': Unknown driver 'foo'" % image),
                (["-k", "rel", image], "socket path must be absolute"),
                (["-e", "x", image], "Invalid shared device number 'x'"),
                (["-o", "x", image], "Invalid offset 'x'"),
                (["--cache=foo", image], "Invalid cache mode `foo'"),
                (["--detect-zeroes=x", image], "Failed to parse detect_zeroes mode: .*value: x"),
                (["--detect-zeroes=unmap", "--discard=ignore", image], "setting detect-zeroes to .*"),
                (["--discard=foo", image], "Invalid discard mode `foo'"),
                (["-p", "xx", "-f", "raw", image], "address resolution failed for 0.0.0.0:xx: .*"),
                (["-L", image], "List mode is incompatible with a file name"),
                (["-L", "-k", "/none"], "Failed to connect to '/none': No such file or directory"),
                (["-d", "/dev/nonbd"], "Cannot open /dev/nonbd: No such file or directory"),
                (["-B", "b", image], "Bitmap 'b' is not found"),
                (["-v", "-c", "/dev/nonbd", image], "Failed to open /dev/nonbd: No such file or directory"),
                (["-v", "-c", "/dev/null", image], "Failed to set NBD socket of /dev/null: Inappropriate .*"),
                (["-c", "/dev/nbd0", "-k", "/x", image], "-c serves this kernel, not clients: .*"),
                (["-l", "x", image], "Failed to load snapshot: Block format 'raw' used by device '' does .*"),
                (["-s", "--image-opts", "driver=raw"], "Failed to blk_.*: --snapshot needs a file name"),
                (["--image-opts", "driver=nope,filename=x"], "Failed to blk_.*: Unknown driver 'nope'"),
                (["-T", "nosuch", image], "--trace: no trace event matches 'nosuch'"),
                (["--selinux-label=x:y", "-f", "raw", image],
                 "Cannot set SELinux socket create context to x:y: .*"),
                (["--foo", image], "unrecognized option '--foo'")):
            with self.subTest(args=args):
                result = run(self.tool, *args, check=False)
                self.assertEqual(result.returncode, 1)
                said = result.stderr.splitlines()[0].split(": ", 1)[1]
                self.assertRegex(said, "^(%s)$" % message.replace("(", "\\("))


if __name__ == "__main__":
    Server.tool = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
