/* specific.c: what the formats have to say of themselves, for people. */
#include <inttypes.h>
#include "block/bitmap.h"
#include "img/img.h"
#include "util/bytes.h"

static const char *on_off(bool v)
{
    return v ? "true" : "false";
}

static void human_bitmaps(const BlkNode *n)
{
    unsigned at = 0;

    for (BlkBitmap *b = blk_bitmap_next(n, NULL); b; b = blk_bitmap_next(n, b)) {
        BlkBitmapInfo i = blk_bitmap_info(b);
        const char *flags[] = { i.inconsistent ? "in-use" : NULL, i.recording ? "auto" : NULL };
        unsigned shown = 0;

        printf("%s        [%u]:\n            flags:\n", at ? "" : "    bitmaps:\n", at);
        at++;
        for (unsigned f = 0; f < ARRAY_LEN(flags); f++) {
            if (flags[f]) {
                printf("                [%u]: %s\n", shown++, flags[f]);
            }
        }
        printf("            name: %s\n            granularity: %" PRIu64 "\n", i.name, i.granularity);
    }
}

/* With @deep spaces before each line. */
static void human_luks(const BlkLuksInfo *l, bool format, int deep)
{
    printf("%*sivgen alg: %s\n%*shash alg: %s\n", deep, "", l->ivgen_alg, deep, "", l->hash_alg);
    printf("%*scipher alg: %s\n%*suuid: %s\n", deep, "", l->cipher_alg, deep, "", l->uuid);
    if (l->ivgen_hash_alg) {
        printf("%*sivgen hash alg: %s\n", deep, "", l->ivgen_hash_alg);
    }
    if (format) {
        printf("%*sformat: luks\n", deep, "");
    }
    printf("%*scipher mode: %s\n%*sslots:\n", deep, "", l->cipher_mode, deep, "");
    for (unsigned i = 0; i < ARRAY_LEN(l->slots); i++) {
        printf("%*s[%u]:\n%*sactive: %s\n", deep + 4, "", i, deep + 8, "", on_off(l->slots[i].active));
        if (l->slots[i].active) {
            printf("%*siters: %u\n", deep + 8, "", l->slots[i].iterations);
        }
        printf("%*skey offset: %" PRIu64 "\n", deep + 8, "", l->slots[i].key_offset);
        if (l->slots[i].active) {
            printf("%*sstripes: %u\n", deep + 8, "", l->slots[i].stripes);
        }
    }
    printf("%*spayload offset: %" PRIu64 "\n%*smaster key iters: %u\n", deep, "", l->payload_offset, deep, "",
           l->iterations);
}

void specific_print(const BlkNode *n, const BlkImageInfo *i)
{
    if (!i->qcow2) {
        if (i->luks) {
            printf("Format specific information:\n");
            human_luks(&i->luks_info, false, 4);
        }
        return;
    }
    printf("Format specific information:\n    compat: %s\n    compression type: %s\n",
           i->version >= 3 ? "1.1" : "0.10", i->zstd ? "zstd" : "zlib");
    if (i->version >= 3) {
        printf("    lazy refcounts: %s\n", on_off(i->lazy_refcounts));
        human_bitmaps(n);
    }
    printf("    refcount bits: %u\n", i->refcount_bits);
    if (i->encrypted) {
        printf("    encrypt:\n");
    }
    if (i->luks) {
        human_luks(&i->luks_info, true, 8);
    } else if (i->encrypted) {
        printf("        format: aes\n");
    }
    if (i->data_file) {
        printf("    data file: %s\n    data file raw: %s\n", i->data_file, on_off(i->data_file_raw));
    }
    if (i->version >= 3) {
        printf("    corrupt: %s\n    extended l2: %s\n", on_off(i->corrupt), on_off(i->extended_l2));
    }
}
