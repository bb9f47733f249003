/* info.c: rhea-img info. */
#include <inttypes.h>
#include <jansson.h>
#include "block/bitmap.h"
#include "img/img.h"
#include "util/bytes.h"

#define SEC UINT64_C(1000000000)

static json_t *json_bitmaps(const BlkNode *n)
{
    json_t *all = json_array();

    for (BlkBitmap *b = blk_bitmap_next(n, NULL); b; b = blk_bitmap_next(n, b)) {
        BlkBitmapInfo i = blk_bitmap_info(b);
        json_t *flags = json_array();

        if (i.inconsistent) {
            json_array_append_new(flags, json_string("in-use"));
        }
        if (i.recording) {
            json_array_append_new(flags, json_string("auto"));
        }
        json_array_append_new(all, json_pack("{so ss sI}", "flags", flags, "name", i.name, "granularity",
                                             (json_int_t)i.granularity));
    }
    return all;
}

static json_t *json_snapshots(const GArray *list)
{
    json_t *all = json_array();

    for (unsigned n = 0; n < list->len; n++) {
        const BlkSnapshot *s = &g_array_index(list, BlkSnapshot, n);
        json_t *one = json_object();

        if (s->icount != UINT64_MAX) {
            json_object_set_new(one, "icount", json_integer((json_int_t)s->icount));
        }
        json_object_set_new(one, "vm-clock-nsec", json_integer((json_int_t)(s->vm_clock_ns % SEC)));
        json_object_set_new(one, "name", json_string(s->name));
        json_object_set_new(one, "date-sec", json_integer(s->date_sec));
        json_object_set_new(one, "date-nsec", json_integer(s->date_nsec));
        json_object_set_new(one, "vm-clock-sec", json_integer((json_int_t)(s->vm_clock_ns / SEC)));
        json_object_set_new(one, "id", json_string(s->id));
        json_object_set_new(one, "vm-state-size", json_integer((json_int_t)s->vm_state_size));
        json_array_append_new(all, one);
    }
    return all;
}

/* @format: of an image that has others too. */
static json_t *json_luks(const BlkLuksInfo *l, bool format)
{
    json_t *slots = json_array();
    json_t *out = json_pack("{ss ss ss ss}", "ivgen-alg", l->ivgen_alg, "hash-alg", l->hash_alg, "cipher-alg",
                            l->cipher_alg, "uuid", l->uuid);

    for (unsigned i = 0; i < ARRAY_LEN(l->slots); i++) {
        json_t *s = json_pack("{sb}", "active", l->slots[i].active);

        if (l->slots[i].active) {
            json_object_set_new(s, "iters", json_integer(l->slots[i].iterations));
        }
        json_object_set_new(s, "key-offset", json_integer((json_int_t)l->slots[i].key_offset));
        if (l->slots[i].active) {
            json_object_set_new(s, "stripes", json_integer(l->slots[i].stripes));
        }
        json_array_append_new(slots, s);
    }
    if (l->ivgen_hash_alg) {
        json_object_set_new(out, "ivgen-hash-alg", json_string(l->ivgen_hash_alg));
    }
    if (format) {
        json_object_set_new(out, "format", json_string("luks"));
    }
    json_object_set_new(out, "cipher-mode", json_string(l->cipher_mode));
    json_object_set_new(out, "slots", slots);
    json_object_set_new(out, "payload-offset", json_integer((json_int_t)l->payload_offset));
    json_object_set_new(out, "master-key-iters", json_integer(l->iterations));
    return out;
}

static void human(BlkNode *n, const char *name, const char *below, const BlkImageInfo *i)
{
    g_autofree char *size = size_text(blk_size(n)), *used = size_text(i->allocated);

    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n", name,
           blk_driver_name(n), size, blk_size(n), used);
    if (i->encrypted) {
        printf("encrypted: yes\n");
    }
    if (i->cluster_size) {
        printf("cluster_size: %" PRIu64 "\n", i->cluster_size);
    }
    if (i->dirty) {
        printf("cleanly shut down: no\n");
    }
    if (i->backing_file && strcmp(below, i->backing_file) != 0) {
        printf("backing file: %s (actual path: %s)\n", i->backing_file, below);
    } else if (i->backing_file) {
        printf("backing file: %s\n", i->backing_file);
    }
    if (i->backing_format) {
        printf("backing file format: %s\n", i->backing_format);
    }
    g_autoptr(GArray) snapshots = i->qcow2 ? blk_snapshots(n, NULL) : NULL;
    if (snapshots && snapshots->len) {
        snapshots_print(snapshots);
    }
    specific_print(n, i);
}

