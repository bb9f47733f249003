/* scsi.c: SCSI commands of a hostile guest to a disk and a CD-ROM drive, without the adapter's rings.
 *
 * 1. An input is a list of records: unit, bytes to the guest and from it (in 64ths of BUF), a CDB of 16
 *    bytes, and so many bytes of data; what the input lacks is zero.
 * 2. Each command must end once, move no more than there is room for, and leave nothing claimed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "block/front.h"
#include "hw/catalogue.h"
#include "hw/scsi/scsi.h"
#include "tests/conform/backends.h"
#include "tests/device/bench-pci.h"
#include "tests/fuzz/seeded.h"
#include "util/thread.h"

#define BUF 65536
#define HEAD 19
#define COMMANDS_MAX 64

typedef struct Command {
    ScsiCmd c;
    uint8_t *buf;
    size_t put, taken;
    struct iovec iov[2];
    bool over;
} Command;

static Bench *board;
static ScsiDev *units[2];
static ScsiBus bus;

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static Command *command_of(ScsiCmd *c)
{
    return container_of(c, Command, c);
}

static size_t host_put(ScsiCmd *c, const void *buf, size_t n)
{
    Command *k = command_of(c);

    must(!k->over, "data after the end");
    n = MIN(n, c->room_in - k->put);
    memcpy(k->buf + k->put, buf, n);
    k->put += n;
    return n;
}

static size_t host_take(ScsiCmd *c, void *buf, size_t n)
{
    Command *k = command_of(c);

    n = MIN(n, c->room_out - k->taken);
    memcpy(buf, k->buf + k->taken, n);
    k->taken += n;
    return n;
}

static int host_map(ScsiCmd *c, size_t n, DmaDir dir, const struct iovec **iov)
{
    Command *k = command_of(c);

    if (n > (dir == DMA_FROM_DEVICE ? c->room_in : c->room_out)) {
        return -EINVAL;
    }
    /* In two pieces, as memory may be. */
    k->iov[0] = (struct iovec){ k->buf, n / 1024 * 512 };
    k->iov[1] = (struct iovec){ k->buf + n / 1024 * 512, n - n / 1024 * 512 };
    *iov = k->iov;
    return 2;
}

static void host_done(ScsiCmd *c)
{
    Command *k = command_of(c);

    must(!k->over, "a command ended twice");
    must(c->moved <= MAX(c->room_in, c->room_out), "more moved than there is room for");
    must(c->status == SCSI_GOOD || c->status == SCSI_CHECK_CONDITION, "a status that is none");
    must((c->status == SCSI_CHECK_CONDITION) == (c->sense.key != 0), "status and sense differ");
    k->over = true;
}

static void nobody(ScsiBus *b, const ScsiDev *d)
{
}

static void says(ScsiBus *b, const ScsiDev *d, ScsiSense s)
{
}

static const ScsiHostOps ops = {
    .put = host_put, .take = host_take, .map = host_map, .done = host_done, .stopped = host_done,
    .came = nobody, .left = nobody, .says = says,
};

static Device *make(const char *type, const char *node)
{
    Error *e = NULL;
    Device *d = bench_create(board, device_type_find(type), NULL, &e);

    if (d == NULL || (node != NULL && !device_set(d, "drive", node, &e)) || !device_realize(d, &e)) {
        error_report(e);
        exit(1);
    }
    return d;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    thread_become_control();
    catalogue_register();
    backends_open();
    board = bench_new();
    bench_pci(board);
    make("virtio-scsi-pci", NULL);
    units[0] = (ScsiDev *)make("scsi-hd", "node0");
    units[1] = (ScsiDev *)make("scsi-cd", "flash0");
    bus = *units[0]->bus;
    bus.ops = &ops;
    return 0;
}

static bool is_over(void *arg)
{
    return ((Command *)arg)->over;
}

/* Returns how much of the input it was. */
static size_t one(const uint8_t *data, size_t size)
{
    Command *k = g_new0(Command, 1);
    uint8_t head[HEAD] = { 0 };
    size_t n = MIN(size, HEAD), out;

    memcpy(head, data, n);
    k->c.bus = &bus;
    k->c.loop = board->m->device_loop;
    k->c.target = units[head[0] & 1]->id;
    k->c.lun = head[0] & 0x20 ? 1 : units[head[0] & 1]->lun;
    k->c.room_in = (head[1] & 63) * (BUF / 64);
    k->c.room_out = head[2] & 0x40 ? head[2] & 63 : (head[2] & 63) * (BUF / 64);
    memcpy(k->c.cdb, head + 3, sizeof(k->c.cdb));
    out = MIN(k->c.room_out, size - n);
    k->buf = g_malloc0(BUF);
    memcpy(k->buf, data + n, out);
    scsi_cmd_start(&k->c);
    bench_until(board, is_over, k);
    must(units[0]->medium.in_use[0] == 0 && units[1]->medium.in_use[0] == 0, "the medium is still claimed");
    must(units[0]->in_use == 1 && units[1]->in_use == 1, "a unit is still in use");
    g_free(k->buf);
    g_free(k);
    return n + out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (unsigned i = 0; i < COMMANDS_MAX && size > 0; i++) {
        size_t n = one(data, size);
        data += n;
        size -= n;
    }
    for (unsigned i = 0; i < 2; i++) {
        scsi_dev_reset(units[i], SCSI_UA_POWER_ON);
        medium_reset(&units[i]->medium, false);
    }
    return 0;
}

void fuzz_end(void)
{
    bench_free(board);
}

/* Each code on each unit, with data to the guest and from it, after what a reset has to tell. */
GByteArray *fuzz_sample(unsigned i)
{
    static const uint8_t unmap[24] = { 0, 0x16, 0, 0x10, [15] = 8, [19] = 8 };
    static const uint8_t caching[24] = { [4] = 8, 0x12 };
    uint8_t code = i & 0xff, unit = i >> 8 & 1, ready[HEAD] = { unit }, head[HEAD] = { unit };
    uint8_t *cdb = head + 3;
    bool from = i & 0x200, list = code == 0x42 || code == 0x15 || code == 0x55;
    uint8_t n = list ? 24 : 1;

    if (i >= 1024) {
        return NULL;
    }
    head[1] = from ? 0 : 2;
    head[2] = !from ? 0 : list ? 0x40 | 24 : 1;
    cdb[0] = code;
    cdb[1] = code == 0x9e || code == 0x15 || code == 0x55 ? 0x10 : (code & 0x1f) == 0x0f ? 2 : 0;
    cdb[4] = cdb[8] = cdb[9] = cdb[13] = n;
    if (code >> 5 == 4) {
        cdb[4] = cdb[8] = cdb[9] = 0;
    } else if (code != 0x42) {
        cdb[4] = code >> 5 == 0 ? n : 0;
    }
    GByteArray *a = g_byte_array_new();
    g_byte_array_append(a, ready, HEAD);
    g_byte_array_append(a, head, HEAD);
    if (from && list) {
        g_byte_array_append(a, code == 0x42 ? unmap : caching, sizeof(unmap));
    } else if (from) {
        g_byte_array_set_size(a, 2 * HEAD + 1024);
        memset(a->data + 2 * HEAD, (int)(i & 1), 1024);
    }
    return a;
}
