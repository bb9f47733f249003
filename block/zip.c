/* zip.c: zlib (raw deflate, RFC 1951) and zstd (RFC 8878), see zip.h.
 *
 * 1. The libraries are opened at run time: a guest without compressed images does not load them. */
#include <dlfcn.h>
#include <errno.h>
#include <zlib.h>
#include <zstd.h>
#include "block/block.h"
#include "block/zip.h"
#include "util/bytes.h"
#include "util/crypt.h"

#define DEFLATE_WINDOW (-12)       /* 4 KiB, no header: what the format asks for */

static struct {
    __typeof__(&inflateInit2_) inflate_init;
    __typeof__(&inflate) inflate;
    __typeof__(&inflateEnd) inflate_end;
    __typeof__(&deflateInit2_) deflate_init;
    __typeof__(&deflate) deflate;
    __typeof__(&deflateEnd) deflate_end;
} zlib;

static struct {
    __typeof__(&ZSTD_createDCtx) dctx_new;
    __typeof__(&ZSTD_freeDCtx) dctx_free;
    __typeof__(&ZSTD_decompressStream) decompress;
    __typeof__(&ZSTD_compress) compress;
    __typeof__(&ZSTD_isError) is_error;
} zstd;

typedef struct Symbol {
    const char *name;
    void *at;                  /* a pointer to a function, to be filled */
} Symbol;

static bool load(const char *library, const Symbol *symbols, Error **errp)
{
    void *lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);

    for (; lib && symbols->name; symbols++) {
        void *f = dlsym(lib, symbols->name);

        if (!f) {
            break;
        }
        memcpy(symbols->at, &f, sizeof(f));
    }
    return (lib && !symbols->name) || error_set(errp, "Cannot use compressed clusters: %s", dlerror());
}

bool zip_load(ZipKind kind, Error **errp)
{
    const Symbol for_zlib[] = {
        { "inflate", &zlib.inflate }, { "inflateEnd", &zlib.inflate_end },
        { "deflateInit2_", &zlib.deflate_init }, { "deflate", &zlib.deflate },
        { "deflateEnd", &zlib.deflate_end }, { "inflateInit2_", &zlib.inflate_init }, { 0 },
    };
    const Symbol for_zstd[] = {
        { "ZSTD_freeDCtx", &zstd.dctx_free }, { "ZSTD_decompressStream", &zstd.decompress },
        { "ZSTD_compress", &zstd.compress }, { "ZSTD_isError", &zstd.is_error },
        { "ZSTD_createDCtx", &zstd.dctx_new }, { 0 },
    };

    assert_control();
    return kind == ZIP_ZSTD ? zstd.dctx_new || load("libzstd.so.1", for_zstd, errp)
                            : zlib.inflate_init || load("libz.so.1", for_zlib, errp);
}

void blk_load_libraries(void)
{
    zip_load(ZIP_ZLIB, NULL);
    zip_load(ZIP_ZSTD, NULL);
    crypt_load(NULL);
}

static int unpack_zlib(const uint8_t *src, size_t packed, uint8_t *dst, size_t len)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)src, .avail_in = (uInt)packed, .next_out = dst,
                   .avail_out = (uInt)len };

    if (zlib.inflate_init(&z, DEFLATE_WINDOW, ZLIB_VERSION, sizeof(z)) != Z_OK) {
        return -ENOMEM;
    }
    int ret = zlib.inflate(&z, Z_FINISH);
    zlib.inflate_end(&z);
    /* The stream may end short of its buffer or go on past ours: what counts is a full cluster. */
    return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) && z.avail_out == 0 ? 0 : -EIO;
}

static int unpack_zstd(const uint8_t *src, size_t packed, uint8_t *dst, size_t len)
{
    ZSTD_DCtx *d = zstd.dctx_new();
    ZSTD_inBuffer in = { src, packed, 0 };
    ZSTD_outBuffer out = { dst, len, 0 };
    int ret = d ? 0 : -ENOMEM;

    while (ret == 0 && out.pos < out.size) {
        size_t before = in.pos + out.pos;

        if (zstd.is_error(zstd.decompress(d, &out, &in)) || in.pos + out.pos == before) {
            ret = -EIO;
        }
    }
    zstd.dctx_free(d);
    return ret;
}

int zip_unpack(ZipKind kind, const uint8_t *src, size_t packed, uint8_t *dst, size_t len)
{
    return kind == ZIP_ZSTD ? unpack_zstd(src, packed, dst, len) : unpack_zlib(src, packed, dst, len);
}

int64_t zip_pack(ZipKind kind, const uint8_t *src, size_t len, uint8_t *dst, size_t room)
{
    if (kind == ZIP_ZSTD) {
        size_t got = zstd.compress(dst, room, src, len, 0);

        return zstd.is_error(got) ? -ENOSPC : (int64_t)got;
    }
    z_stream z = { .next_in = (Bytef *)(uintptr_t)src, .avail_in = (uInt)len, .next_out = dst,
                   .avail_out = (uInt)room };
    if (zlib.deflate_init(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, DEFLATE_WINDOW, 9, Z_DEFAULT_STRATEGY,
                          ZLIB_VERSION, sizeof(z)) != Z_OK) {
        return -EIO;
    }
    int ret = zlib.deflate(&z, Z_FINISH);
    int64_t got = (int64_t)room - z.avail_out;
    zlib.deflate_end(&z);
    return ret == Z_STREAM_END ? got : -ENOSPC;
}
