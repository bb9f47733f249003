/* dump-compress.c: the compressors of the kdump formats, in libraries that are opened on first use.
 *
 * 1. Declarations are those of zlib.h, lzo1x.h and snappy-c.h; the libraries' binary interfaces are fixed
 *    by their sonames.
 * 2. One dump runs at a time: the buffers are static. */
#include <dlfcn.h>
#include <string.h>
#include "debug/dump-int.h"
#include "util/bytes.h"

#define ROOM (2 * DUMP_PAGE)           /* more than any of them needs for a page */
#define LZO_WORK (16384 * sizeof(void *))
#define ZLIB_FASTEST 1

typedef int ZlibCompress(uint8_t *to, unsigned long *to_n, const uint8_t *from, unsigned long n, int level);
typedef int LzoCompress(const uint8_t *from, unsigned long n, uint8_t *to, unsigned long *to_n, void *work);
typedef int SnappyCompress(const char *from, size_t n, char *to, size_t *to_n);

static void *symbols[DUMP_FORMATS];
static uint8_t room[ROOM];

static size_t keep(size_t n, uint8_t *out)
{
    if (n >= DUMP_PAGE) {
        return 0;
    }
    memcpy(out, room, n);
    return n;
}

static size_t compress_zlib(const uint8_t *page, uint8_t *out)
{
    unsigned long n = ROOM;

    return ((ZlibCompress *)symbols[DUMP_ZLIB])(room, &n, page, DUMP_PAGE, ZLIB_FASTEST) == 0 ? keep(n,
                                                                                                     out) : 0;
}

static size_t compress_lzo(const uint8_t *page, uint8_t *out)
{
    static uint64_t work[LZO_WORK / sizeof(uint64_t)];
    unsigned long n = ROOM;

    return ((LzoCompress *)symbols[DUMP_LZO])(page, DUMP_PAGE, room, &n, work) == 0 ? keep(n, out) : 0;
}

static size_t compress_snappy(const uint8_t *page, uint8_t *out)
{
    size_t n = ROOM;

    return ((SnappyCompress *)symbols[DUMP_SNAPPY])((const char *)page, DUMP_PAGE, (char *)room, &n) == 0
               ? keep(n, out) : 0;
}

static const struct {
    const char *library, *symbol;
    DumpCompress *run;
} kinds[DUMP_FORMATS] = {
    [DUMP_ZLIB] = { "libz.so.1", "compress2", compress_zlib },
    [DUMP_LZO] = { "liblzo2.so.2", "lzo1x_1_compress", compress_lzo },
    [DUMP_SNAPPY] = { "libsnappy.so.1", "snappy_compress", compress_snappy },
};

DumpCompress *dump_compressor(DumpFormat f)
{
    if (symbols[f] == NULL && kinds[f].library != NULL) {
        void *library = dlopen(kinds[f].library, RTLD_NOW | RTLD_LOCAL);

        symbols[f] = library != NULL ? dlsym(library, kinds[f].symbol) : NULL;
    }
    return symbols[f] != NULL ? kinds[f].run : NULL;
}

bool dump_has_format(DumpFormat f)
{
    return f == DUMP_ELF || dump_compressor(f) != NULL;
}
