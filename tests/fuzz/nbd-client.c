/* nbd-client.c: what a server sends to the driver nbd, from the first byte or after a good handshake.
 *
 * The first byte says how it begins: 0, from scratch; 1, simple replies; 2, structured ones. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "block/block.h"
#include "block/nbd-proto.h"
#include "tests/fuzz/seeded.h"
#include "util/fdset.h"
#include "util/thread.h"

#define MOST (64 * 1024)       /* a socket takes so much before anybody reads */

static void put(GByteArray *b, uint64_t v, unsigned n)
{
    uint64_t be = htobe64(v << (64 - 8 * n));

    g_byte_array_append(b, (const guint8 *)&be, n);
}

static void put_reply(GByteArray *b, uint32_t option, uint32_t type, const GByteArray *data)
{
    put(b, NBD_REP_MAGIC, 8);
    put(b, option, 4);
    put(b, type, 4);
    put(b, data ? data->len : 0, 4);
    if (data) {
        g_byte_array_append(b, data->data, data->len);
    }
}

static void put_handshake(GByteArray *b, bool structured)
{
    g_autoptr(GByteArray) info = g_byte_array_new(), context = g_byte_array_new();

    put(b, NBD_MAGIC, 8);
    put(b, NBD_OPTS_MAGIC, 8);
    put(b, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 2);
    put_reply(b, NBD_OPT_STRUCTURED_REPLY, structured ? NBD_REP_ACK : NBD_REP_ERR_UNSUP, NULL);
    if (structured) {
        put(context, 7, 4);
        g_byte_array_append(context, (const guint8 *)"base:allocation", 15);
        put_reply(b, NBD_OPT_SET_META_CONTEXT, NBD_REP_META_CONTEXT, context);
        put_reply(b, NBD_OPT_SET_META_CONTEXT, NBD_REP_ACK, NULL);
    }
    put(info, NBD_INFO_EXPORT, 2);
    put(info, 1 << 20, 8);
    put(info, 0xced, 2);
    put_reply(b, NBD_OPT_GO, NBD_REP_INFO, info);
    put_reply(b, NBD_OPT_GO, NBD_REP_ACK, NULL);
}

/* The handle of the @turn-th request, one at a time. */
static uint64_t handle(unsigned turn)
{
    return htobe64(GUINT64_TO_LE((uint64_t)turn << 32));
}

static void put_chunk(GByteArray *b, unsigned turn, uint16_t flags, uint16_t type, uint32_t len)
{
    put(b, NBD_STRUCTURED_REPLY_MAGIC, 4);
    put(b, flags, 2);
    put(b, type, 2);
    put(b, handle(turn), 8);
    put(b, len, 4);
}

GByteArray *fuzz_sample(unsigned i)
{
    g_autoptr(GByteArray) b = g_byte_array_new();
    static const uint8_t data[4096];

    if (i > 2) {
        return NULL;
    }
    put(b, i, 1);
    if (i == 0) {
        put_handshake(b, true);
    }
    if (i == 1) {
        for (unsigned turn = 1; turn <= 4; turn++) {
            put(b, NBD_SIMPLE_REPLY_MAGIC, 4);
            put(b, 0, 4);
            put(b, handle(turn), 8);
            g_byte_array_append(b, data, turn == 1 ? sizeof(data) : 0);
        }
        return g_steal_pointer(&b);
    }
    put_chunk(b, 1, 0, NBD_REPLY_OFFSET_DATA, 8 + 1024);
    put(b, 512, 8);
    g_byte_array_append(b, data, 1024);
    put_chunk(b, 1, NBD_REPLY_FLAG_DONE, NBD_REPLY_OFFSET_HOLE, 12);
    put(b, 512 + 1024, 8);
    put(b, 3072, 4);
    put_chunk(b, 2, NBD_REPLY_FLAG_DONE, NBD_REPLY_BLOCK_STATUS, 12);
    put(b, 7, 4);
    put(b, 4096, 4);
    put(b, NBD_STATE_ZERO, 4);
    put_chunk(b, 3, NBD_REPLY_FLAG_DONE, NBD_REPLY_NONE, 0);
    put_chunk(b, 4, NBD_REPLY_FLAG_DONE, NBD_REPLY_ERROR, 6);
    put(b, NBD_EIO, 4);
    put(b, 0, 2);
    return g_steal_pointer(&b);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    thread_become_control();
    return 0;
}

static void use(BlkNode *n)
{
    uint8_t buf[4096];
    BlkStatus s;

    blk_pread(n, 512, buf, sizeof(buf));
    blk_status(n, 0, 8192, NULL, &s);
    blk_pwrite(n, 0, buf, sizeof(buf));
    blk_pflush(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const BlkNbdOptions nbd = { .fd_name = "fuzz" };
    static const BlkOptions o = { .driver = "nbd", .node_name = "n", .nbd = &nbd, .auto_read_only = true };
    g_autoptr(GByteArray) b = g_byte_array_new();
    int ends[2];

    if (size < 1 || size > MOST || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return 0;
    }
    if (data[0] % 3) {
        put_handshake(b, data[0] % 3 == 2);
    }
    g_byte_array_append(b, data + 1, (guint)(size - 1));
    if (send(ends[1], b->data, b->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        close(ends[0]);
        close(ends[1]);
        return 0;
    }
    shutdown(ends[1], SHUT_WR);
    fd_name_put("fuzz", ends[0]);
    BlkNode *n = blk_open(&o, NULL);
    if (n) {
        use(n);
        blk_close(n, NULL);
    }
    close(ends[1]);
    return 0;
}

void fuzz_end(void)
{
}
