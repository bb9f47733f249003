/* text.c: hostile command-line texts: every option in KEY=VALUE, flag and JSON form, and the short forms of
 * character devices.
 *
 * The first byte chooses the option (255: the short form); the text follows.  What is read is written as
 * JSON, which has to read back. */
#include <stdlib.h>
#include <string.h>
#include "chardev/char.h"
#include "qapi/tables.h"
#include "tests/fuzz/seeded.h"
#include "util/thread.h"

#define SHORT 255

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    thread_become_control();
    return 0;
}

void fuzz_end(void)
{
}

static void read_short(const char *text)
{
    g_autoptr(ChardevConfig) config = NULL;
    g_autofree char *existing = NULL;
    Error *e = NULL;
    ChardevShort got = chardev_parse_short(text, "id", &config, &existing, &e);

    if ((got == CHARDEV_SHORT_ERROR) != (e != NULL)) {
        abort();
    }
    error_free(e);
}

static void read_option(unsigned opt, const char *text)
{
    g_autoptr(GString) out = g_string_new(NULL);
    void *p = NULL, *again = NULL;
    Error *e = NULL;

    if (!qapi_option_read(opt, text, &p, &e)) {
        if (!e) {
            abort();
        }
        error_free(e);
        return;
    }
    if (!p) {                                  /* a request for help */
        return;
    }
    qapi_write(qapi_options[opt].arg, &p, out);
    g_autoptr(json_t) tree = json_parse(out->str, NULL);
    if (!tree || !qapi_read(qapi_options[opt].arg, tree, QAPI_JSON, &again, NULL)) {
        abort();
    }
    qapi_free(qapi_options[opt].arg, again);
    qapi_free(qapi_options[opt].arg, p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
    if (data[0] == SHORT) {
        read_short(text);
    } else {
        read_option(data[0] % qapi_options_count, text);
    }
    return 0;
}

GByteArray *fuzz_sample(unsigned i)
{
    static const char *const shorts[] = {
        "stdio", "mon:stdio", "none", "null", "pty", "chardev:x", "file:/a,b", "pipe:/tmp/p", "vc:80Cx24C",
        "tcp:localhost:4444,server=on,wait=off,nodelay=on", "telnet::23,server", "udp:h:1@:2",
        "unix:/tmp/s,server=on,wait=off,reconnect=1",
    };
    static const char *const options[] = {
        "socket,id=mon,path=/tmp/x,,y,server=on,wait=off", "file,id=f,path=a,append=on",
        "ringbuf,id=r,size=64K",
        "socket,id=t,host=::1,port=1-2,ipv4,ipv6=off", "stdio,id=s,signal=off,mux=on", "null,id=n,logfile=x",
        "q35,accel=kvm:tcg,usb=off", "host,+x2apic,-svm,foo=bar", "cpus=4,sockets=2",
        "size=1G,slots=2,maxmem=4G",
        "virtio-blk-pci,drive=d,id=x,addr=3.0", "driver=raw,node-name=a,file.driver=file,file.filename=x",
        "{\"driver\":\"file\",\"filename\":\"x\",\"node-name\":\"n\",\"cache\":{\"direct\":true}}",
        "node,nodeid=0,cpus=0-3,cpus=5,memdev=m", "file=a,,b,if=none,id=d,cache=none,werror=stop",
        "help", "?",
        "type=1,manufacturer=a,serial=b", "base=2020-01-01T00:00:00,clock=vm", "name=opt/a,string=b",
        "memory-backend-file,id=m,size=1M,mem-path=x,host-nodes.0=1,prealloc=on", "guest=a,debug-threads=on",
    };
    uint8_t first = SHORT;
    const char *text;

    if (i < G_N_ELEMENTS(shorts)) {
        text = shorts[i];
    } else {
        i -= G_N_ELEMENTS(shorts);
        if (i >= qapi_options_count * G_N_ELEMENTS(options)) {
            return NULL;
        }
        first = (uint8_t)(i / G_N_ELEMENTS(options));
        text = options[i % G_N_ELEMENTS(options)];
    }
    GByteArray *a = g_byte_array_append(g_byte_array_new(), &first, 1);
    return g_byte_array_append(a, (const uint8_t *)text, (guint)strlen(text));
}