static json_t *specific(const BlkNode *n, const BlkImageInfo *i)
{
    json_t *data = json_pack("{ss ss}", "compat", i->version >= 3 ? "1.1" : "0.10", "compression-type",
                             i->zstd ? "zstd" : "zlib");

    if (i->version >= 3) {
        json_object_set_new(data, "lazy-refcounts", json_boolean(i->lazy_refcounts));
    }
    if (blk_bitmap_next(n, NULL)) {
        json_object_set_new(data, "bitmaps", json_bitmaps(n));
    }
    json_object_set_new(data, "refcount-bits", json_integer(i->refcount_bits));
    if (i->encrypted) {
        json_t *how = i->luks ? json_luks(&i->luks_info, true) : json_pack("{ss}", "format", "aes");

        json_object_set_new(data, "encrypt", how);
    }
    if (i->data_file) {
        json_object_set_new(data, "data-file", json_string(i->data_file));
        json_object_set_new(data, "data-file-raw", json_boolean(i->data_file_raw));
    }
    if (i->version >= 3) {
        json_object_set_new(data, "corrupt", json_boolean(i->corrupt));
        json_object_set_new(data, "extended-l2", json_boolean(i->extended_l2));
    }
    return json_pack("{ss so}", "type", "qcow2", "data", data);
}

static json_t *as_json(BlkNode *n, const char *name, const char *below, const BlkImageInfo *i)
{
    g_autoptr(GArray) snapshots = i->qcow2 ? blk_snapshots(n, NULL) : NULL;
    json_t *out = json_object();

    if (snapshots && snapshots->len) {
        json_object_set_new(out, "snapshots", json_snapshots(snapshots));
    }
    if (i->backing_format) {
        json_object_set_new(out, "backing-filename-format", json_string(i->backing_format));
    }
    json_object_set_new(out, "virtual-size", json_integer((json_int_t)blk_size(n)));
    json_object_set_new(out, "filename", json_string(name));
    if (i->cluster_size) {
        json_object_set_new(out, "cluster-size", json_integer((json_int_t)i->cluster_size));
    }
    json_object_set_new(out, "format", json_string(blk_driver_name(n)));
    json_object_set_new(out, "actual-size", json_integer((json_int_t)i->allocated));
    if (i->qcow2) {
        json_object_set_new(out, "format-specific", specific(n, i));
    } else if (i->luks) {
        json_object_set_new(out, "format-specific", json_pack("{ss so}", "type", "luks", "data",
                                                              json_luks(&i->luks_info, false)));
    }
    if (i->encrypted) {
        json_object_set_new(out, "encrypted", json_true());
    }
    if (i->backing_file) {
        json_object_set_new(out, "full-backing-filename", json_string(below));
        json_object_set_new(out, "backing-filename", json_string(i->backing_file));
    }
    json_object_set_new(out, "dirty-flag", json_boolean(i->dirty));
    return out;
}

/* One image; *@below: the next of the chain, or NULL. */
static bool one(const Args *a, const char *name, const char *format, json_t *all, bool first, char **below,
                char **below_format, Error **errp)
{
    unsigned flags = OPEN_NO_BACKING | OPEN_LOOK | (a->share ? OPEN_SHARE : 0) |
                     (first && a->image_opts ? OPEN_OPTS : 0);
    BlkImageInfo i;
    Image image;

    if (!image_open(&image, name, format, NULL, flags, errp)) {
        return false;
    }
    blk_image_info(image.node, &i);
    const char *shown = *blk_filename(image.node) ? blk_filename(image.node) : name;
    *below = i.backing_file ? path_beside(shown, i.backing_file) : NULL;
    *below_format = g_strdup(i.backing_format);
    if (a->json) {
        json_array_append_new(all, as_json(image.node, shown, *below, &i));
    } else {
        printf("%s", first ? "" : "\n");
        human(image.node, shown, *below, &i);
    }
    image_close(&image);
    return true;
}

int cmd_info(Args *a)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *name = g_strdup(a->rest[0]), *format = g_strdup(a->format);
    json_t *all = json_array();
    Error *err = NULL;
    int status = 0;

    for (bool first = true; name && status == 0; first = false) {
        char *below = NULL, *below_format = NULL;

        if (!g_hash_table_add(seen, g_strdup(name))) {
            error_set(&err, "Backing file '%s' creates an infinite loop.", name);
            status = fail(1, err);
        } else if (!one(a, name, format, all, first, &below, &below_format, &err)) {
            status = fail(1, err);
        }
        g_free(name);
        g_free(format);
        name = a->chain ? below : (g_free(below), NULL);
        format = below_format;
    }
    if (a->json && status == 0) {
        g_autofree char *text = json_dumps(a->chain ? all : json_array_get(all, 0), JSON_INDENT(4));

        printf("%s\n", text);
    }
    json_decref(all);
    return status;
}
