/* image.c: images that somebody else made: qcow2 with tables, snapshots, bitmaps and extensions, and luks.
 *
 * 1. The first byte of an input says what it is opened as, the rest is the file, which lies in memory.
 * 2. It is looked at, read and checked; then written on, then repaired.  Each ends soon, with FILE_MAX bytes
 *    of file, and what is written stays in the file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "block/bitmap.h"
#include "block/block-int.h"
#include "tests/fuzz/seeded.h"
#include "util/bytes.h"
#include "util/secret.h"
#include "util/thread.h"

#define FILE_MAX (8 * MiB)
#define LUKS_SIZE (3 * MiB)    /* a luks input ends with its first key slot; zeroes follow */
#define DISK_SIZE (192 * KiB)
#define READ_MAX MiB
#define SECONDS_MAX 10
#define MEMORY_MAX (2 * GiB)

static struct {
    uint8_t *bytes;            /* FILE_MAX of them */
    uint64_t size;
} file;
static Lock file_lock = LOCK_INIT(RANK_LEAF, "file");

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* --- the file in memory --- */

static bool ram_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    n->size = ALIGN_UP(file.size, 512);
    n->limits.can_grow = true;
    return true;
}

static int ram_do(BlkOp op, uint64_t off, const struct iovec *iov, unsigned niov, uint64_t len)
{
    bool beyond = off > FILE_MAX || len > FILE_MAX - off;

    if (op == BLK_FLUSH || op == BLK_DISCARD) {
        return 0;
    }
    if (op == BLK_READ) {
        uint64_t have = off < FILE_MAX ? MIN(len, FILE_MAX - off) : 0;

        blk_iov_write(iov, niov, 0, file.bytes + off, have);
        blk_iov_zero(iov, niov, have, len - have);
        return 0;
    }
    if (beyond) {
        return -ENOSPC;
    }
    if (op == BLK_WRITE) {
        blk_iov_read(iov, niov, 0, file.bytes + off, len);
    } else {
        memset(file.bytes + off, 0, len);
    }
    file.size = MAX(file.size, off + len);
    return 0;
}

static int ram_blocking(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, const struct iovec *iov,
                        unsigned niov, uint64_t len)
{
    lock_take(&file_lock);
    int ret = ram_do(op, off, iov, niov, len);
    lock_drop(&file_lock);
    return ret;
}

static void ram_submit(BlkLane *l, BlkReq *r)
{
    blk_complete_later(r, ram_blocking(l->node, r->op, r->flags, r->pos, r->cur, r->ncur, r->left));
}

static bool ram_truncate(BlkNode *n, uint64_t size, Error **errp)
{
    if (size > FILE_MAX) {
        return error_set(errp, "no space");
    }
    if (size < file.size) {
        memset(file.bytes + size, 0, file.size - size);
    }
    file.size = size;
    blk_set_size(n, size);
    return true;
}

static const BlkDriver ram_driver = {
    .name = "ram", .open = ram_open, .submit = ram_submit, .blocking = ram_blocking, .truncate = ram_truncate,
};

static void file_set(const uint8_t *data, size_t size, bool luks)
{
    memset(file.bytes, 0, MIN(FILE_MAX, ALIGN_UP(file.size, 512)));
    if (size > 0) {
        memcpy(file.bytes, data, MIN(size, FILE_MAX / 2));
    }
    file.size = luks ? LUKS_SIZE : MIN(size, FILE_MAX / 2);
}

/* --- what is done with an image --- */

typedef struct Image {
    BlkNode *n;
    BlkUser use;
} Image;

/* Does a header ask for few rounds, so that keys can be tried many times over? */
static bool key_is_cheap(void)
{
    for (unsigned slot = 0; slot < 8; slot++) {
        if (be32(*(const Be32 *)(file.bytes + 208 + 48 * slot + 4)) > 2000) {
            return false;
        }
    }
    return be32(*(const Be32 *)(file.bytes + 164)) <= 2000;
}

