/* devices.c: devices by name, see devices.h. */
#include "system/devices.h"

#include <stdio.h>
#include <string.h>
#include "accel/kvm/kvm.h"
#include "qapi/events.h"
#include "system/qom.h"
#include "system/runstate.h"

/* "DRIVER.PROP=VALUE", all of it as it stands, or "driver=DRIVER,property=PROP,value=VALUE". */
static bool parse_global(const char *text, CompatProp *g, Error **errp)
{
    size_t driver = strcspn(text, ".="), prop = text[driver] == '.' ? strcspn(text + driver + 1, "=") : 0;
    g_autoptr(GlobalConfig) c = NULL;

    if (driver > 0 && prop > 0 && text[driver + 1 + prop] == '=') {
        *g = (CompatProp){ g_strndup(text, driver), g_strndup(text + driver + 1, prop),
                           g_strdup(text + driver + prop + 2) };
        return true;
    }
    if (!qapi_opt_global(text, &c, errp)) {
        error_context(errp, "-global %s", text);
        return error_hint(errp, "DRIVER.PROP=VALUE or driver=DRIVER,property=PROP,value=VALUE");
    }
    if (c == NULL) {
        return error_set(errp, "-global %s: DRIVER.PROP=VALUE is expected", text);
    }
    *g = (CompatProp){ g_strdup(c->driver), g_strdup(c->property), g_strdup(c->value) };
    return true;
}

/* The text of -cpu, @cpu, with what -global says of its model before what it says itself; owned by the
 * caller. */
