/* zip.h: compressing and decompressing clusters with zlib or zstd, opened when first needed; private
 * to block/. */
#ifndef BLOCK_ZIP_H
#define BLOCK_ZIP_H

#include <stdbool.h>
#include <stdint.h>
#include "util/error.h"
#include "util/loop.h"

typedef enum ZipKind { ZIP_ZLIB, ZIP_ZSTD } ZipKind;

/* Opens the library for @kind; false: it is not on this machine. */
CTX_CONTROL bool zip_load(ZipKind kind, Error **errp);
/* Fills @dst, @len bytes, with what the @packed bytes at @src unpack to; what follows the end of the
 * packed data is ignored.  0, or -EIO: they unpack to something else, or to nothing. */
CTX_ANY int zip_unpack(ZipKind kind, const uint8_t *src, size_t packed, uint8_t *dst, size_t len);
/* Packs @len bytes at @src into @dst; returns the packed size, at most @room, or -ENOSPC if it does
 * not fit there, or -EIO. */
CTX_ANY int64_t zip_pack(ZipKind kind, const uint8_t *src, size_t len, uint8_t *dst, size_t room);

#endif
