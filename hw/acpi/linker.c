/* linker.c: the table loader's command file, see linker.h.  Each command is 128 bytes: a 32-bit number,
 * its arguments, zero padding; names take 56 bytes. */
#include "hw/acpi/linker.h"

#include <string.h>
#include "util/bytes.h"

enum { NAME_SIZE = 56, COMMAND_SIZE = 128 };
enum { CMD_ALLOCATE = 1, CMD_POINTER = 2, CMD_CHECKSUM = 3 };

typedef struct LinkerFile {
    char *name;
    GByteArray *blob;
    unsigned align;
    LinkerZone zone;
    Gpa at;                    /* linker_place() */
} LinkerFile;

struct Linker {
    GPtrArray *files;
    GByteArray *script;
};

static void file_free(void *p)
{
    LinkerFile *f = p;

    g_free(f->name);
    g_byte_array_unref(f->blob);
    g_free(f);
}

Linker *linker_new(void)
{
    Linker *l = g_new0(Linker, 1);

    l->files = g_ptr_array_new_with_free_func(file_free);
    l->script = g_byte_array_new();
    return l;
}

void linker_free(Linker *l)
{
    if (l != NULL) {
        g_ptr_array_unref(l->files);
        g_byte_array_unref(l->script);
        g_free(l);
    }
}

static LinkerFile *find(const Linker *l, const char *name)
{
    for (unsigned i = 0; i < l->files->len; i++) {
        LinkerFile *f = g_ptr_array_index(l->files, i);
        if (strncmp(f->name, name, NAME_SIZE) == 0) {
            return f;
        }
    }
    return NULL;
}

GByteArray *linker_file(Linker *l, const char *name, unsigned align, LinkerZone zone)
{
    uint8_t cmd[COMMAND_SIZE] = { 0 };
    LinkerFile *f = g_new0(LinkerFile, 1);

    f->name = g_strdup(name);
    f->blob = g_byte_array_new();
    f->align = align;
    f->zone = zone;
    g_ptr_array_add(l->files, f);
    st32(cmd, CMD_ALLOCATE);
    memcpy(cmd + 4, name, strlen(name));
    st32(cmd + 4 + NAME_SIZE, align);
    cmd[8 + NAME_SIZE] = zone;
    g_byte_array_append(l->script, cmd, sizeof(cmd));
    return f->blob;
}

void linker_pointer(Linker *l, const char *file, unsigned off, unsigned size, const char *to_file)
{
    uint8_t cmd[COMMAND_SIZE] = { 0 };

    st32(cmd, CMD_POINTER);
    memcpy(cmd + 4, file, strlen(file));
    memcpy(cmd + 4 + NAME_SIZE, to_file, strlen(to_file));
    st32(cmd + 4 + 2 * NAME_SIZE, off);
    cmd[8 + 2 * NAME_SIZE] = size;
    g_byte_array_append(l->script, cmd, sizeof(cmd));
}

void linker_checksum(Linker *l, const char *file, unsigned off, unsigned start, unsigned len)
{
    uint8_t cmd[COMMAND_SIZE] = { 0 };

    st32(cmd, CMD_CHECKSUM);
    memcpy(cmd + 4, file, strlen(file));
    st32(cmd + 4 + NAME_SIZE, off);
    st32(cmd + 8 + NAME_SIZE, start);
    st32(cmd + 12 + NAME_SIZE, len);
    g_byte_array_append(l->script, cmd, sizeof(cmd));
}

const GByteArray *linker_script(const Linker *l)
{
    return l->script;
}

void linker_each_file(const Linker *l, void (*fn)(const char *name, const GByteArray *blob, void *arg),
                      void *arg)
{
    for (unsigned i = 0; i < l->files->len; i++) {
        LinkerFile *f = g_ptr_array_index(l->files, i);
        fn(f->name, f->blob, arg);
    }
}

static void run_pointer(Linker *l, const uint8_t *cmd)
{
    LinkerFile *dst = find(l, (const char *)cmd + 4);
    LinkerFile *src = find(l, (const char *)cmd + 4 + NAME_SIZE);
    uint32_t off = ld32(cmd + 4 + 2 * NAME_SIZE);
    unsigned size = cmd[8 + 2 * NAME_SIZE];

    st_n(dst->blob->data + off, size, ld_n(dst->blob->data + off, size) + src->at);
}

static void run_checksum(Linker *l, const uint8_t *cmd)
{
    LinkerFile *f = find(l, (const char *)cmd + 4);
    uint32_t off = ld32(cmd + 4 + NAME_SIZE), start = ld32(cmd + 8 + NAME_SIZE);
    uint32_t len = ld32(cmd + 12 + NAME_SIZE);
    uint8_t sum = 0;

    for (uint32_t i = 0; i < len; i++) {
        sum += f->blob->data[start + i];
    }
    f->blob->data[off] -= sum;
}

bool linker_place(Linker *l, Gpa *high, Gpa *fseg,
                  bool (*put)(Gpa at, const void *bytes, size_t n, void *arg), void *arg)
{
    for (unsigned i = 0; i < l->files->len; i++) {
        LinkerFile *f = g_ptr_array_index(l->files, i);
        if (f->zone == ZONE_HIGH) {
            if (f->blob->len > *high) {
                return false;
            }
            *high = ALIGN_DOWN(*high - f->blob->len, MAX(f->align, 1));
            f->at = *high;
        } else {
            f->at = ALIGN_UP(*fseg, MAX(f->align, 1));
            *fseg = f->at + f->blob->len;
        }
    }
    for (unsigned at = 0; at < l->script->len; at += COMMAND_SIZE) {
        const uint8_t *cmd = l->script->data + at;
        if (ld32(cmd) == CMD_POINTER) {
            run_pointer(l, cmd);
        } else if (ld32(cmd) == CMD_CHECKSUM) {
            run_checksum(l, cmd);
        }
    }
    for (unsigned i = 0; i < l->files->len; i++) {
        LinkerFile *f = g_ptr_array_index(l->files, i);
        if (!put(f->at, f->blob->data, f->blob->len, arg)) {
            return false;
        }
    }
    return true;
}

GByteArray *linker_blob(const Linker *l, const char *name)
{
    return find(l, name)->blob;
}

Gpa linker_address(const Linker *l, const char *name)
{
    return find(l, name)->at;
}
