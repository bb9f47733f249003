/* hmp-tree.c: info qtree, qdm, qom-tree, mtree, pci: the machine as a tree. */
#include <string.h>
#include "core/ram.h"
#include "core/region.h"
#include "monitor/hmp-int.h"

/* Prints @take_text. */
static void print_text(Hmp *h, GString *take_text)
{
    hmp_printf(h, "%s", take_text->str);
    g_string_free(take_text, TRUE);
}

HMP_RUN(hmp_info_mtree)
{
    bool owners = hmp_flag(a, "owner");

    print_text(h, hmp_flag(a, "flatview") ? spaces_dump_flat(owners) : spaces_dump_tree(owners));
}

HMP_RUN(hmp_info_qdm)
{
    print_text(h, device_help_all());
}

void hmp_device_help(Hmp *h, const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", 2);
    const DeviceType *t = device_type_find(parts[0]);

    print_text(h, t != NULL && parts[1] != NULL ? device_help_type(t) : device_help_all());
}

/* --- info qtree --- */

static void print_prop(Hmp *h, unsigned depth, Device *d, const PropDesc *p)
{
    g_autofree char *text = device_get(d, p->name);

    hmp_printf(h, "%*s%s = ", depth, "", p->name);
    switch (p->kind) {
    case PROP_KIND_BOOL:
        hmp_printf(h, "%s\n", g_strcmp0(text, "on") == 0 || g_strcmp0(text, "true") == 0 ? "true" : "false");
        break;
    case PROP_KIND_SIZE: {
        uint64_t n = text != NULL ? g_ascii_strtoull(text, NULL, 0) : 0;

        hmp_printf(h, "%" PRIu64 " (", n);
        hmp_print_size(h, n);
        hmp_printf(h, ")\n");
        break;
    }
    case PROP_KIND_U8:
    case PROP_KIND_U16:
    case PROP_KIND_U32:
    case PROP_KIND_U64: {
        uint64_t n = text != NULL ? g_ascii_strtoull(text, NULL, 0) : 0;

        hmp_printf(h, "%" PRIu64 " (0x%" PRIx64 ")\n", n, n);
        break;
    }
    case PROP_KIND_I32:
        hmp_printf(h, "%s\n", text);
        break;
    default:
        hmp_printf(h, "\"%s\"\n", text != NULL ? text : "");
    }
}

static void print_props(Hmp *h, unsigned depth, Device *d, const PropDesc *props)
{
    for (const PropDesc *p = props; p != NULL && p->name != NULL; p++) {
        if (!(p->flags & PROP_COMPAT)) {
            print_prop(h, depth, d, p);
        }
    }
}

static void print_bus(Hmp *h, unsigned depth, const Bus *b);

/* The user gave it an id. */
static bool has_id(const Device *d)
{
    return d->user_made && d->parent != machine()->peripheral_anon;
}

/* A chip's registers; not the memory and the windows of a whole board. */
static bool is_mmio(const Region *r)
{
    return r->box == &machine()->mem_root && (r->kind == REGION_IO || r->kind == REGION_BOX) &&
           r->size != UINT64_MAX;
}

static void print_device(Hmp *h, unsigned depth, Device *d)
{
    hmp_printf(h, "%*sdev: %s, id \"%s\"\n", depth, "", d->type->name, has_id(d) ? d->id : "");
    depth += 2;
    print_props(h, depth, d, d->type->props);
    print_props(h, depth, d, d->type->slot->props);
    if (d->type->slot->describe != NULL) {
        g_autoptr(GString) lines = g_string_new(NULL);

        d->type->slot->describe(d, lines);
        g_auto(GStrv) line = g_strsplit(lines->str, "\n", -1);
        for (unsigned i = 0; line[i] != NULL && *line[i] != '\0'; i++) {
            hmp_printf(h, "%*s%s\n", depth, "", line[i]);
        }
    }
    for (const Region *r = d->region_first; d->bus == NULL && r != NULL; r = r->dev_next) {
        if (is_mmio(r)) {
            hmp_printf(h, "%*smmio %016" PRIx64 "/%016" PRIx64 "\n", depth, "", r->at, r->size);
        }
    }
    for (const Bus *b = d->bus_first; b != NULL; b = b->next) {
        print_bus(h, depth, b);
    }
}

