/* io-transfer.c: rhea-io: read, write, discard, flush and their relatives.
 *
 * 1. A transfer is described by its options once, then done and reported by the same code for all commands.
 *    */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>
#include "img/io.h"
#include "util/bytes.h"
#include "util/clock.h"

#define BUFFER_MAX (2 * GiB)

typedef struct Transfer {
    bool quiet, machine, dump, verify, zero, compress, fua, unmap, no_fallback, invalid;
    uint64_t pattern, verify_at, verify_len;
    bool has_at, has_len;
    const char *source;
    uint64_t off, len;
} Transfer;

/* --- reports --- */

static void report(const char *verb, const Transfer *t, int64_t ns)
{
    double seconds = MAX((double)ns, 1) / 1e9;
    unsigned hundredths = (unsigned)(seconds * 100);

    if (t->quiet) {
        return;
    }
    if (t->machine) {
        printf("%" PRIu64 ",1,%u:%02u:%02u.%02u,%.3f,%.3f\n", t->len, hundredths / 360000,
               hundredths / 6000 % 60,
               hundredths / 100 % 60, hundredths % 100, (double)t->len / seconds, 1 / seconds);
        return;
    }
    g_autofree char *size = io_size((double)t->len), *rate = io_size((double)t->len / seconds);
    printf("%s %" PRIu64 "/%" PRIu64 " bytes at offset %" PRIu64 "\n%s, 1 ops; ", verb, t->len, t->len,
           t->off, size);
    if (hundredths >= 6000) {
        printf("%u:%02u:%02u.%02u", hundredths / 360000, hundredths / 6000 % 60, hundredths / 100 % 60,
               hundredths % 100);
    } else {
        printf("%02u.%02u sec", hundredths / 100, hundredths % 100);
    }
    printf(" (%s/sec and %.4f ops/sec)\n", rate, 1 / seconds);
}

static void dump(const uint8_t *p, uint64_t len, uint64_t off)
{
    for (uint64_t at = 0; at < len; at += 16) {
        uint64_t n = MIN(len - at, 16);

        printf("%08" PRIx64 ":  ", off + at);
        for (uint64_t i = 0; i < n; i++) {
            printf("%02x ", p[at + i]);
        }
        printf(" ");
        for (uint64_t i = 0; i < n; i++) {
            printf("%c", g_ascii_isalnum(p[at + i]) ? p[at + i] : '.');
        }
        printf("\n");
    }
}

/* --- options --- */

/* The byte that @text is, or says that it is none. */
static bool pattern_read(const char *text, uint64_t *out)
{
    char *end;

    *out = g_ascii_strtoull(text, &end, 0);
    if (g_ascii_isdigit(*text) && !*end && *out <= 0xff) {
        return true;
    }
    printf("%s is not a valid pattern byte\n", text);
    return false;
}