static char *cpu_text(const CmdLine *cmd, const char *cpu, Error **errp)
{
    size_t len = strcspn(cpu, ",");
    g_autofree char *model = g_strndup(cpu, len);
    g_autoptr(GString) text = g_string_new(model);

    for (unsigned i = 0; i < cmdline_count(cmd, OPT_GLOBAL); i++) {
        g_autofree char *of = NULL;
        CompatProp g;

        if (!parse_global(cmdline_nth(cmd, OPT_GLOBAL, i), &g, errp)) {
            return NULL;
        }
        if (kvm_cpu_type(g.type, &of) && strcmp(of, model) == 0) {
            if (strchr(g.value, ',') != NULL) {
                error_set(errp, "-global %s.%s=%s: a value without commas is expected", g.type, g.prop,
                          g.value);
                return NULL;
            }
            g_string_append_printf(text, ",%s=%s", g.prop, g.value);
        }
    }
    g_string_append(text, cpu + len);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

bool devices_cpu_globals(const CmdLine *cmd, Machine *m, Error **errp)
{
    g_autofree char *text = cpu_text(cmd, m->cfg.cpu_model, errp);

    if (text == NULL) {
        return false;
    }
    m->cfg.cpu_model = g_steal_pointer(&text);
    return true;
}

bool devices_read_globals(const CmdLine *cmd, Machine *m, Error **errp)
{
    unsigned n = cmdline_count(cmd, OPT_GLOBAL);
    CompatProp *all = g_new0(CompatProp, n + 1), *g = all;

    m->globals = all;
    m->globals_used = g_new0(bool, n + 1);
    for (unsigned i = 0; i < n; i++) {
        if (!parse_global(cmdline_nth(cmd, OPT_GLOBAL, i), g, errp)) {
            return false;
        }
        if (kvm_cpu_type(g->type, NULL)) {
            *g = (CompatProp){ NULL };         /* devices_cpu_globals() */
            continue;
        }
        g++;
    }
    return true;
}

/* A type @name, or one of that family?  *@user: people may make one. */
static bool type_known(const char *name, bool *user)
{
    bool known = false;

    for (const DeviceType *const *t = device_types(); *t != NULL; t++) {
        if (device_type_is(*t, name)) {
            known = true;
            *user |= !((*t)->flags & DEV_INTERNAL);
        }
    }
    return known;
}

void devices_warn_globals(const Machine *m)
{
    for (unsigned i = 0; m->globals != NULL && m->globals[i].type != NULL; i++) {
        const CompatProp *g = &m->globals[i];
        bool user = false;

        if (!type_known(g->type, &user)) {
            warn_report("global %s.%s has invalid class name", g->type, g->prop);
        } else if (!user && !m->globals_used[i]) {
            warn_report("global %s.%s=%s not used", g->type, g->prop, g->value);
        }
    }
}

/* --- adding --- */

/* The type that people mean by @driver, or NULL. */
static const DeviceType *named_type(const char *driver)
{
    const DeviceType *found = qom_find_device_type(driver);

    for (const DeviceType *const *t = device_types(); found == NULL && *t != NULL; t++) {
        if (g_strcmp0((*t)->alias, driver) == 0) {
            found = *t;
        }
    }
    return found;
}

static bool unknown_driver(const char *driver, Error **errp)
{
    const char *names[512] = { NULL };
    unsigned n = 0;
    bool user;

    for (const DeviceType *const *t = device_types(); *t != NULL && n < 511; t++) {
        if (!((*t)->flags & DEV_INTERNAL)) {
            names[n++] = (*t)->name;
        }
    }
    if (g_str_has_suffix(driver, "-x86_64-cpu") && machine() != NULL && machine()->cpu_type != NULL) {
        return error_set(errp, "Invalid CPU type, expected cpu type: '%s'", machine()->cpu_type->name);
    }
    if (type_known(driver, &user)) {
        return error_set(errp, "Parameter 'driver' expects a non-abstract device type");
    }
    error_set(errp, "'%s' is not a valid device model name", driver);
    return error_suggest(errp, driver, names);
}

/* A JSON value as the text prop_set() takes; NULL: not a scalar. */
static char *text_of(const json_t *v)
{
    uint64_t big;

    if (json_big(v, &big)) {
        return g_strdup_printf("%" PRIu64, big);
    }
    switch (json_typeof(v)) {
    case JSON_STRING:
        return g_strdup(json_string_value(v));
    case JSON_INTEGER:
        return g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
    case JSON_TRUE:
        return g_strdup("on");
    case JSON_FALSE:
        return g_strdup("off");
    default:
        return NULL;
    }
}

/* A vCPU's features and the like are those of -cpu: @text may say so again. */
static bool check_model(Device *d, const char *key, const char *text, Error **errp)
{
    g_autofree char *is = d->type->extra->get(d, key);
    bool is_bool = is != NULL && (strcmp(is, "true") == 0 || strcmp(is, "false") == 0);
    const char *want = text;

    if (is == NULL) {
        return error_set(errp, "Property '%s.%s' not found", d->type->name, key);
    }
    if (is_bool && strcmp(text, "on") != 0 && strcmp(text, "off") != 0) {
        return error_set(errp, "Parameter '%s' expects 'on' or 'off'", key);
    }
    if (is_bool) {
        want = strcmp(text, "on") == 0 ? "true" : "false";
    }
    g_autofree char *quoted = g_strdup_printf("\"%s\"", text);
    return strcmp(is, want) == 0 || strcmp(is, quoted) == 0 ||
           error_set(errp, "Property '%s.%s' is the same for all vCPUs: '-cpu' made it %s", d->type->name,
                     key, !is_bool ? is : strcmp(is, "true") == 0 ? "on" : "off");
}

static bool set_props(Device *d, json_t *props, Error **errp)
{
    const char *key;
    json_t *value;
    int owner;

    json_object_foreach(props, key, value) {
        const PropDesc *p = json_is_array(value) ? device_type_prop(d->type, key, &owner) : NULL;
        g_autofree char *text = p != NULL && p->flags & PROP_JSON ? json_dumps(value, JSON_COMPACT)
                                                                  : text_of(value);
        if (text == NULL) {
            return error_set(errp, "Invalid parameter type for '%s', expected: string, number or boolean",
                             key);
        }
        bool of_model = d->type->extra != NULL && d->type == machine()->cpu_type &&
                        device_type_prop(d->type, key, &owner) == NULL;
        if (of_model ? !check_model(d, key, text, errp) : !device_set(d, key, text, errp)) {
            return false;
        }
    }
    return true;
}

/* The bus for a new device: of that name, or the first that takes it; NULL: *errp is set. */
static Bus *bus_for(const DeviceType *t, const char *name, Error **errp)
{
    Bus *b = name != NULL ? bus_find(machine()->root, name, errp) : bus_find_for(machine()->root, t, errp);

    if (b != NULL && b->slot != t->slot) {
        error_set(errp, "Device '%s' can't go on %s bus", t->name, slot_bus_name(b->slot));
        return NULL;
    }
    return b;
}

/* Others of its kind may come and go, not @t. */
static bool cold_only(const DeviceType *t)
{
    return !(t->flags & DEV_HOTPLUG) && (t->slot->no_bus || t->slot->unplug_request != NULL);
}

Device *devices_add(const DeviceConfig *c, bool hotplug, Error **errp)
{
    const DeviceType *t = named_type(c->driver);
    Machine *m = machine();
    Bus *b = NULL;
    Device *d;

    if (!device_check_id(c->id, errp)) {
        return NULL;
    }
    if (t == NULL) {
        unknown_driver(c->driver, errp);
        return NULL;
    }
    if (t->flags & DEV_INTERNAL || (hotplug && cold_only(t))) {
        error_set(errp, "Parameter 'driver' expects a pluggable device type");
        return NULL;
    }
    if (t->slot->no_bus && c->bus != NULL) {
        error_set(errp, "Device '%s' is on no bus, 'bus' cannot be given", c->driver);
        return NULL;
    }
    if (!t->slot->no_bus || c->bus != NULL) {
        b = bus_for(t, c->bus, errp);
        if (b == NULL) {
            return NULL;
        }
    }
    if (hotplug && b != NULL && !b->hotplug) {
        error_set(errp, "Bus '%s' does not support hotplugging", b->name);
        return NULL;
    }
    if (hotplug && !(t->flags & DEV_HOTPLUG)) {
        error_set(errp, "Device '%s' does not support hotplugging", c->driver);
        return NULL;
    }
    d = device_create(t, m->peripheral, b, c->id, errp);
    if (d == NULL) {
        return NULL;
    }
    if ((c->props != NULL && !set_props(d, c->props, errp)) || !device_realize(d, errp)) {
        device_discard(d);
        return NULL;
    }
    return d;
}

bool devices_add_all(const CmdLine *cmd, Error **errp)
{
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_DEVICE); i++) {
        const char *text = cmdline_nth(cmd, OPT_DEVICE, i);
        g_autoptr(DeviceConfig) c = NULL;

        if (!qapi_opt_device(text, &c, errp)) {
            return error_context(errp, "-device %s", text);
        }
        if (c != NULL && devices_add(c, false, errp) == NULL) {
            return error_context(errp, "-device %s", text);
        }
    }
    return true;
}

