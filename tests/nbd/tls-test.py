#!/usr/bin/env python3
"""tls-test: NBD under TLS, our server with clients that are not ours, and our client with such servers.

    tests/nbd/tls-test.py RHEA_NBD [TEST...]
"""
import os
import sys
import unittest

from foreign import MIB, Nbd, needs, read, run

TEMPLATES = {"ca": "cn=CA\nca\ncert_signing_key\n",
             "server": "cn=localhost\ndns_name=localhost\ntls_www_server\n",
             "client": "cn=client\ntls_www_client\n", "other-ca": "cn=other\nca\ncert_signing_key\n"}


@needs("certtool", "psktool")
class Tls(Nbd):
    def certificates(self):
        """A folder for QEMU's names and ours: an authority, a server, a client."""
        folder = self.path("pki")
        os.mkdir(folder)
        for name in ("ca", "server", "client"):
            template = self.path(name + ".info")
            with open(template, "w") as file:
                file.write(TEMPLATES[name])
            key, cert = "%s/%s-key.pem" % (folder, name), "%s/%s-cert.pem" % (folder, name)
            run("certtool", "--generate-privkey", "--ecc", "--outfile", key)
            if name == "ca":
                run("certtool", "--generate-self-signed", "--template", template, "--load-privkey", key,
                    "--outfile", cert)
            else:
                run("certtool", "--generate-certificate", "--template", template, "--load-privkey", key,
                    "--load-ca-certificate", folder + "/ca-cert.pem",
                    "--load-ca-privkey", folder + "/ca-key.pem", "--outfile", cert)
        return folder

    def keys(self):
        folder = self.path("psk")
        os.mkdir(folder)
        run("psktool", "-u", "qemu", "-p", folder + "/keys.psk")
        return folder

    def qemu_io(self, socket, *objects, name=""):
        """What qemu-io says of a write and a read."""
        options = "driver=nbd,server.type=unix,server.path=%s,export=%s" % (socket, name)
        args = [a for o in objects for a in ("--object", o)]
        if objects:
            options += ",tls-creds=t,tls-hostname=localhost"
        return run("qemu-io", *args, "--image-opts", "-c", "write -P 6 100k 3M", "-c", "read -P 6 100k 3M",
                   options, check=False)

    def check_ours(self, server, client):
        """Our server with credentials @server."""
        image = self.image("a")
        self.serve(image, "-f", "raw", "-e", "4", "--object", server, "--tls-creds", "t")
        said = self.qemu_io(self.path("s"), client)
        self.assertIn("read 3145728/3145728", said.stdout, said.stderr)
        self.assertEqual(read(image)[100 * 1024:100 * 1024 + 3 * MIB], bytes([6]) * (3 * MIB))
        # in the clear, nothing
        self.assertIn("TLS", self.qemu_io(self.path("s")).stderr)

    def check_theirs(self, server, client):
        """Our client with credentials @client, behind our server in the clear."""
        image = self.image("a")
        self.serve(image, "-f", "raw", "-e", "4", "--object", server, "--tls-creds", "t", tool="qemu-nbd",
                   name="q")
        uri = "nbd+unix:///?socket=" + self.path("q")
        plain = run(self.tool, "-f", "raw", "-k", self.path("x"), uri, check=False)
        self.assertIn("Server requires TLS", plain.stderr)
        listed = run(self.tool, "-L", "-k", self.path("q"), "--object", client, "--tls-creds", "t")
        self.assertIn("exports available: 1", listed.stdout)
        return image

    def test_x509(self):
        d = self.certificates()
        self.check_ours("tls-creds-x509,id=t,endpoint=server,verify-peer=yes,dir=" + d,
                        "tls-creds-x509,id=t,endpoint=client,dir=" + d)

    def test_x509_client(self):
        d = self.certificates()
        self.check_theirs("tls-creds-x509,id=t,endpoint=server,verify-peer=yes,dir=" + d,
                          "tls-creds-x509,id=t,endpoint=client,dir=" + d)

    def test_no_certificate(self):
        """A client without a certificate is sent away, unless nobody asks for one."""
        d = self.certificates()
        bare = self.path("bare")
        os.mkdir(bare)
        os.link(d + "/ca-cert.pem", bare + "/ca-cert.pem")
        self.serve(self.image("a"), "-f", "raw", "-e", "4", "--object",
                   "tls-creds-x509,id=t,endpoint=server,verify-peer=yes,dir=" + d, "--tls-creds", "t")
        client = "tls-creds-x509,id=t,endpoint=client,dir=" + bare
        self.assertNotIn("read 3145728/", self.qemu_io(self.path("s"), client).stdout)
        self.end(self.processes.pop())
        self.serve(self.image("a"), "-f", "raw", "-e", "4", "--object",
                   "tls-creds-x509,id=t,endpoint=server,verify-peer=no,dir=" + d, "--tls-creds", "t")
        self.assertIn("read 3145728/3145728", self.qemu_io(self.path("s"), client).stdout)

    def test_authz(self):
        """Who is served is decided by the name in the certificate, as qemu-nbd decides it."""
        d = self.certificates()
        creds = ["--object", "tls-creds-x509,id=t,endpoint=server,verify-peer=yes,dir=" + d, "--tls-creds",
                 "t", "--tls-authz", "a", "--object"]
        client = "tls-creds-x509,id=t,endpoint=client,dir=" + d
        rules = '"policy": "%s", "rules": [{"match": "%s", "policy": "%s", "format": "%s"}]'
        listed = '{"qom-type": "authz-list", "id": "a", %s}'
        for authz, served in (("authz-simple,id=a,identity=CN=client", True),
                              ("authz-simple,id=a,identity=CN=clien", False),
                              ("authz-list,id=a", False), ("authz-list,id=a,policy=allow", True),
                              (listed % (rules % ("deny", "CN=cl*t", "allow", "glob")), True),
                              (listed % (rules % ("deny", "CN=cl*t", "allow", "exact")), False),
                              (listed % (rules % ("allow", "CN=client", "deny", "exact")), False)):
            for tool in (self.tool, "qemu-nbd"):
                self.serve(self.image("a"), "-f", "raw", "-e", "4", *creds, authz, tool=tool)
                said = self.qemu_io(self.path("s"), client).stdout
                self.end(self.processes.pop())
                self.assertEqual("read 3145728/3145728" in said, served, (tool, authz))
        for words, text in ((["--tls-authz", "a"], "is not permitted without"),
                            (["--object", "tls-creds-anon,id=t,endpoint=server", "--tls-creds", "t",
                              "--tls-authz", "a"], "verify-peer=on"),
                            (creds[:-1], "No authz object with id 'a'"),
                            ([*creds, "authz-simple,id=a"], "Parameter 'identity' is missing"),
                            ([*creds, "authz-pam,id=a,service=x"], "'authz-pam'"),
                            ([*creds, "authz-list,id=a,policy=maybe"],
                             "'policy' does not accept value 'maybe'")):
            said = run(self.tool, "-f", "raw", "-k", self.path("x"), *words, self.image("a"), check=False)
            self.assertIn(text, said.stderr)

    def test_psk(self):
        d = self.keys()
        self.check_ours("tls-creds-psk,id=t,endpoint=server,dir=" + d,
                        "tls-creds-psk,id=t,endpoint=client,dir=" + d)

    def test_psk_client(self):
        d = self.keys()
        self.check_theirs("tls-creds-psk,id=t,endpoint=server,dir=" + d,
                          "tls-creds-psk,id=t,endpoint=client,dir=" + d)

    def test_anon(self):
        self.check_ours("tls-creds-anon,id=t,endpoint=server", "tls-creds-anon,id=t,endpoint=client")

    @needs("nbdcopy")
    def test_stream(self):
        """libnbd, four connections, PSK."""
        d = self.keys()
        image = self.image("a", 16 * MIB)
        self.serve(image, "-f", "raw", "-e", "8", "--object", "tls-creds-psk,id=t,endpoint=server,dir=" + d,
                   "--tls-creds", "t")
        uri = "nbds+unix://qemu@/?socket=%s&tls-psk-file=%s/keys.psk" % (self.path("s"), d)
        run("nbdcopy", "--connections=4", uri, self.path("out"))
        self.assertEqual(read(self.path("out")), read(image))
        other = self.image("b", 16 * MIB, seed=3)
        run("nbdcopy", "--connections=4", "--flush", other, uri)
        self.assertEqual(read(image), read(other))

    def test_wrong(self):
        image = self.image("a")
        for args, message in ((["--tls-creds", "t"],
                               "Failed to get TLS creds: No TLS credentials with id 't'"),
                              (["--object", "tls-creds-x509,id=t,endpoint=server,dir=/nonexistent"],
                               "Unable to access credentials /nonexistent/ca-cert.pem: No such file or "
                               "directory"),
                              (["--object", "tls-creds-anon,id=t", "--tls-creds", "t"],
                               "Failed to get TLS creds: Expecting TLS credentials with a server endpoint")):
            result = run(self.tool, "-f", "raw", *args, image, check=False)
            self.assertEqual((result.returncode, result.stderr), (1, "rhea-nbd: %s\n" % message))


if __name__ == "__main__":
    Tls.tool = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])