static void print_bus(Hmp *h, unsigned depth, const Bus *b)
{
    hmp_printf(h, "%*sbus: %s\n%*s  type %s\n", depth, "", b->name, depth, "",
               b->type_name != NULL ? b->type_name : slot_bus_name(b->slot));
    for (Device *d = b->first; d != NULL; d = d->bus_next) {
        print_device(h, depth + 2, d);
    }
}

static void print_unplugged(Device *d, void *arg)
{
    if (d->bus == NULL && d->realized && strcmp(d->type->name, "container") != 0) {
        print_device(arg, 2, d);
    }
}

HMP_RUN(hmp_info_qtree)
{
    if (machine() == NULL) {
        return;
    }
    hmp_printf(h, "bus: main-system-bus\n  type System\n");
    device_walk(machine()->root, false, print_unplugged, h);
}

/* --- info qom-tree --- */

#define QOM_DEPTH 32u

/* "child<TYPE>" gives TYPE; NULL: the property is no child. */
static char *child_type(const json_t *row)
{
    const char *type = hmp_json_str(row, "type");

    return g_str_has_prefix(type, "child<") ? g_strndup(type + 6, strlen(type) - 7) : NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(hmp_json_str(*(json_t *const *)a, "name"), hmp_json_str(*(json_t *const *)b, "name"));
}

static void print_objects(Hmp *h, unsigned depth, const char *path, json_t *take_list)
{
    g_autoptr(json_t) list = take_list;
    g_autoptr(GPtrArray) rows = g_ptr_array_new();
    json_t *row;
    size_t i;

    json_array_foreach(list, i, row) {
        g_ptr_array_add(rows, row);
    }
    g_ptr_array_sort(rows, by_name);
    for (i = 0; i < rows->len; i++) {
        row = g_ptr_array_index(rows, i);
        g_autofree char *type = child_type(row);

        if (type != NULL) {
            g_autofree char *below = g_strdup_printf("%s/%s", strcmp(path, "/") == 0 ? "" : path,
                                                     hmp_json_str(row, "name"));

            hmp_printf(h, "%*s/%s (%s)\n", 2 * depth, "", hmp_json_str(row, "name"), type);
            if (depth < QOM_DEPTH) {
                print_objects(h, depth + 1, below,
                              hmp_try(h, "qom-list", hmp_args_of("path", below, NULL), NULL));
            }
        }
    }
}

HMP_RUN(hmp_info_qom_tree)
{
    const char *path = hmp_str(a, "path") != NULL ? hmp_str(a, "path") : "/machine";
    json_t *list = hmp_try(h, "qom-list", hmp_args_of("path", path, NULL), NULL);
    g_autoptr(json_t) type = hmp_try(h, "qom-get", hmp_args_of("path", path, "property", "type", NULL), NULL);

    if (list == NULL) {
        hmp_printf(h, "Path '%s' could not be resolved.\n", path);
        return;
    }
    hmp_printf(h, "%s (%s)\n", path, json_string_value(type) != NULL ? json_string_value(type) : "container");
    print_objects(h, 1, path, list);
}

/* --- info pci --- */

static unsigned long long num(const json_t *o, const char *key)
{
    return hmp_json_num(o, key);
}

static void print_range(Hmp *h, const json_t *bus, const char *key, const char *what)
{
    const json_t *r = json_object_get(bus, key);

    hmp_printf(h, "      %s range [0x%0*llx, 0x%0*llx]\n", what, strcmp(what, "IO") == 0 ? 4 : 8,
               num(r, "base"), strcmp(what, "IO") == 0 ? 4 : 8, num(r, "limit"));
}

