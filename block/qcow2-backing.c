/* qcow2-backing.c: the name an image has for what is behind it.
 *
 * 1. All of it is in the first cluster (the format's "Header extensions" and "Backing file name"), which is
 *    written anew (qcow2_header_put()); extensions that are not known are kept as they are. */
#include <errno.h>
#include "block/qcow2-int.h"
#include "util/bytes.h"

#define EXT_END 0
#define EXT_FORMAT 0xe2792aca
#define EXT_FEATURES 0x6803f857
#define AT_BACKING 8           /* offset (8 bytes) and length (4) of the name */
#define NAME_MAX_BYTES 1023

/* Appends the extension @type with its padding. */
static void extension_add(GByteArray *to, uint32_t type, const void *data, uint32_t len)
{
    static const uint8_t zeroes[8];
    Be32 head[2] = { to_be32(type), to_be32(len) };

    g_byte_array_append(to, (const uint8_t *)head, sizeof(head));
    g_byte_array_append(to, data, len);
    g_byte_array_append(to, zeroes, -len & 7);
}

/* Appends the extensions of @head but for the backing format and, unless EXT_END, those of type @spare. */
static bool extensions_copy(GByteArray *to, const uint8_t *head, uint64_t from, uint64_t size,
                            uint32_t spare)
{
    while (from + 8 <= size) {
        uint32_t type = be32(*(const Be32 *)(head + from)), len = be32(*(const Be32 *)(head + from + 4));

        if (type == EXT_END) {
            return true;
        }
        if (len > size - from - 8) {
            return false;
        }
        if (type != EXT_FORMAT && type != spare) {
            extension_add(to, type, head + from + 8, len);
        }
        from += 8 + ALIGN_UP((uint64_t)len, 8);
    }
    return true;
}

/* The header cluster @old of @q, naming @file (NULL: nothing) of @format (or NULL), without extensions of
 * type @spare; NULL: those of @old are broken. */
static GByteArray *head_of(const Qcow2 *q, const uint8_t *old, const char *file, const char *format,
                           uint32_t spare)
{
    g_autoptr(GByteArray) head = g_byte_array_new();

    g_byte_array_append(head, old, (unsigned)q->h.length);
    if (file && format) {
        extension_add(head, EXT_FORMAT, format, (uint32_t)strlen(format));
    }
    if (!extensions_copy(head, old, q->h.length, q->cluster, spare)) {
        return NULL;
    }
    extension_add(head, EXT_END, "", 0);
    Be64 at = to_be64(file ? head->len : 0);
    Be32 len = to_be32(file ? (uint32_t)strlen(file) : 0);
    memcpy(head->data + AT_BACKING, &at, sizeof(at));
    memcpy(head->data + AT_BACKING + sizeof(at), &len, sizeof(len));
    if (file) {
        g_byte_array_append(head, (const uint8_t *)file, (unsigned)strlen(file));
    }
    return g_steal_pointer(&head);
}

bool qcow2_set_backing_file(BlkNode *n, const char *file, const char *format, Error **errp)
{
    Qcow2 *q = n->state;
    g_autoptr(GByteArray) head = NULL;
    g_autofree uint8_t *old = g_malloc0(q->cluster);
    int ret = qcow2_flush_meta(n, true);       /* nothing is left that is to be copied from what is behind */

    ret = ret < 0 ? ret : blk_pread(n->child, 0, old, MIN(q->cluster, blk_size(n->child)));
    if (ret < 0) {
        return error_set_errno(errp, -ret, "Could not read qcow2 header");
    }
    if (file && strlen(file) > NAME_MAX_BYTES) {
        return error_set(errp, "Backing file name too long");
    }
    head = head_of(q, old, file, format, EXT_END);
    if (!head) {
        return error_set(errp, "Header extension too large");
    }
    if (head->len > q->cluster) {              /* no room: the names of features are of least use */
        g_byte_array_unref(head);
        head = head_of(q, old, file, format, EXT_FEATURES);
    }
    if (head->len > q->cluster) {
        return error_set(errp, "Backing file name does not fit into the first cluster");
    }
    ret = qcow2_header_put(n, old, q->h.length, head);
    if (ret < 0) {
        return error_set_errno(errp, -ret, "Could not update qcow2 header");
    }
    g_free(q->h.backing_file);
    g_free(q->h.backing_format);
    q->h.backing_file = g_strdup(file);
    q->h.backing_format = file ? g_strdup(format) : NULL;
    return true;
}

const char *qcow2_backing_file(const BlkNode *n)
{
    const Qcow2 *q = n->state;

    return q->h.backing_file;
}
