/* cpuhp.c: CPU hot-plug through ACPI (the public specification "ACPI CPU hotplug interface").
 *
 *   legacy, until 0 is written to the first dword:   32 bytes, a bit for each APIC id: it is there
 *   modern:   reads                                       writes
 *     +0x0    command 3: high half of the CPU's id        selects a CPU
 *     +0x4    status (places.h)                           control (places.h)
 *     +0x5    -                                           command
 *     +0x8    0: the selected CPU; 3: its APIC id         1: _OST event, 2: _OST status
 *
 * 1. Command 0 moves the selector to the next CPU with an event, if there is one.
 * 2. A selector beyond the possible CPUs reads as zeros and takes no other write. */
#include "hw/acpi/cpuhp.h"

#include "core/accel.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { REG_SELECT = 0x0, REG_FLAGS = 0x4, REG_COMMAND = 0x5, REG_DATA = 0x8, REGS = 0xc };
enum { CMD_NEXT_EVENT = 0, CMD_OST_EVENT = 1, CMD_OST_STATUS = 2, CMD_CPU_ID = 3 };
enum { LEGACY_BYTES = 32, HAS_EVENT = 6 };

static uint32_t apic_id(unsigned cpu)
{
    return accel() != NULL && accel()->vcpu_apic_id != NULL ? accel()->vcpu_apic_id(cpu) : cpu;
}

static void place(AcpiCpuHp *hp)
{
    Region *io = &hp->places.owner->machine->io_root;

    map_begin();
    map_drop(&hp->legacy);
    map_drop(&hp->modern);
    map_put(io, hp->is_modern ? &hp->modern : &hp->legacy, hp->port, 0);
    map_commit();
}

/* --- legacy --- */

static uint64_t legacy_read(void *arg, uint64_t off, unsigned size)
{
    AcpiCpuHp *hp = arg;
    uint8_t bits = 0;

    for (unsigned n = 0; n < hp->places.of->count; n++) {
        uint32_t id = apic_id(n);
        if (hp->places.present[n] && id / 8 == off) {
            bits |= 1u << id % 8;
        }
    }
    return bits;
}

static void legacy_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    AcpiCpuHp *hp = arg;

    if (off == 0) {
        TRACE(cpuhp_modern, "val=%u", (unsigned)val);
        hp->is_modern = true;
        place(hp);
    }
}

static const RegionOps legacy_ops = { legacy_read, legacy_write, 1, 1, 0 };

/* --- modern --- */

static uint64_t modern_read(void *arg, uint64_t off, unsigned size)
{
    AcpiCpuHp *hp = arg;

    if (hp->select >= hp->places.of->count) {
        return 0;
    }
    if (off == REG_FLAGS) {
        return acpi_places_status(&hp->places, hp->select);
    }
    if (off == REG_DATA) {
        return hp->command == CMD_CPU_ID ? apic_id(hp->select)
             : hp->command == CMD_NEXT_EVENT ? hp->select : 0;
    }
    return 0;
}

static void next_event(AcpiCpuHp *hp)
{
    unsigned count = hp->places.of->count;

    for (unsigned i = 0; i < count; i++) {
        unsigned n = (hp->select + i) % count;
        if (acpi_places_status(&hp->places, n) & HAS_EVENT) {
            hp->select = n;
            return;
        }
    }
}

static void modern_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    AcpiCpuHp *hp = arg;

    if (off == REG_SELECT) {
        hp->select = (uint32_t)val;
        return;
    }
    if (hp->select >= hp->places.of->count) {
        return;
    }
    switch (off) {
    case REG_FLAGS:
        acpi_places_control(&hp->places, hp->select, (uint8_t)val);
        break;
    case REG_COMMAND:
        if (val <= CMD_CPU_ID) {
            hp->command = (uint8_t)val;
        }
        if (val == CMD_NEXT_EVENT) {
            next_event(hp);
        }
        break;
    case REG_DATA:
        if (hp->command == CMD_OST_EVENT) {
            acpi_places_ost_event(&hp->places, hp->select, (uint32_t)val);
        } else if (hp->command == CMD_OST_STATUS) {
            acpi_places_ost_status(&hp->places, hp->select, (uint32_t)val);
        }
        break;
    }
}

static const RegionOps modern_ops = { modern_read, modern_write, 1, 4, 0 };

/* --- the part --- */

/* The legacy interface only adds. */
static bool may_unplug(AcpiPlaces *p, unsigned n, Error **errp)
{
    const AcpiCpuHp *hp = container_of(p, AcpiCpuHp, places);

    return hp->is_modern || error_set(errp, "acpi: device unplug request for not supported device type: %s",
                                      p->of->dev[n]->type->name);
}

void acpi_cpuhp_init(AcpiCpuHp *hp, Device *owner, AcpiPm *pm, uint16_t port)
{
    assert_control();
    hp->places.owner = owner;
    hp->places.pm = pm;
    hp->places.of = &owner->machine->cpus;
    hp->places.slot_type = "CPU";
    hp->places.gpe = ACPI_CPUHP_GPE;
    hp->places.may_unplug = may_unplug;
    hp->port = port;
    acpi_places_init(&hp->places);
    region_io_arg(&hp->legacy, owner, "acpi-cpu-hotplug-legacy", &legacy_ops, hp, LEGACY_BYTES);
    region_io_arg(&hp->modern, owner, "acpi-cpu-hotplug", &modern_ops, hp, REGS);
    place(hp);
}

void acpi_cpuhp_free(AcpiCpuHp *hp)
{
    assert_control();
    map_begin();
    map_drop(&hp->legacy);
    map_drop(&hp->modern);
    map_commit();
    region_free(&hp->legacy);
    region_free(&hp->modern);
    acpi_places_free(&hp->places);
}

void acpi_cpuhp_reset(AcpiCpuHp *hp, ResetKind kind)
{
    if (kind == RESET_BUS) {
        return;                /* out of S3: the guest goes on with what it knows */
    }
    acpi_places_reset(&hp->places, kind);
    hp->is_modern = false;
    hp->select = 0;
    hp->command = CMD_NEXT_EVENT;
}

void acpi_cpuhp_settle(AcpiCpuHp *hp)
{
    place(hp);
}

static bool cpuhp_check(void *obj, Error **errp)
{
    const AcpiCpuHp *hp = obj;

    return hp->command <= CMD_CPU_ID || error_set(errp, "command %u", hp->command);
}

static const StateField cpuhp_fields[] = {
    STATE_STRUCT(AcpiCpuHp, places, &acpi_places_state), STATE_BOOL(AcpiCpuHp, is_modern),
    STATE_U32(AcpiCpuHp, select), STATE_U8(AcpiCpuHp, command),
    { 0 },
};
const StateDesc acpi_cpuhp_state = {
    .name = "acpi-cpuhp", .version = 1, .fields = cpuhp_fields, .check = cpuhp_check,
};
