/* backends.c: a ring buffer and a node of zeroes. */
#include "tests/conform/backends.h"

#include <stdlib.h>
#include <string.h>
#include "block/block.h"
#include "chardev/char.h"
#include "core/ram.h"

static void *find_chardev(const char *id, Error **errp)
{
    return chardev_need(id, errp);
}

static const char *id_of_chardev(void *target)
{
    return chardev_id(target);
}

static void *find_node(const char *id, Error **errp)
{
    BlkNode *n = blk_find(id);

    if (!n) {
        error_set(errp, "there is no block node '%s'", id);
    }
    return n;
}

static const char *id_of_node(void *target)
{
    return blk_name(target);
}

static void *find_memory(const char *id, Error **errp)
{
    RamBlock *b = ram_find(id);

    if (!b) {
        error_set(errp, "there is no memory back end '%s'", id);
    }
    return b;
}

static const char *id_of_memory(void *target)
{
    return ((RamBlock *)target)->id;
}

static const LinkClass classes[] = {
    { "memory-backend", find_memory, id_of_memory },
    { "chardev", find_chardev, id_of_chardev },
    { "blockdev", find_node, id_of_node },
};

static void must(bool ok, Error *e)
{
    if (!ok) {
        error_report(e);
        exit(2);
    }
}

void backends_open(void)
{
    const BlkOptions node = { .driver = "null-co", .node_name = "node0", .has_size = true,
                              .size = 64 << 20, .read_zeroes = true };
    const BlkOptions flash = { .driver = "null-co", .node_name = "flash0", .has_size = true,
                               .size = 1 << 20, .read_zeroes = true };
    g_autoptr(ChardevConfig) chr = NULL;
    Error *e = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(classes); i++) {
        link_class_register(&classes[i]);
    }
    must(qapi_opt_chardev("null,id=chr0", &chr, &e), e);
    must(chardev_new(chr, &e) != NULL, e);
    must(blk_open(&node, &e) != NULL && blk_open(&flash, &e) != NULL, e);
    must(ram_new_anon("mem0", 16 << 20, &e) != NULL, e);
}

static const char *id_for(const PropDesc *p)
{
    if (strcmp(p->link_class, "chardev") == 0) {
        return "chr0";
    }
    if (strcmp(p->link_class, "memory-backend") == 0) {
        return "mem0";
    }
    return strcmp(p->link_class, "blockdev") == 0 ? "node0" : NULL;
}

/* What a type cannot be realized without, or with less than, beyond the rest. */
static const struct Preset {
    const char *type, *prop, *value;
} presets[] = {
    { "pci-bridge", "chassis_nr", "1" },
    { "cfi.pflash01", "drive", "flash0" },
    { "nvme", "serial", "S" },
};

static bool set_links(Device *d, const PropDesc *table, Error **errp)
{
    for (const PropDesc *p = table; p && p->name; p++) {
        const char *id = p->kind == PROP_KIND_LINK ? id_for(p) : NULL;

        if (id && !device_set(d, p->name, id, errp)) {
            return false;
        }
    }
    return true;
}

bool backends_set(Device *d, Error **errp)
{
    for (Device *at = d; at; at = at->inner) {
        if (!set_links(at, at->type->slot->props, errp) || !set_links(at, at->type->props, errp)) {
            return false;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(presets); i++) {
        if (strcmp(presets[i].type, d->type->name) == 0 &&
            !device_set(d, presets[i].prop, presets[i].value, errp)) {
            return false;
        }
    }
    return true;
}
