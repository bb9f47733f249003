/* smbios.h: the SMBIOS tables of a PC (System Management BIOS Reference Specification 3.1.1, "DSP0134").
 *
 * Firmware reads the two files from fw_cfg, fixes the entry point's address and checksums, and puts both
 * where guests look; without firmware smbios_place() does the same in the F segment. */
#ifndef HW_BOARD_SMBIOS_H
#define HW_BOARD_SMBIOS_H

#include "core/machine.h"

#define SMBIOS_TABLES_FILE "etc/smbios/smbios-tables"
#define SMBIOS_ANCHOR_FILE "etc/smbios/smbios-anchor"

/* What people said about one structure: NULL and false leave the default.  The texts are borrowed. */
typedef struct SmbiosBios {
    const char *vendor, *version, *date;
    bool wanted, uefi;
    uint8_t major, minor;
} SmbiosBios;

typedef struct SmbiosSystem {
    const char *manufacturer, *product, *version, *serial, *uuid, *sku, *family;
} SmbiosSystem;

typedef struct SmbiosBaseboard {
    const char *manufacturer, *product, *version, *serial, *asset, *location;
    bool wanted;
} SmbiosBaseboard;

typedef struct SmbiosChassis {
    const char *manufacturer, *version, *serial, *asset, *sku;
} SmbiosChassis;

typedef struct SmbiosProcessor {
    const char *sock_pfx, *manufacturer, *version, *serial, *asset, *part;
    uint16_t max_speed_mhz, current_speed_mhz;     /* 0: the default */
    bool has_id;
    uint64_t id;                                   /* CPUID leaf 1: EAX, then EDX */
} SmbiosProcessor;

typedef struct SmbiosMemory {
    const char *loc_pfx, *bank, *manufacturer, *serial, *asset, *part;
    uint16_t speed_mhz;
} SmbiosMemory;

/* The whole of -smbios; BoardConfig.smbios.  All zero: every default. */
typedef struct SmbiosConfigData {
    bool entry64;                      /* the 64-bit entry point of 3.0 instead of the 32-bit one */
    SmbiosBios bios;
    SmbiosSystem system;
    SmbiosBaseboard baseboard;
    SmbiosChassis chassis;
    SmbiosProcessor processor;
    SmbiosMemory memory;
    GPtrArray *oem;                    /* char *: OEM strings, or NULL */
    GByteArray *blob;                  /* structures read from files, checked, or NULL */
    bool in_blob[256];                 /* types that @blob brings: none are made of them */
} SmbiosConfigData;

typedef struct Smbios {
    GByteArray *tables, *anchor;
} Smbios;

/* Adds the structures in @data, the contents of @path, to @c->blob.  They must be whole: a structure whose
 * length or strings leave the file is an error. */
CTX_CONTROL bool smbios_add_blob(SmbiosConfigData *c, const uint8_t *data, size_t n, const char *path,
                                 Error **errp);
/* Builds the tables of @m; @cpu_signature is CPUID leaf 1 (EAX low, EDX high), 0: unknown.  Fails when there
 * is more of them than the entry point can tell. */
CTX_CONTROL bool smbios_build(Smbios *s, const Machine *m, uint64_t cpu_signature, Error **errp);
CTX_ANY void smbios_clear(Smbios *s);
/* As firmware does: the anchor at a multiple of 16 from *@at up, the tables behind it, or below *@high when
 * they do not fit below @end; advances *@at and lowers *@high.  @put as linker_place()'s. */
CTX_CONTROL bool smbios_place(const Smbios *s, Gpa *at, Gpa end, Gpa *high,
                              bool (*put)(Gpa at, const void *bytes, size_t n, void *arg), void *arg);

#endif
