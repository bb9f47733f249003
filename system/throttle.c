/* throttle.c: limits of disks in the schema's words, see throttle.h, and block_set_io_throttle.
 *
 * 1. A -drive's and the command's words for a limit are the same thing with other names: one list here. */
#include "system/throttle.h"

#include "core/device.h"
#include "qapi/commands.h"

/* Kind, name, and the older name. */
#define KINDS(X) \
    X(THROTTLE_BPS_TOTAL, bps_total, bps) X(THROTTLE_BPS_READ, bps_read, bps_rd) \
    X(THROTTLE_BPS_WRITE, bps_write, bps_wr) X(THROTTLE_IOPS_TOTAL, iops_total, iops) \
    X(THROTTLE_IOPS_READ, iops_read, iops_rd) X(THROTTLE_IOPS_WRITE, iops_write, iops_wr)

#define TAKE(to, from, name) \
    if ((from)->has_##name) { \
        (to) = (from)->name; \
    }
#define GIVE(to, name, value) \
    (to)->has_##name = true; \
    (to)->name = (value);

void throttle_init(void)
{
    device_on_quiesce(throttle_hurry);
}

/* --- objects --- */

static void take_limits(ThrottleRates *t, const ThrottleLimits *l)
{
#define LIMIT(kind, name, old) \
    TAKE(t->at[kind].avg, l, name) TAKE(t->at[kind].max, l, name##_max) \
    TAKE(t->at[kind].length, l, name##_max_length)
    KINDS(LIMIT)
    TAKE(t->op_size, l, iops_size)
#undef LIMIT
}

static void take_single(ThrottleRates *t, const ThrottleGroupConfig *c)
{
#define LIMIT(kind, name, old) \
    TAKE(t->at[kind].avg, c, x_##name) TAKE(t->at[kind].max, c, x_##name##_max) \
    TAKE(t->at[kind].length, c, x_##name##_max_length)
    KINDS(LIMIT)
    TAKE(t->op_size, c, x_iops_size)
#undef LIMIT
}

static void fill_in(ThrottleGroupConfig *c, const ThrottleRates *t)
{
    ThrottleLimits *l = c->limits = c->limits != NULL ? c->limits : qapi_new_throttle_limits();

#define LIMIT(kind, name, old) \
    GIVE(l, name, t->at[kind].avg) GIVE(l, name##_max, t->at[kind].max) \
    GIVE(l, name##_max_length, t->at[kind].length) \
    GIVE(c, x_##name, t->at[kind].avg) GIVE(c, x_##name##_max, t->at[kind].max) \
    GIVE(c, x_##name##_max_length, t->at[kind].length)
    KINDS(LIMIT)
    GIVE(l, iops_size, t->op_size)
    GIVE(c, x_iops_size, t->op_size)
#undef LIMIT
}

bool throttle_object_create(const char *id, ThrottleGroupConfig *c, Error **errp)
{
    ThrottleRates t = throttle_rates_none();

    take_single(&t, c);
    if (c->limits != NULL) {
        take_limits(&t, c->limits);
    }
    if (!throttle_rates_check(&t, errp) || !throttle_group_make(id, &t, errp)) {
        return false;
    }
    fill_in(c, &t);
    return true;
}

bool throttle_object_set(const char *id, const char *prop, json_t *value, Error **errp)
{
    g_autoptr(ThrottleLimits) l = NULL;
    ThrottleRates t;

    if (strcmp(prop, "limits") != 0) {
        return error_set(errp, "Property cannot be set after initialization");
    }
    if (!throttle_group_get(id, &t) || !qapi_visit_throttle_limits(value, QAPI_JSON, &l, errp)) {
        return false;
    }
    take_limits(&t, l);
    return throttle_rates_check(&t, errp) && throttle_group_set(id, &t);
}

void throttle_object_get(const char *id, ThrottleGroupConfig *c)
{
    ThrottleRates t;

    if (throttle_group_get(id, &t)) {
        fill_in(c, &t);
    }
}

/* --- disks --- */

bool throttle_of_drive(const DriveThrottling *d, ThrottleRates *out, const char **group, Error **errp)
{
#define TWICE(name, old, text, old_text) \
    if (d->has_##name && d->has_##old) { \
        return error_set(errp, "'%s' and its alias '%s' can't be used at the same time", text, old_text); \
    }
#define LIMIT(kind, name, old) \
    TWICE(throttling_##name, old, blk_throttle_names[kind], #old) \
    TAKE(out->at[kind].avg, d, throttling_##name) TAKE(out->at[kind].avg, d, old) \
    TAKE(out->at[kind].max, d, throttling_##name##_max) TAKE(out->at[kind].max, d, old##_max) \
    TAKE(out->at[kind].length, d, throttling_##name##_max_length)
    static const char *const blk_throttle_names[] = {
        "throttling.bps-total", "throttling.bps-read", "throttling.bps-write",
        "throttling.iops-total", "throttling.iops-read", "throttling.iops-write",
    };

    *out = throttle_rates_none();
    KINDS(LIMIT)
    TWICE(throttling_iops_size, iops_size, "throttling.iops-size", "iops_size")
    TAKE(out->op_size, d, throttling_iops_size)
    TAKE(out->op_size, d, iops_size)
#undef LIMIT
#undef TWICE
    *group = d->throttling_group != NULL ? d->throttling_group : d->group;
    return throttle_rates_check(out, errp);
}

void throttle_tell(const BlkFront *f, BlockDeviceInfo *i)
{
    ThrottleRates t;

    if (f->throttle == NULL || !throttle_group_get(throttle_name(f->throttle), &t)) {
        return;
    }
    i->group = g_strdup(throttle_name(f->throttle));
#define LIMIT(kind, name, old_name) \
    i->old_name = t.at[kind].avg; \
    if (t.at[kind].max != 0) { \
        GIVE(i, old_name##_max, t.at[kind].max) \
        GIVE(i, old_name##_max_length, t.at[kind].length) \
    }
    KINDS(LIMIT)
#undef LIMIT
    if (t.op_size != 0) {
        GIVE(i, iops_size, t.op_size)
    }
}

bool qmp_block_set_io_throttle(const BlockIOThrottle *a, Error **errp)
{
    ThrottleRates t = throttle_rates_none();
    BlkFront *f;

    if ((a->device == NULL) == (a->id == NULL)) {
        return error_set(errp, "Need exactly one of 'device' and 'id'");
    }
    f = a->device != NULL ? blk_front_of_drive(a->device) : blk_front_find(a->id);
    if (f == NULL) {
        return error_set_class(errp, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found",
                               a->device != NULL ? a->device : a->id);
    }
    if (f->node == NULL || (f->tray == NULL && f->lost != NULL)) {     /* drive_del has taken it */
        return error_set(errp, "Device has no medium");
    }
#define LIMIT(kind, name, old) \
    t.at[kind].avg = a->old; \
    TAKE(t.at[kind].max, a, old##_max) TAKE(t.at[kind].length, a, old##_max_length)
    KINDS(LIMIT)
#undef LIMIT
    TAKE(t.op_size, a, iops_size)
    if (!throttle_rates_check(&t, errp)) {
        return false;
    }
    throttle_front_set(f, a->group, &t);
    return true;
}