static void print_bridge(Hmp *h, const json_t *bridge)
{
    const json_t *bus = json_object_get(bridge, "bus");

    hmp_printf(h, "      BUS %llu.\n      secondary bus %llu.\n      subordinate bus %llu.\n",
               num(bus, "number"), num(bus, "secondary"), num(bus, "subordinate"));
    print_range(h, bus, "io_range", "IO");
    print_range(h, bus, "memory_range", "memory");
    print_range(h, bus, "prefetchable_range", "prefetchable memory");
}

static void print_bar(Hmp *h, const json_t *bar)
{
    uint64_t at = hmp_json_num(bar, "address"), size = hmp_json_num(bar, "size");

    if (strcmp(hmp_json_str(bar, "type"), "io") == 0) {
        hmp_printf(h, "      BAR%llu: I/O at 0x%04" PRIx64 " [0x%04" PRIx64 "].\n", num(bar, "bar"), at,
                   at + size - 1);
    } else {
        hmp_printf(h, "      BAR%llu: %d bit%s memory at 0x%08" PRIx64 " [0x%08" PRIx64 "].\n",
                   num(bar, "bar"), hmp_json_true(bar, "mem_type_64") ? 64 : 32,
                   hmp_json_true(bar, "prefetch") ? " prefetchable" : "", at, at + size - 1);
    }
}

static void print_function(Hmp *h, const json_t *f)
{
    const json_t *class = json_object_get(f, "class_info"), *id = json_object_get(f, "id");
    const json_t *bridge = json_object_get(f, "pci_bridge");
    json_t *row;
    size_t i;

    hmp_printf(h, "  Bus %2llu, device %3llu, function %llu:\n    ", num(f, "bus"), num(f, "slot"),
               num(f, "function"));
    if (*hmp_json_str(class, "desc")) {
        hmp_printf(h, "%s", hmp_json_str(class, "desc"));
    } else {
        hmp_printf(h, "Class %04llu", num(class, "class"));
    }
    hmp_printf(h, ": PCI device %04llx:%04llx\n", num(id, "vendor"), num(id, "device"));
    if (json_object_get(id, "subsystem") != NULL && json_object_get(id, "subsystem-vendor") != NULL) {
        hmp_printf(h, "      PCI subsystem %04llx:%04llx\n", num(id, "subsystem-vendor"),
                   num(id, "subsystem"));
    }
    if (num(f, "irq_pin") != 0) {
        hmp_printf(h, "      IRQ %llu, pin %c\n", num(f, "irq"), (char)('A' + num(f, "irq_pin") - 1));
    }
    if (bridge != NULL) {
        print_bridge(h, bridge);
    }
    json_array_foreach(json_object_get(f, "regions"), i, row) {
        print_bar(h, row);
    }
    hmp_printf(h, "      id \"%s\"\n", hmp_json_str(f, "qdev_id"));
    json_array_foreach(json_object_get(bridge, "devices"), i, row) {
        print_function(h, row);
    }
}

HMP_RUN(hmp_info_pci)
{
    g_autoptr(json_t) list = hmp_call(h, "query-pci", NULL);
    json_t *bus, *f;
    size_t i, j;

    json_array_foreach(list, i, bus) {
        json_array_foreach(json_object_get(bus, "devices"), j, f) {
            print_function(h, f);
        }
    }
}

/* --- blocks of memory --- */

HMP_RUN(hmp_info_ramblock)
{
    hmp_printf(h, "%24s %8s %18s\n", "Block Name", "PSize", "Total");
    for (const RamBlock *b = ram_first(); b != NULL; b = b->next) {
        g_autofree char *page = g_strdup_printf("%zu KiB", b->page_size >> 10);

        hmp_printf(h, "%24s %8s 0x%016" PRIx64 "\n", b->id, page, b->size);
    }
}

HMP_RUN(hmp_info_roms)
{
    for (const RamBlock *b = ram_first(); b != NULL; b = b->next) {
        if (b->readonly) {
            hmp_printf(h, "size=0x%06" PRIx64 " mem=rom name=\"%s\"\n", b->size, b->id);
        }
    }
}
