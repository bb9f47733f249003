/* places.c: hot-plug of numbered things through ACPI, see places.h.  Sections are those of ACPI 6.4. */
#include "hw/acpi/places.h"

#include "util/bytes.h"
#include "util/trace.h"

enum { STATUS_PRESENT = 1, STATUS_INSERTING = 2, STATUS_REMOVING = 4 };
enum { CONTROL_INSERTED = 2, CONTROL_REMOVED = 4, CONTROL_EJECT = 8 };
/* _OST (6.3.5): source events and status codes. */
enum { OST_EJECT_REQUEST = 3, OST_EJECT_BY_GUEST = 0x103 };
enum { OST_SUCCESS = 0, OST_EJECT_PENDING = 0x84 };

/* --- on control, called by the registers --- */

/* Removes what the guest has let go. */
static void eject(Device *owner, uintptr_t arg)
{
    const AcpiPlaces *p = (const AcpiPlaces *)arg;

    for (unsigned n = 0; n < p->of->count; n++) {
        Device *d = p->of->dev[n];

        domain_enter(owner->domain);
        bool gone = !p->present[n];
        domain_leave(owner->domain);
        if (gone && d != NULL && !d->removing) {
            device_remove(d, NULL);
        }
    }
}

/* An _OST as one number: place, source event, status.  Source events have ten bits (6.3.5). */
static uintptr_t pack(unsigned n, uint32_t event, uint32_t status)
{
    return (uintptr_t)n << 52 | (uintptr_t)(event & 0xfffff) << 32 | status;
}

static void report(const MachinePlaces *of, const char *slot_type, uintptr_t arg)
{
    const MachineListener *l = machine_listener();
    unsigned n = arg >> 52, event = arg >> 32 & 0xfffff, status = (uint32_t)arg;
    const Device *d = of->dev[n];
    g_autofree char *slot = g_strdup_printf("%u", n);
    const char *id = d != NULL && d->parent == d->machine->peripheral ? d->id : NULL;

    if (l == NULL) {
        return;
    }
    if (l->acpi_ost != NULL) {
        l->acpi_ost(id, slot_type, slot, event, status);
    }
    if (d != NULL && l->device_unplug_error != NULL && status != OST_SUCCESS && status != OST_EJECT_PENDING &&
        (event == OST_EJECT_REQUEST || event == OST_EJECT_BY_GUEST)) {
        g_autofree char *path = device_path(d);
        l->device_unplug_error(id, path);
    }
}

static void report_cpu(Device *owner, uintptr_t arg)
{
    report(&owner->machine->cpus, "CPU", arg);
}

static void report_dimm(Device *owner, uintptr_t arg)
{
    report(&owner->machine->dimms, "DIMM", arg);
}

/* --- registers --- */

uint8_t acpi_places_status(const AcpiPlaces *p, uint32_t n)
{
    if (n >= p->of->count) {
        return 0;
    }
    return (p->present[n] ? STATUS_PRESENT : 0) | (p->inserting[n] ? STATUS_INSERTING : 0) |
           (p->removing[n] ? STATUS_REMOVING : 0);
}

void acpi_places_control(AcpiPlaces *p, uint32_t n, uint8_t bits)
{
    if (n >= p->of->count) {
        return;
    }
    if (bits & CONTROL_INSERTED) {
        p->inserting[n] = 0;
    } else if (bits & CONTROL_REMOVED) {
        p->removing[n] = 0;
    } else if (bits & CONTROL_EJECT) {
        if (!p->present[n] || (p->of == &p->owner->machine->cpus && n == 0)) {
            guest_bug(p->owner->id, "ejects what is not there or cannot go");
            return;
        }
        TRACE(acpi_eject, "type=%s place=%u", p->slot_type, n);
        p->present[n] = false;
        p->inserting[n] = p->removing[n] = 0;
        machine_defer(p->owner, eject, (uintptr_t)p);
    }
}

void acpi_places_ost_event(AcpiPlaces *p, uint32_t n, uint32_t event)
{
    if (n < p->of->count) {
        p->ost_event[n] = event;
    }
}