/* The words of a command before its offset; false: they were wrong, and it was said. */
static bool options_read(Transfer *t, const IoCommand *c, int argc, char **argv, const char *letters)
{
    int got;

    *t = (Transfer){ .pattern = 0xcd };
    optind = 0;
    opterr = 1;
    while ((got = getopt(argc, argv, letters)) != -1) {
        bool ok = true;

        switch (got) {
        case 'C': t->machine = true; break;
        case 'q': t->quiet = true; break;
        case 'v': t->dump = true; break;
        case 'z': t->zero = true; break;
        case 'c': t->compress = true; break;
        case 'f': t->fua = true; break;
        case 'u': t->unmap = true; break;
        case 'n': t->no_fallback = true; break;
        case 'a': case 'p': break;     /* for older scripts: neither changed anything */
        case 'P':
            t->verify = true;
            ok = pattern_read(optarg, &t->pattern);
            break;
        case 'l': t->has_len = true; ok = io_number(optarg, &t->verify_len); break;
        case 's':
            t->has_at = true;
            t->source = optarg;
            ok = !strchr(letters, 'l') || io_number(optarg, &t->verify_at);
            break;
        case 'b':
            printf("-b: there is no VM state here\n");
            return false;
        case 'i': t->invalid = true; break;
        default:
            io_usage(c);
            return false;
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

static const IoCommand *command_of(const char *name)
{
    const IoCommand *c = io_transfer_commands;

    while (strcmp(c->name, name) != 0 && !(c->alias && !strcmp(c->alias, name))) {
        c++;
    }
    return c;
}

/* "off len [len...]"; the lengths are added up. */
static bool range_read(Transfer *t, const IoCommand *c, int argc, char **argv, bool many)
{
    if (argc - optind < 2 || (!many && argc - optind > 2)) {
        io_usage(c);
        return false;
    }
    if (!io_number(argv[optind], &t->off)) {
        return false;
    }
    for (int i = optind + 1; i < argc; i++) {
        uint64_t len;

        if (!io_number(argv[i], &len)) {
            return false;
        }
        t->len += len;
        if (t->len > BUFFER_MAX) {
            printf("length cannot exceed %" PRIu64 ", given %s\n", BUFFER_MAX, argv[i]);
            return false;
        }
    }
    return true;
}

static int failed(const char *verb, int ret)
{
    printf("%s failed: %s\n", verb, errno_text(-ret));
    return ret;
}

/* Bytes between a page and the buffer. */
static unsigned buffer_lead(const Session *s)
{
    return s->misalign ? 16 : 0;
}

static uint8_t *buffer_new(const Session *s, uint64_t len, uint8_t fill)
{
    unsigned lead = buffer_lead(s);
    void *p = NULL;

    if (posix_memalign(&p, 4096, len + lead ? len + lead : 1)) {
        printf("no memory for %" PRIu64 " bytes\n", len);
        return NULL;
    }
    memset((uint8_t *)p + lead, fill, len);
    return (uint8_t *)p + lead;
}

static void buffer_free(const Session *s, uint8_t *buf)
{
    free(buf ? buf - buffer_lead(s) : NULL);
}

/* --- reading --- */

static bool verified(const Transfer *t, const uint8_t *buf)
{
    uint64_t at = t->has_at ? t->verify_at : 0, len = t->has_len ? t->verify_len : t->len - at;

    for (uint64_t i = 0; i < len; i++) {
        if (buf[at + i] != t->pattern) {
            printf("Pattern verification failed at offset %" PRIu64 ", %" PRIu64 " bytes\n", t->off + at,
                   len);
            return false;
        }
    }
    return true;
}

/* A transfer and where its bytes are. */
typedef struct Io {
    Aio aio;
    Session *s;
    Transfer t;
    const char *name;          /* in reports */
    uint8_t *buf;
    int64_t ns;
    int ret;
} Io;

static void read_run(Io *io)
{
    int64_t start = clock_now(CLOCK_HOST);

    io->ret = blk_pread(io->s->image.node, io->t.off, io->buf, io->t.len);
    io->ns = clock_now(CLOCK_HOST) - start;
}

static int read_tell(Io *io)
{
    const Transfer *t = &io->t;
    int ret = io->ret;

    if (ret < 0) {
        failed(io->name, ret);
    } else {
        ret = !t->verify || verified(t, io->buf) ? 0 : -EINVAL;
        if (t->dump && !t->quiet) {
            dump(io->buf, t->len, t->off);
        }
        report("read", t, io->ns);
    }
    buffer_free(io->s, io->buf);
    return ret;
}

static void aio_read_run(Aio *a)
{
    read_run(container_of(a, Io, aio));
}

static void aio_read_tell(Aio *a)
{
    Io *io = container_of(a, Io, aio);

    read_tell(io);
    g_free(io);
}

/* @io goes on by itself; it was copied. */
static int io_start(const Io *io, void (*run)(Aio *a), void (*tell)(Aio *a))
{
    Io *own = g_new0(Io, 1);

    *own = *io;
    own->aio = (Aio){ .run = run, .tell = tell };
    if (aio_start(io->s, &own->aio)) {
        return 0;
    }
    buffer_free(io->s, io->buf);
    g_free(own);
    return -EAGAIN;
}

static int read_as(Session *s, int argc, char **argv, const char *letters, bool many)
{
    const IoCommand *c = command_of(argv[0]);
    bool aio = g_str_has_prefix(argv[0], "aio");
    Io io = { .s = s, .name = aio ? "aio_read" : many ? "readv" : "read" };
    Transfer *t = &io.t;

    if (!options_read(t, c, argc, argv, letters) || !range_read(t, c, argc, argv, many)) {
        return -EINVAL;
    }
    if (!t->verify && (t->has_at || t->has_len) && strchr(letters, 'l')) {
        io_usage(c);
        return -EINVAL;
    }
    if (t->verify_at > t->len || t->verify_len > t->len - t->verify_at) {
        printf("pattern verification range exceeds end of read data\n");
        return -EINVAL;
    }
    io.buf = buffer_new(s, t->len, 0xab);
    if (!io.buf) {
        return -ENOMEM;
    }
    if (t->invalid) {
        printf("injecting invalid read request\n");
        buffer_free(s, io.buf);
        return 0;
    }
    if (aio) {
        return io_start(&io, aio_read_run, aio_read_tell);
    }
    read_run(&io);
    return read_tell(&io);
}

static int run_read(Session *s, int argc, char **argv)
{
    return read_as(s, argc, argv, "abCl:pP:qs:v", false);
}

static int run_readv(Session *s, int argc, char **argv)
{
    return read_as(s, argc, argv, strcmp(argv[0], "readv") ? "CP:iqv" : "CP:qv", true);
}

/* --- writing --- */

/* Fills @buf with the file over and over. */
static int fill_from(const char *path, uint8_t *buf, uint64_t len)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) err = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    gsize have = 0;

    if (fd < 0) {
        int ret = -errno;

        fprintf(stderr, "%s: %s\n", path, errno_text(-ret));
        return ret;
    }
    close(fd);
    if (!g_file_get_contents(path, &text, &have, &err) || !have) {
        fprintf(stderr, "%s: %s\n", path, err ? err->message : "file is empty");
        return -EINVAL;
    }
    for (uint64_t i = 0; i < len; i++) {
        buf[i] = (uint8_t)text[i % have];
    }
    return 0;
}

/* False, said: options that do not go together. */
static bool write_ok(const Transfer *t, bool aio, int numbers)
{
    const struct { bool wrong; const char *text; } rules[] = {
        { aio && t->zero && numbers > 2, "-z supports only a single length parameter" },
        { t->compress && t->zero, "-c and -z cannot be specified at the same time" },
        { t->fua && t->compress, "-f and -c cannot be specified at the same time" },
        { t->no_fallback && !t->zero, "-n requires -z to be specified" },
        { t->unmap && !t->zero, "-u requires -z to be specified" },
        { !aio && t->zero + t->verify + (t->source != NULL) > 1,
          "Only one of -z, -P, and -s can be specified at the same time" },
    };

    for (unsigned i = 0; i < ARRAY_LEN(rules); i++) {
        if (rules[i].wrong) {
            printf("%s\n", rules[i].text);
            return false;
        }
    }
    return true;
}

static int put(Session *s, const Transfer *t, const uint8_t *buf)
{
    BlkNode *n = s->image.node;
    int ret;

    if (t->zero) {
        return blk_pzero(n, t->off, t->len, (t->unmap ? BLK_MAY_UNMAP : 0) | (t->fua ? BLK_FUA : 0) |
                                            (t->no_fallback ? BLK_NO_FALLBACK : 0));
    }
    ret = t->compress ? blk_pwrite_compressed(n, t->off, buf, t->len) : blk_pwrite(n, t->off, buf, t->len);
    return ret == 0 && t->fua ? blk_pflush(n) : ret;
}

static void write_run(Io *io)
{
    int64_t start = clock_now(CLOCK_HOST);

    io->ret = put(io->s, &io->t, io->buf);
    io->ns = clock_now(CLOCK_HOST) - start;
}

static int write_tell(Io *io)
{
    if (io->ret < 0) {
        failed(io->name, io->ret);
    } else {
        report("wrote", &io->t, io->ns);
    }
    buffer_free(io->s, io->buf);
    return io->ret;
}

static void aio_write_run(Aio *a)
{
    write_run(container_of(a, Io, aio));
}

static void aio_write_tell(Aio *a)
{
    Io *io = container_of(a, Io, aio);

    write_tell(io);
    g_free(io);
}

static int write_as(Session *s, int argc, char **argv, const char *letters, bool many)
{
    const IoCommand *c = command_of(argv[0]);
    bool aio = g_str_has_prefix(argv[0], "aio");
    Io io = { .s = s, .name = aio ? "aio_write" : many ? "writev" : "write" };
    Transfer *t = &io.t;

    if (!io_writable(s)) {
        return -EACCES;
    }
    if (!options_read(t, c, argc, argv, letters) || !write_ok(t, aio, argc - optind) ||
        !range_read(t, c, argc, argv, many)) {
        return -EINVAL;
    }
    if (t->invalid) {
        printf("injecting invalid write request\n");
        return 0;
    }
    io.buf = t->zero ? NULL : buffer_new(s, t->len, (uint8_t)t->pattern);
    int ret = !t->zero && !io.buf ? -ENOMEM : t->source ? fill_from(t->source, io.buf, t->len) : 0;
    if (ret < 0) {
        buffer_free(s, io.buf);
        return ret;
    }
    if (aio) {
        return io_start(&io, aio_write_run, aio_write_tell);
    }
    write_run(&io);
    return write_tell(&io);
}

static int run_write(Session *s, int argc, char **argv)
{
    return write_as(s, argc, argv, "bcCfnpP:qs:uz", false);
}

static int run_writev(Session *s, int argc, char **argv)
{
    return write_as(s, argc, argv, strcmp(argv[0], "writev") ? "CfiP:quz" : "CfqP:", true);
}

/* --- the others --- */

static int run_discard(Session *s, int argc, char **argv)
{
    const IoCommand *c = command_of(argv[0]);
    Transfer t;

    if (!io_writable(s)) {
        return -EACCES;
    }
    if (!options_read(&t, c, argc, argv, "Cq") || !range_read(&t, c, argc, argv, false)) {
        return -EINVAL;
    }
    int64_t start = clock_now(CLOCK_HOST);
    int ret = blk_pdiscard(s->image.node, t.off, t.len);
    if (ret < 0) {
        return failed("discard", ret);
    }
    report("discard", &t, clock_now(CLOCK_HOST) - start);
    return 0;
}

static int run_flush(Session *s, int argc, char **argv)
{
    int ret = blk_pflush(s->image.node);

    return ret < 0 ? failed("flush", ret) : 0;
}

static int run_aio_flush(Session *s, int argc, char **argv)
{
    if (!aio_wait(s)) {
        printf("aio_flush failed: a breakpoint has stopped a request\n");
        return -EBUSY;
    }
    return 0;
}

const IoCommand io_transfer_commands[] = {
    { "aio_flush", NULL, 0, 0, true, NULL, "completes all outstanding aio requests", run_aio_flush },
    { "aio_read", NULL, 2, -1, true, "[-Ciqv] [-P pattern] off len [len..]",
      "asynchronously reads a number of bytes",
      run_readv },
    { "aio_write", NULL, 2, -1, true, "[-Cfiquz] [-P pattern] off len [len..]",
      "asynchronously writes a number of bytes", run_writev },
    { "discard", "d", 2, -1, true, "[-Cq] off len", "discards a number of bytes at a specified offset",
      run_discard },
    { "flush", "f", 0, 0, true, NULL, "flush all in-core file state to disk", run_flush },
    { "read", "r", 2, -1, true, "[-abCqv] [-P pattern [-s off] [-l len]] off len",
      "reads a number of bytes at a specified offset", run_read },
    { "readv", NULL, 2, -1, true, "[-Cqv] [-P pattern] off len [len..]",
      "reads a number of bytes at a specified offset", run_readv },
    { "write", "w", 2, -1, true, "[-bcCfnquz] [-P pattern | -s source_file] off len",
      "writes a number of bytes at a specified offset", run_write },
    { "writev", NULL, 2, -1, true, "[-Cfq] [-P pattern] off len [len..]",
      "writes a number of bytes at a specified offset", run_writev },
    { 0 },
};