bool devices_named(const CmdLine *cmd, const char *driver)
{
    bool found = false;

    for (unsigned i = 0; i < cmdline_count(cmd, OPT_DEVICE); i++) {
        g_autoptr(DeviceConfig) c = NULL;
        found |= qapi_opt_device(cmdline_nth(cmd, OPT_DEVICE, i), &c, NULL) && c != NULL &&
                 strcmp(c->driver, driver) == 0;
    }
    return found;
}

/* --- listings --- */

static void print(GString *take_text)
{
    fputs(take_text->str, stdout);
    g_string_free(take_text, TRUE);
}

bool devices_print_help(const CmdLine *cmd, Error **errp)
{
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_DEVICE); i++) {
        const char *text = cmdline_nth(cmd, OPT_DEVICE, i);
        g_auto(GStrv) parts = g_strsplit(text, ",", -1);
        const DeviceType *t;

        if (strcmp(text, "help") == 0 || strcmp(text, "?") == 0) {
            print(device_help_all());
            return true;
        }
        if (parts[0] == NULL || parts[1] == NULL ||
            (strcmp(parts[1], "help") != 0 && strcmp(parts[1], "?") != 0)) {
            continue;
        }
        t = named_type(parts[0]);
        if (t == NULL) {
            return error_set(errp, "-device %s: Device '%s' not found", text, parts[0]);
        }
        print(device_help_type(t));
        return true;
    }
    return false;
}

/* --- removing --- */

bool devices_del(const char *id, Error **errp)
{
    Device *d = device_find(machine()->root, id);
    const SlotType *slot;

    if (d == NULL) {
        return error_set_class(errp, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
    }
    if (d->bus == NULL && !d->user_made && d->type != machine()->cpu_type) {
        return error_set(errp, "%s is not a hotpluggable device", id);
    }
    if (d->bus != NULL && !d->bus->hotplug) {
        return error_set(errp, "Bus '%s' does not support hotplugging", d->bus->name);
    }
    slot = d->type->slot;
    if (!(d->type->flags & DEV_HOTPLUG)) {
        return error_set(errp, "Device '%s' does not support hotplugging", id);
    }
    if ((d->inner != NULL ? d->inner : d)->type->flags & DEV_STAYS) {
        return error_set(errp, "Device '%s' cannot be unplugged", id);
    }
    if (slot->may_unplug != NULL && !slot->may_unplug(d, errp)) {
        return false;
    }
    if (slot->unplug_request != NULL && runstate() != RUN_STATE_PRELAUNCH) {
        return slot->unplug_request(d, errp);
    }
    device_remove(d, NULL);
    return true;
}

/* --- finding --- */

Bus *devices_find_bus(const char *name, Error **errp)
{
    return bus_find(machine()->root, name, errp);
}

static bool place_taken(const Bus *b, unsigned unit)
{
    for (Device *d = b->first; d != NULL; d = d->bus_next) {
        g_autofree char *text = device_get(d, "unit");
        if (text != NULL && g_ascii_strtoull(text, NULL, 10) == unit) {
            return true;
        }
    }
    return false;
}

/* The bus of @place over all. */
static Bus *ide_bus(unsigned per_bus, unsigned place)
{
    g_autofree char *name = g_strdup_printf("ide.%u", place / per_bus);

    return devices_find_bus(name, NULL);
}

bool devices_ide_is_free(unsigned per_bus, unsigned place)
{
    Bus *b = ide_bus(per_bus, place);

    return b != NULL && !place_taken(b, place % per_bus);
}

unsigned devices_ide_free(unsigned per_bus)
{
    unsigned place = 0;

    while (ide_bus(per_bus, place) != NULL && !devices_ide_is_free(per_bus, place)) {
        place++;
    }
    return place;
}