static bool image_open(Image *i, bool luks, bool read_only, bool repair)
{
    BlkOptions below = { .driver = "ram" };
    bool key = luks && key_is_cheap();
    BlkOptions o = { .driver = luks ? "luks" : "qcow2", .child = &below, .read_only = read_only,
                     .discard_unmap = true, .for_repair = repair, .backing_none = !luks, .no_data = !key,
                     .key_secret = key ? "key" : NULL };

    *i = (Image){ .n = blk_open(&o, NULL) };
    if (i->n == NULL) {
        return false;
    }
    unsigned need = BLK_PERM_READ | (read_only ? 0 : BLK_PERM_WRITE | BLK_PERM_RESIZE);
    if (!blk_attach(i->n, &i->use, "fuzzer", need, BLK_PERM_ALL, NULL)) {
        blk_close(i->n, NULL);
        return false;
    }
    return true;
}

static void image_close(Image *i)
{
    blk_detach(&i->use);
    blk_close(i->n, NULL);
}

static void read_all(BlkNode *n)
{
    g_autofree uint8_t *buf = g_malloc(READ_MAX);
    uint64_t size = blk_size(n), end = MIN(size, READ_MAX);

    if (blk_pread(n, 0, buf, end) < 0) {
        for (uint64_t at = 0; at < end; at += 4096) {
            blk_pread(n, at, buf, MIN(end - at, 4096));
        }
    }
    blk_pread(n, size - MIN(size, 4096), buf, MIN(size, 4096));
    for (uint64_t at = 0, steps = 0; at < size && steps < 1000; steps++) {
        BlkStatus s;

        if (blk_status(n, at, size - at, NULL, &s) < 0) {
            break;
        }
        must(s.len > 0 && s.len <= size - at, "a status of nothing, or of too much");
        at += s.len;
    }
}

static void look(BlkNode *n)
{
    BlkImageInfo info = { 0 };
    BlkCheck found = { 0 };

    blk_image_info(n, &info);
    for (const BlkBitmap *b = NULL; (b = blk_bitmap_next(n, b)) != NULL;) {
        blk_bitmap_info(b);
    }
    read_all(n);
    blk_check(n, 0, &found, NULL);
    g_autoptr(GArray) list = blk_snapshots(n, NULL);
    if (list != NULL && list->len > 0) {
        if (blk_snapshot_show(n, list->len - 1, NULL)) {
            read_all(n);
        }
    }
}

static void change(BlkNode *n)
{
    static uint8_t buf[20 * KiB];
    uint64_t size = blk_size(n);

    for (uint64_t i = 0, at = 0; i < 6 && at < size; i++, at += DISK_SIZE / 5 + 512) {
        uint64_t len = MIN(size - at, sizeof(buf));

        memset(buf, (int)i + 1, sizeof(buf));
        int ret = i % 3 == 0 ? blk_pwrite(n, at, buf, len)
                  : i % 3 == 1 ? blk_pdiscard(n, at, len) : blk_pzero(n, at, len, BLK_MAY_UNMAP);
        if (ret == 0 && i % 3 == 0) {
            memset(buf, 0, sizeof(buf));
            ret = blk_pread(n, at, buf, len);
            must(ret < 0 || (buf[0] == i + 1 && buf[len - 1] == i + 1), "what was written is not there");
        }
        blk_pflush(n);
    }
    blk_pwrite_compressed(n, 0, buf, MIN(size, 512));
    g_autoptr(GArray) list = blk_snapshots(n, NULL);
    blk_snapshot_create(n, &(BlkSnapshot){ .name = (char *)"new" }, NULL);
    if (list != NULL && list->len > 0) {
        blk_snapshot_apply(n, 0, NULL);
        blk_snapshot_delete(n, 0, NULL);
    }
    blk_truncate(n, blk_size(n) / 2, NULL);
    blk_truncate(n, MIN(size, UINT64_C(1) << 40) + 65536, NULL);
    blk_pflush(n);
}

