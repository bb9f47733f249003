/* places.h: what CPU and memory hot-plug through ACPI share: numbered places with an insert event, an
 * eject request, and the guest's _OST reports.  cpuhp.h and memhp.h put registers before it.
 *
 * 1. An AcpiPlaces is a part of the chip that owns the ACPI registers, under its domain; what is in the
 *    places belongs to control (core/machine.h, MachinePlaces), which tells @present.
 * 2. An eject is carried out on control; the guest sees an empty place at once. */
#ifndef HW_ACPI_PLACES_H
#define HW_ACPI_PLACES_H

#include "core/machine.h"
#include "hw/acpi/pm.h"

#define ACPI_PLACES 288

typedef struct AcpiPlaces {
    Device *owner;
    AcpiPm *pm;
    MachinePlaces *of;
    const char *slot_type;     /* of ACPI_DEVICE_OST: "CPU", "DIMM" */
    unsigned gpe;
    /* False: nothing can be plugged now; NULL: it can. */
    bool (*may_plug)(const Device *owner, Error **errp);
    /* False: an unplug cannot be asked for now. */
    bool (*may_unplug)(struct AcpiPlaces *p, unsigned n, Error **errp);
    bool present[ACPI_PLACES]; /* derived from @of */
    /* state */
    uint8_t inserting[ACPI_PLACES], removing[ACPI_PLACES];     /* 1: the guest has not taken note */
    uint32_t ost_event[ACPI_PLACES], ost_status[ACPI_PLACES];
} AcpiPlaces;

extern const StateDesc acpi_places_state;

/* Takes over @of; fields above @may_unplug are the caller's to fill in first. */
CTX_CONTROL void acpi_places_init(AcpiPlaces *p);
CTX_CONTROL void acpi_places_free(AcpiPlaces *p);
CTX_DOMAIN void acpi_places_reset(AcpiPlaces *p, ResetKind kind);

/* --- for the registers; @n is any number, places that are not there are empty --- */
/* Bit 0: something is there, 1: it was inserted, 2: it is asked for. */
CTX_DOMAIN uint8_t acpi_places_status(const AcpiPlaces *p, uint32_t n);
/* Bit 1: takes note of the insertion, 2: of the request, 3: ejects. */
CTX_DOMAIN void acpi_places_control(AcpiPlaces *p, uint32_t n, uint8_t bits);
CTX_DOMAIN void acpi_places_ost_event(AcpiPlaces *p, uint32_t n, uint32_t event);
/* Reports to the user: ACPI_DEVICE_OST, and DEVICE_UNPLUG_GUEST_ERROR for an eject that failed. */
CTX_DOMAIN void acpi_places_ost_status(AcpiPlaces *p, uint32_t n, uint32_t status);

#endif
