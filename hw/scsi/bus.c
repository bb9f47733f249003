/* bus.c: the slot "scsi": who is on a bus, and the way of a command to its logical unit, see scsi.h.
 *
 * 1. A device's in_use is 1 from realize to quiesce, and one more for each command; whoever takes it to 0
 *    leaves the barrier that a quiesce brought, once. */
#include <errno.h>
#include <stdlib.h>
#include "core/machine.h"
#include "hw/scsi/scsi-int.h"
#include "util/bytes.h"
#include "util/trace.h"

#define AUTO UINT32_MAX

/* The units of a bus, in order of target and LUN. */
typedef struct ScsiTable {
    EpochItem epoch;
    unsigned n;
    ScsiDev *devs[];
} ScsiTable;

/* --- who is there --- */

static int order(uint32_t target, uint32_t lun, const ScsiDev *d)
{
    return target != d->id ? (target > d->id) - (target < d->id) : (lun > d->lun) - (lun < d->lun);
}

/* The place of the first unit that is not before @target and @lun. */
static unsigned place_of(const ScsiTable *t, uint32_t target, uint32_t lun)
{
    unsigned lo = 0, hi = t->n;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (order(target, lun, t->devs[mid]) > 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

ScsiDev *scsi_find(const ScsiBus *b, uint32_t target, uint32_t lun, bool *target_there)
{
    const ScsiTable *t = epoch_load(b->table);
    unsigned at = place_of(t, target, lun);
    bool here = at < t->n && t->devs[at]->id == target;

    *target_there = here || (at > 0 && t->devs[at - 1]->id == target);
    return here && t->devs[at]->lun == lun ? t->devs[at] : NULL;
}

static void table_free(EpochItem *item)
{
    g_free(container_of(item, ScsiTable, epoch));
}

static ScsiTable *table_new(unsigned n)
{
    ScsiTable *t = g_malloc0(sizeof(*t) + n * sizeof(t->devs[0]));

    t->n = n;
    return t;
}

/* A new table with @d, or without it. */
static void publish_table(ScsiBus *b, ScsiDev *d, bool with)
{
    ScsiTable *old = b->table, *t;
    unsigned at = place_of(old, d->id, d->lun), n = 0;
    bool was = at < old->n && old->devs[at] == d;

    if (was == with) {
        return;
    }
    t = table_new(with ? old->n + 1 : old->n - 1);
    for (unsigned i = 0; i < old->n; i++) {
        if (with && i == at) {
            t->devs[n++] = d;
        }
        if (old->devs[i] != d) {
            t->devs[n++] = old->devs[i];
        }
    }
    if (with && at == old->n) {
        t->devs[n] = d;
    }
    epoch_store(b->table, t);
    epoch_defer(&old->epoch, table_free);
}

/* --- conditions that the guest has to hear of --- */

static const ScsiSense conditions[SCSI_UAS] = {
    [SCSI_UA_POWER_ON] = { 0x06, 0x29, 0x00 },     [SCSI_UA_BUS_RESET] = { 0x06, 0x29, 0x02 },
    [SCSI_UA_DEVICE_RESET] = { 0x06, 0x29, 0x03 }, [SCSI_UA_LUNS] = { 0x06, 0x3f, 0x0e },
    [SCSI_UA_CAPACITY] = { 0x06, 0x2a, 0x09 },
};

static void raise_attention(ScsiDev *d, unsigned which)
{
    __atomic_fetch_or(&d->attention, (uint8_t)(1u << which), __ATOMIC_RELEASE);
}

bool scsi_take_attention(ScsiDev *d, ScsiSense *s)
{
    uint8_t was = __atomic_load_n(&d->attention, __ATOMIC_ACQUIRE);

    while (was != 0) {
        unsigned which = (unsigned)__builtin_ctz(was);
        /* A reset says all that resets say (SAM-5, 5.14). */
        uint8_t left = which <= SCSI_UA_DEVICE_RESET ? was & ~7u : was & ~(1u << which);
        if (__atomic_compare_exchange_n(&d->attention, &was, left, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
            *s = conditions[which];
            return true;
        }
    }
    if (medium_take_attention(&d->medium)) {
        *s = SENSE_CHANGED;
        return true;
    }
    return false;
}

/* --- a command --- */

void scsi_dev_leave(ScsiDev *d)
{
    if (__atomic_sub_fetch(&d->in_use, 1, __ATOMIC_ACQ_REL) == 0) {
        Barrier *home = __atomic_exchange_n(&d->home, NULL, __ATOMIC_ACQ_REL);
        if (home != NULL) {
            barrier_leave(home);
        }
    }
}

static void finish(ScsiCmd *c)
{
    ScsiDev *d = c->dev;

    TRACE(scsi_done,
          "id=%s target=%u lun=%u cdb=0x%02x result=%d status=0x%02x sense=%x/%02x/%02x moved=%" PRIu64,
          c->bus->host->id, c->target, c->lun, c->cdb[0], c->result, c->status, c->sense.key, c->sense.asc,
          c->sense.ascq, c->moved);
    if (d != NULL) {
        scsi_disk_end(c);
    }
    c->bus->ops->done(c);
    if (d != NULL) {
        scsi_dev_leave(d);
    }
}

void scsi_good(ScsiCmd *c)
{
    c->status = SCSI_GOOD;
    finish(c);
}

void scsi_check(ScsiCmd *c, ScsiSense s)
{
    c->status = SCSI_CHECK_CONDITION;
    c->sense = s;
    finish(c);
}

void scsi_overrun(ScsiCmd *c)
{
    c->result = SCSI_OVERRUN;
    finish(c);
}

void scsi_reply(ScsiCmd *c, const ScsiReply *r, uint32_t room)
{
    if (room > c->room_in) {
        scsi_overrun(c);
        return;
    }
    c->moved = c->bus->ops->put(c, r->buf, MIN(MIN(r->n, SCSI_REPLY), room));
    scsi_good(c);
}

/* REPORT LUNS (SPC-4, 6.33): every unit of the target, LUN 0 among them whether it is there or not. */
static void report_luns(ScsiCmd *c)
{
    const ScsiTable *t = epoch_load(c->bus->table);
    uint32_t room = get32(c->cdb + 6), n;
    unsigned first = place_of(t, c->target, 0), last = first;
    uint8_t head[8] = { 0 }, entry[8] = { 0 };

    while (last < t->n && t->devs[last]->id == c->target) {
        last++;
    }
    bool zero = first == last || t->devs[first]->lun != 0;
    if (c->cdb[2] > 2 || room < 16) {
        scsi_check(c, SENSE_BAD_FIELD);
        return;
    }
    if (room > c->room_in) {
        scsi_overrun(c);
        return;
    }
    /* Well-known units (2) there are none. */
    n = c->cdb[2] == 1 ? 0 : last - first + zero;
    put32(head, n * 8);
    c->moved = c->bus->ops->put(c, head, sizeof(head));
    for (unsigned i = 0; i < n && c->moved < room; i++) {
        uint32_t lun = i == 0 && zero ? 0 : t->devs[first + i - zero]->lun;
        put16(entry, (uint16_t)(lun < 256 ? lun : 0x4000 | lun));
        c->moved += c->bus->ops->put(c, entry, MIN(sizeof(entry), room - c->moved));
    }
    scsi_good(c);
}

/* For a LUN of a target that has others (SPC-4, 6.4.2; SAM-5, 5.11). */
static void no_unit(ScsiCmd *c)
{
    ScsiReply r = { .n = 36 };

    switch (c->cdb[0]) {
    case 0x12:
        if (c->cdb[1] & 1 || c->cdb[2] != 0) {
            scsi_check(c, SENSE_BAD_FIELD);
            return;
        }
        r.buf[0] = 0x7f;                       /* no such unit, and none can be */
        r.buf[2] = 5;
        r.buf[3] = 0x12;
        r.buf[4] = 36 - 5;
        scsi_reply(c, &r, get16(c->cdb + 3));
        break;
    case 0x03:
        put_sense(r.buf, SENSE_BAD_LUN);
        r.n = SENSE_FIXED;
        scsi_reply(c, &r, c->cdb[4]);
        break;
    default:
        scsi_check(c, SENSE_BAD_LUN);
        break;
    }
}

/* REQUEST SENSE tells of what is pending; every other sense went with its command. */
static void request_sense(ScsiCmd *c)
{
    ScsiReply r = { .n = SENSE_FIXED };
    ScsiSense s = SENSE_NONE;

    scsi_take_attention(c->dev, &s);
    if (c->cdb[1] & 1) {                       /* descriptor format */
        r.buf[0] = 0x72;
        r.buf[1] = s.key;
        r.buf[2] = s.asc;
        r.buf[3] = s.ascq;
        r.n = 8;
    } else {
        put_sense(r.buf, s);
    }
    scsi_reply(c, &r, c->cdb[4]);
}

void scsi_cmd_start(ScsiCmd *c)
{
    bool target_there;
    ScsiDev *d = scsi_find(c->bus, c->target, c->lun, &target_there);
    ScsiSense s;

    assert_loop(c->loop);
    TRACE(scsi_command, "id=%s target=%u lun=%u cdb=%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x in=%" PRIu64
          " out=%" PRIu64, c->bus->host->id, c->target, c->lun, c->cdb[0], c->cdb[1], c->cdb[2], c->cdb[3],
          c->cdb[4], c->cdb[5], c->cdb[6], c->cdb[7], c->cdb[8], c->cdb[9], c->room_in, c->room_out);
    c->result = SCSI_DONE;
    c->status = SCSI_GOOD;
    c->sense = SENSE_NONE;
    c->moved = 0;
    c->dev = d;
    c->claimed = false;
    c->buf = NULL;
    if (!target_there) {
        c->result = SCSI_NO_TARGET;
        finish(c);
        return;
    }
    if (d != NULL) {
        __atomic_add_fetch(&d->in_use, 1, __ATOMIC_ACQ_REL);
    }
    /* SAM-5, 5.14: these are not kept from running by what is pending. */
    if (c->cdb[0] == 0xa0) {
        report_luns(c);
    } else if (d == NULL) {
        no_unit(c);
    } else if (c->cdb[0] == 0x03) {
        request_sense(c);
    } else if (c->cdb[0] != 0x12 && !(scsi_is_cd(d) && (c->cdb[0] == 0x46 || c->cdb[0] == 0x4a)) &&
               scsi_take_attention(d, &s)) {
        scsi_check(c, s);
    } else {
        scsi_disk_run(c);
    }
}

/* --- resets --- */

void scsi_dev_reset(ScsiDev *d, unsigned why)
{
    medium_reset(&d->medium, true);
    __atomic_store_n(&d->wce, d->write_cache != ONOFF_OFF, __ATOMIC_RELAXED);
    raise_attention(d, why);
}

void scsi_bus_reset(ScsiBus *b, unsigned why)
{
    const ScsiTable *t = b->table;

    for (unsigned i = 0; t != NULL && i < t->n; i++) {
        scsi_dev_reset(t->devs[i], why);
    }
}

void scsi_target_reset(ScsiBus *b, uint32_t target, unsigned why)
{
    const ScsiTable *t = epoch_load(b->table);

    for (unsigned i = place_of(t, target, 0); i < t->n && t->devs[i]->id == target; i++) {
        scsi_dev_reset(t->devs[i], why);
    }
}

/* --- the bus --- */

/* The first N such that "scsi.N" is no bus yet. */
static char *free_name(Device *root)
{
    for (unsigned n = 0;; n++) {
        char *name = g_strdup_printf("scsi.%u", n);
        if (bus_find(root, name, NULL) == NULL) {
            return name;
        }
        g_free(name);
    }
}

void scsi_bus_init(ScsiBus *b, Device *host, const Device *named, const ScsiHostOps *ops, unsigned targets,
                   unsigned luns)
{
    bool has_id = named->parent == host->machine->peripheral;
    g_autofree char *name = has_id ? g_strdup_printf("%s.0", named->id) : free_name(host->machine->root);

    *b = (ScsiBus){ .host = host, .ops = ops, .targets = targets, .luns = luns };
    b->table = table_new(0);
    b->bus = bus_new(&scsi_slot, host, name);
    b->bus->hotplug = true;
    b->bus->priv = b;
}

void scsi_bus_free(ScsiBus *b)
{
    if (b->table != NULL) {
        epoch_defer(&b->table->epoch, table_free);
        b->table = NULL;
    }
}

/* --- the slot --- */

static ScsiDev *taken_by(const Bus *b, const ScsiDev *d, uint32_t id, uint32_t lun)
{
    for (Device *o = b->first; o != NULL; o = o->bus_next) {
        ScsiDev *other = (ScsiDev *)o;
        if (other != d && other->bus != NULL && other->id == id && other->lun == lun) {
            return other;
        }
    }
    return NULL;
}

static bool choose_place(const Bus *bus, ScsiDev *d, Error **errp)
{
    const ScsiBus *b = bus->priv;
    uint32_t lun = d->lun == AUTO ? 0 : d->lun, id = d->id == AUTO ? 0 : d->id;

    if (d->id == AUTO) {
        while (id < b->targets && taken_by(bus, d, id, lun) != NULL) {
            id++;
        }
        if (id == b->targets) {
            return error_set(errp, "no free target");
        }
    } else if (d->lun == AUTO) {
        while (lun < b->luns && taken_by(bus, d, id, lun) != NULL) {
            lun++;
        }
        if (lun == b->luns) {
            return error_set(errp, "no free lun");
        }
    } else if (taken_by(bus, d, id, lun) != NULL) {
        return error_set(errp, "lun already used by '%s'", taken_by(bus, d, id, lun)->dev.id);
    }
    d->id = id;
    d->lun = lun;
    return true;
}

static bool slot_attach(Bus *bus, Device *dev, Error **errp)
{
    ScsiDev *d = (ScsiDev *)dev;
    ScsiBus *b = bus->priv;

    if (d->channel != 0) {
        return error_set(errp, "bad scsi channel id: %u", d->channel);
    }
    if (d->id != AUTO && d->id >= b->targets) {
        return error_set(errp, "bad scsi device id: %u", d->id);
    }
    if (d->lun != AUTO && d->lun >= b->luns) {
        return error_set(errp, "bad scsi device lun: %u", d->lun);
    }
    if (!choose_place(bus, d, errp)) {
        return false;
    }
    d->bus = b;
    d->in_use = 1;
    d->awake = true;
    return true;
}

/* The target's other units tell that there is one more, or one less. */
static void luns_changed(ScsiBus *b, const ScsiDev *d)
{
    const ScsiTable *t = b->table;

    for (unsigned i = place_of(t, d->id, 0); i < t->n && t->devs[i]->id == d->id; i++) {
        if (t->devs[i] != d) {
            raise_attention(t->devs[i], SCSI_UA_LUNS);
        }
    }
}

static bool slot_publish(Bus *bus, Device *dev, Error **errp)
{
    ScsiBus *b = bus->priv;

    publish_table(b, (ScsiDev *)dev, true);
    if (machine_was_reset()) {
        luns_changed(b, (ScsiDev *)dev);
        b->ops->came(b, (ScsiDev *)dev);
    }
    return true;
}

static void slot_withdraw(Bus *bus, Device *dev)
{
    ScsiBus *b = bus->priv;

    publish_table(b, (ScsiDev *)dev, false);
    if (machine_was_reset()) {
        luns_changed(b, (ScsiDev *)dev);
        b->ops->left(b, (ScsiDev *)dev);
    }
}

static void slot_detach(Bus *bus, Device *dev)
{
    ((ScsiDev *)dev)->bus = NULL;
}

static void slot_reset(Device *dev, ResetKind kind)
{
    ScsiDev *d = (ScsiDev *)dev;

    scsi_dev_reset(d, SCSI_UA_POWER_ON);
    medium_reset(&d->medium, kind != RESET_POWER);
}

/* The commands under way end; of a whole machine that stops, so does what starts them. */
static void slot_quiesce(Device *dev, Barrier *home)
{
    ScsiDev *d = (ScsiDev *)dev;

    if (!d->awake) {
        barrier_leave(home);
        return;
    }
    d->awake = false;
    __atomic_store_n(&d->home, home, __ATOMIC_RELEASE);
    scsi_dev_leave(d);
}

static void slot_resume(Device *dev)
{
    ScsiDev *d = (ScsiDev *)dev;

    if (!d->awake) {
        d->awake = true;
        __atomic_add_fetch(&d->in_use, 1, __ATOMIC_ACQ_REL);
    }
}

static bool slot_check(void *obj, Error **errp)
{
    ScsiDev *d = obj;

    return d->attention < 1u << SCSI_UAS || error_set(errp, "conditions 0x%x", d->attention);
}

static const StateField slot_fields[] = {
    STATE_U8(ScsiDev, attention),
    STATE_BOOL(ScsiDev, wce),
    { .name = "tray", .kind = ST_STRUCT, .at = offsetof(ScsiDev, medium.tray), .count = 1,
      .sub = &mmc_tray_state },
    { 0 },
};

static const StateDesc slot_state = {
    .name = "scsi", .version = 1, .fields = slot_fields, .check = slot_check,
};

static const PropDesc slot_props[] = {
    PROP_U32(ScsiDev, channel, "channel", 0, 0, UINT32_MAX, "0 is the only one"),
    PROP_U32(ScsiDev, id, "scsi-id", AUTO, 0, UINT32_MAX, "target; the first free one if unset"),
    PROP_U32(ScsiDev, lun, "lun", AUTO, 0, UINT32_MAX,
             "logical unit; 0, or with a scsi-id the first free one, if unset"),
    { 0 },
};

const SlotType scsi_slot = {
    .name = "SCSI", .base_size = sizeof(ScsiDev), .props = slot_props, .state = &slot_state,
    .attach = slot_attach, .publish = slot_publish, .withdraw = slot_withdraw, .detach = slot_detach,
    .reset = slot_reset, .quiesce = slot_quiesce, .resume = slot_resume,
};