static void repair(bool luks)
{
    BlkCheck found = { 0 };
    Image i;

    if (image_open(&i, luks, false, true)) {
        blk_check(i.n, BLK_FIX_LEAKS | BLK_FIX_ERRORS, &found, NULL);
        image_close(&i);
    }
    if (image_open(&i, luks, false, false)) {
        change(i.n);
        image_close(&i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gint64 start = g_get_monotonic_time();
    bool luks = size > 0 && data[0] & 1;
    Image i;

    if (size < 2) {
        return 0;
    }
    file_set(data + 1, size - 1, luks);
    if (image_open(&i, luks, true, false)) {
        look(i.n);
        image_close(&i);
    }
    if (image_open(&i, luks, false, false)) {
        change(i.n);
        image_close(&i);
    }
    file_set(data + 1, size - 1, luks);
    repair(luks);
    must(g_get_monotonic_time() - start < SECONDS_MAX * G_USEC_PER_SEC, "this took too long");
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    Error *err = NULL;

    thread_become_control();
    blk_add_driver(&ram_driver);
    file.bytes = g_malloc0(FILE_MAX);
    if (!secret_add("key", &(SecretOptions){ .data = "123456" }, &err)) {
        error_report(err);
        exit(1);
    }
    return 0;
}

void fuzz_end(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    must((uint64_t)u.ru_maxrss * KiB < MEMORY_MAX, "too much memory was in use");
    secret_remove("key");
    g_free(file.bytes);
}

/* --- samples --- */

/* Data, packed data, snapshots, and a bitmap. */
static void furnish(BlkNode *n, bool packed)
{
    g_autofree uint8_t *buf = g_malloc0(64 * KiB);
    Error *err = NULL;

    memset(buf, 0x5a, 64 * KiB);
    must(blk_pwrite(n, 0, buf, 20 * KiB) == 0, "cannot write");
    BlkBitmap *b = blk_bitmap_add(n, "map", 4096, true, NULL);
    if (b != NULL) {
        blk_bitmap_set(b, 0, 20 * KiB);
    }
    if (packed) {
        blk_pwrite_compressed(n, 64 * KiB, buf, 4096);
        blk_pwrite_compressed(n, 64 * KiB + 4096, buf, 4096);
    }
    must(blk_snapshot_create(n, &(BlkSnapshot){ .name = (char *)"one" }, &err), "cannot make a snapshot");
    must(blk_pwrite(n, 4096, buf, 8 * KiB) == 0, "cannot write");
}

GByteArray *fuzz_sample(unsigned i)
{
    const BlkCreate kinds[] = {
        { .driver = "qcow2", .cluster_size = 512 }, { .driver = "qcow2", .cluster_size = 4096, .zstd = true },
        { .driver = "qcow2", .cluster_size = 4096, .v2 = true },
        { .driver = "qcow2", .cluster_size = 512, .refcount_bits = 64, .lazy_refcounts = true,
          .backing_file = "below.raw", .backing_fmt = "raw" },
        { .driver = "qcow2", .cluster_size = 16384, .extended_l2 = true, .refcount_bits = 8 },
        { .driver = "luks", .luks = { .key_secret = "key", .has_iter_time = true, .iter_time = 1 } },
    };
    if (i >= G_N_ELEMENTS(kinds)) {
        return NULL;
    }
    bool luks = !strcmp(kinds[i].driver, "luks");
    BlkCreate c = kinds[i];
    BlkOptions below = { .driver = "ram" };
    BlkUser use = { 0 };
    Error *err = NULL;
    Image image;

    c.size = DISK_SIZE;
    file_set(NULL, 0, luks);
    BlkNode *n = blk_open(&below, &err);
    if (n == NULL || !blk_attach(n, &use, "maker", BLK_PERM_ALL, BLK_PERM_ALL, &err) ||
        !blk_format(n, NULL, &c, &err)) {
        error_report(err);
        exit(1);
    }
    blk_detach(&use);
    blk_close(n, NULL);
    if (!luks) {
        must(image_open(&image, false, false, false), "cannot open a new image");
        furnish(image.n, c.cluster_size == 4096);
        image_close(&image);
    }
    GByteArray *a = g_byte_array_new();
    uint8_t kind = luks;
    g_byte_array_append(a, &kind, 1);
    g_byte_array_append(a, file.bytes, (guint)(luks ? MIN(file.size, 264 * KiB) : file.size));
    return a;
}
