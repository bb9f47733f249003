/* firmware.c: firmware images, see firmware.h.  The image is mapped from its file: guests share it. */
#include "hw/board/firmware.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "util/bytes.h"

#define ISA_BIOS_MAX (128 * KiB)

static GPtrArray *added;       /* char *: -L */

/* Where Debian's packages put firmware. */
static const char *const folders[] = {
    "/usr/share/seabios", "/usr/share/qemu", "/usr/share/OVMF", "/usr/lib/ipxe/qemu", "/usr/share/vgabios",
};

void firmware_path_add(const char *dir)
{
    if (added == NULL) {
        added = g_ptr_array_new();
    }
    g_ptr_array_add(added, g_strdup(dir));
}

static char *in_folder(const char *dir, const char *name)
{
    char *path = g_build_filename(dir, name, NULL);

    if (g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
        return path;
    }
    g_free(path);
    return NULL;
}

char *firmware_find(const char *name, Error **errp)
{
    g_autoptr(GString) looked = g_string_new(NULL);

    if (g_file_test(name, G_FILE_TEST_IS_REGULAR)) {
        return g_strdup(name);
    }
    for (unsigned i = 0; strchr(name, '/') == NULL && added != NULL && i < added->len; i++) {
        char *path = in_folder(g_ptr_array_index(added, i), name);
        if (path != NULL) {
            return path;
        }
        g_string_append_printf(looked, "%s ", (char *)g_ptr_array_index(added, i));
    }
    for (unsigned i = 0; strchr(name, '/') == NULL && i < ARRAY_LEN(folders); i++) {
        char *path = in_folder(folders[i], name);
        if (path != NULL) {
            return path;
        }
        g_string_append_printf(looked, "%s ", folders[i]);
    }
    if (strchr(name, '/') != NULL && access(name, R_OK) < 0) {
        error_set_errno(errp, errno, "-bios: could not load PC BIOS '%s'", name);
        return NULL;
    }
    error_set(errp, "-bios: could not load PC BIOS '%s'", name);
    if (looked->len > 0) {
        error_hint(errp, "looked in: %s(package seabios has SeaBIOS, -L adds a folder)", looked->str);
    }
    return NULL;
}

bool firmware_map(FirmwareRom *f, Device *owner, Region *box, const char *name, Error **errp)
{
    g_autofree char *path = firmware_find(name, errp);
    RamConfig c = { .source = RAM_FILE, .path = path, .readonly = true, .dump = true };
    struct stat st;
    uint64_t low;

    if (path == NULL) {
        return false;
    }
    if (stat(path, &st) < 0 || st.st_size == 0 || st.st_size % (64 * KiB) != 0 || st.st_size > 16 * MiB) {
        return error_set(errp, "-bios: could not load PC BIOS '%s': its size is not a multiple of 64 KiB "
                         "up to 16 MiB",
                         path);
    }
    c.size = st.st_size;
    f->ram = ram_new("pc.bios", &c, errp);
    if (f->ram == NULL) {
        return false;
    }
    low = MIN(c.size, ISA_BIOS_MAX);
    region_rom(&f->rom, owner, "pc.bios", f->ram, 0, c.size);
    region_rom(&f->low, owner, "isa-bios", f->ram, c.size - low, low);
    map_begin();
    map_put(box, &f->rom, 4 * GiB - c.size, 0);
    map_put(box, &f->low, 1 * MiB - low, 0);
    map_commit();
    return true;
}

void firmware_unmap(FirmwareRom *f)
{
    if (f->ram != NULL) {
        map_begin();
        map_drop(&f->rom);
        map_drop(&f->low);
        map_commit();
        ram_free(f->ram);
        f->ram = NULL;
    }
}