void acpi_places_ost_status(AcpiPlaces *p, uint32_t n, uint32_t status)
{
    if (n >= p->of->count) {
        return;
    }
    p->ost_status[n] = status;
    TRACE(acpi_ost, "type=%s place=%u event=0x%x status=0x%x", p->slot_type, n, p->ost_event[n], status);
    machine_defer(p->owner, p->of == &p->owner->machine->cpus ? report_cpu : report_dimm,
                  pack(n, p->ost_event[n], status));
}

/* --- events, on control --- */

static bool may_plug(void *arg, unsigned n, Error **errp)
{
    const AcpiPlaces *p = arg;

    domain_enter(p->owner->domain);
    bool ok = p->may_plug == NULL || p->may_plug(p->owner, errp);
    domain_leave(p->owner->domain);
    return ok;
}

static void plugged(void *arg, unsigned n)
{
    AcpiPlaces *p = arg;

    domain_enter(p->owner->domain);
    p->present[n] = true;
    if (machine_was_reset()) {
        p->inserting[n] = 1;
        acpi_pm_gpe(p->pm, p->gpe);
    }
    domain_leave(p->owner->domain);
}

static bool unplug_request(void *arg, unsigned n, Error **errp)
{
    AcpiPlaces *p = arg;
    bool ok;

    domain_enter(p->owner->domain);
    ok = p->may_unplug == NULL || p->may_unplug(p, n, errp);
    if (ok) {
        p->removing[n] = 1;
        acpi_pm_gpe(p->pm, p->gpe);
    }
    domain_leave(p->owner->domain);
    return ok;
}

static void unplugged(void *arg, unsigned n)
{
    AcpiPlaces *p = arg;

    domain_enter(p->owner->domain);
    p->present[n] = false;
    p->inserting[n] = p->removing[n] = 0;
    domain_leave(p->owner->domain);
}

static void ospm_status(void *arg, unsigned n, uint32_t *event, uint32_t *status)
{
    const AcpiPlaces *p = arg;

    domain_enter(p->owner->domain);
    *event = p->ost_event[n];
    *status = p->ost_status[n];
    domain_leave(p->owner->domain);
}

static const MachinePlacesOps ops = { may_plug, plugged, unplug_request, unplugged, ospm_status };

/* --- the part --- */

void acpi_places_init(AcpiPlaces *p)
{
    assert_control();
    g_assert(p->of->count <= ACPI_PLACES);
    p->of->ops = &ops;
    p->of->arg = p;
    for (unsigned n = 0; n < p->of->count; n++) {
        p->present[n] = p->of->dev[n] != NULL;
    }
}

void acpi_places_free(AcpiPlaces *p)
{
    assert_control();
    if (p->of != NULL && p->of->arg == p) {
        p->of->ops = NULL;
        p->of->arg = NULL;
    }
}

void acpi_places_reset(AcpiPlaces *p, ResetKind kind)
{
    /* What is there is found by the system that starts now; a request for something stands. */
    memset(p->inserting, 0, sizeof(p->inserting));
    memset(p->ost_event, 0, sizeof(p->ost_event));
    memset(p->ost_status, 0, sizeof(p->ost_status));
}

static bool places_check(void *obj, Error **errp)
{
    AcpiPlaces *p = obj;

    for (unsigned n = 0; n < ACPI_PLACES; n++) {
        if (p->inserting[n] > 1 || p->removing[n] > 1) {
            return error_set(errp, "place %u has no such event", n);
        }
    }
    return true;
}

static const StateField places_fields[] = {
    STATE_BYTES(AcpiPlaces, inserting), STATE_BYTES(AcpiPlaces, removing),
    STATE_U32_ARRAY(AcpiPlaces, ost_event), STATE_U32_ARRAY(AcpiPlaces, ost_status),
    { 0 },
};
const StateDesc acpi_places_state = {
    .name = "acpi-places", .version = 1, .fields = places_fields, .check = places_check,
};
