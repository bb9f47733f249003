/* nbd-server.c: what a client sends to the NBD server, from the first byte or after a good handshake.
 *
 * The first byte says how it begins: 0, from scratch; 1, the export is chosen; 2, with structured replies and
 * contexts. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "block/nbd-proto.h"
#include "nbd/server.h"
#include "tests/fuzz/seeded.h"

static NbdServer *server;
static BlkNode *node;

static void put(GByteArray *b, uint64_t v, unsigned n)
{
    uint64_t be = htobe64(v << (64 - 8 * n));

    g_byte_array_append(b, (const guint8 *)&be, n);
}

static void put_option(GByteArray *b, uint32_t option, const GByteArray *data)
{
    put(b, NBD_OPTS_MAGIC, 8);
    put(b, option, 4);
    put(b, data ? data->len : 0, 4);
    if (data) {
        g_byte_array_append(b, data->data, data->len);
    }
}

static void put_meta(GByteArray *b, uint32_t option, const char *query)
{
    g_autoptr(GByteArray) d = g_byte_array_new();

    put(d, 0, 4);
    put(d, 1, 4);
    put(d, strlen(query), 4);
    g_byte_array_append(d, (const guint8 *)query, (guint)strlen(query));
    put_option(b, option, d);
}

static void put_go(GByteArray *b, uint32_t option)
{
    g_autoptr(GByteArray) d = g_byte_array_new();

    put(d, 0, 4);
    put(d, 2, 2);
    put(d, NBD_INFO_NAME, 2);
    put(d, NBD_INFO_DESCRIPTION, 2);
    put_option(b, option, d);
}

static void put_request(GByteArray *b, uint16_t type, uint16_t flags, uint64_t off, uint32_t len)
{
    put(b, NBD_REQUEST_MAGIC, 4);
    put(b, flags, 2);
    put(b, type, 2);
    put(b, off ^ 0x1234, 8);
    put(b, off, 8);
    put(b, len, 4);
    for (uint32_t i = 0; type == NBD_CMD_WRITE && i < len; i++) {
        put(b, i, 1);
    }
}

static void put_handshake(GByteArray *b, unsigned how)
{
    put(b, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 4);
    if (how == 2) {
        put_option(b, NBD_OPT_STRUCTURED_REPLY, NULL);
        put_meta(b, NBD_OPT_SET_META_CONTEXT, "base:allocation");
        put_go(b, NBD_OPT_GO);
    } else {
        put_option(b, NBD_OPT_EXPORT_NAME, NULL);
    }
}

GByteArray *fuzz_sample(unsigned i)
{
    GByteArray *b = g_byte_array_new();

    if (i > 2) {
        g_byte_array_unref(b);
        return NULL;
    }
    put(b, i, 1);
    if (i == 0) {
        put(b, NBD_FLAG_FIXED_NEWSTYLE, 4);
        put_option(b, NBD_OPT_LIST, NULL);
        put_option(b, NBD_OPT_STARTTLS, NULL);
        put_option(b, NBD_OPT_STRUCTURED_REPLY, NULL);
        put_meta(b, NBD_OPT_LIST_META_CONTEXT, "qemu:");
        put_meta(b, NBD_OPT_SET_META_CONTEXT, "base:allocation");
        put_go(b, NBD_OPT_INFO);
        put_go(b, NBD_OPT_GO);
    }
    for (uint16_t type = 0; type <= NBD_CMD_BLOCK_STATUS; type++) {
        if (type != NBD_CMD_DISC) {
            bool flush = type == NBD_CMD_FLUSH;

            put_request(b, type, type == NBD_CMD_WRITE ? NBD_CMD_FLAG_FUA : 0, flush ? 0 : 512 * type,
                        flush ? 0 : 700);
        }
    }
    put_request(b, NBD_CMD_DISC, 0, 0, 0);
    return b;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const BlkOptions o = { .driver = "null-co", .node_name = "n", .has_size = true, .size = 1 << 20,
                           .read_zeroes = true, .discard_unmap = true };
    const NbdServerOptions so = { .loops = 1 };
    const NbdExportOptions eo = { .name = "", .description = "d", .writable = true,
                                  .allocation_depth = true };

    thread_become_control();
    node = blk_open(&o, NULL);
    server = nbd_server_new(&so);
    nbd_export_new(server, node, &eo, NULL);
    return 0;
}

/* Sends @b and reads what comes until the server hangs up. */
static void talk(int fd, const GByteArray *b)
{
    uint8_t trash[16384];
    size_t at = 0;
    bool open = true;

    while (open) {
        struct pollfd p = { fd, POLLIN | (at < b->len ? POLLOUT : 0), 0 };

        loop_control_iterate(false);
        poll(&p, 1, 10);
        if (at < b->len && (p.revents & POLLOUT)) {
            ssize_t n = send(fd, b->data + at, b->len - at, MSG_DONTWAIT | MSG_NOSIGNAL);

            at = n > 0 ? at + n : n < 0 && errno == EAGAIN ? at : b->len;
            if (at == b->len) {
                shutdown(fd, SHUT_WR);
            }
        }
        if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
            ssize_t n = recv(fd, trash, sizeof(trash), MSG_DONTWAIT);

            open = n > 0 || (n < 0 && errno == EAGAIN);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) b = g_byte_array_new();
    int ends[2];

    if (size < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
        return 0;
    }
    if (data[0] % 3) {
        put_handshake(b, data[0] % 3);
    }
    g_byte_array_append(b, data + 1, (guint)(size - 1));
    nbd_server_adopt(server, ends[0]);
    talk(ends[1], b);
    close(ends[1]);
    while (nbd_server_connections(server)) {
        loop_control_iterate(true);
    }
    return 0;
}

static void stopped(void *arg)
{
    *(bool *)arg = true;
}

void fuzz_end(void)
{
    bool over = false;

    nbd_server_stop(server, stopped, &over);
    while (!over) {
        loop_control_iterate(true);
    }
    blk_close(node, NULL);
}
