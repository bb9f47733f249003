/* linker.h: tables with pointers and checksums that somebody else places: the firmware, through fw_cfg's
 * "etc/table-loader", or linker_place() for a guest that boots without one.
 *
 * A file is a named blob.  Commands (in order) allocate files, add the address of one file into a field
 * of another, and fill in checksums. */
#ifndef HW_ACPI_LINKER_H
#define HW_ACPI_LINKER_H

#include <glib.h>
#include "core/types.h"

typedef struct Linker Linker;
typedef enum LinkerZone { ZONE_HIGH = 1, ZONE_FSEG = 2 } LinkerZone;

CTX_CONTROL Linker *linker_new(void);
CTX_CONTROL void linker_free(Linker *l);
/* Adds file @name (55 bytes at most) and the command that allocates it; the blob is the linker's. */
CTX_CONTROL GByteArray *linker_file(Linker *l, const char *name, unsigned align, LinkerZone zone);
/* The @size-byte little-endian field at @off of @file gets the address of @to_file added. */
CTX_CONTROL void linker_pointer(Linker *l, const char *file, unsigned off, unsigned size,
                                const char *to_file);
/* The byte at @off of @file makes [@start, @start + @len) of it sum to zero. */
CTX_CONTROL void linker_checksum(Linker *l, const char *file, unsigned off, unsigned start, unsigned len);

/* The blob of file @name, which is there. */
CTX_CONTROL GByteArray *linker_blob(const Linker *l, const char *name);
/* The command file, in the order of the calls; the linker's. */
CTX_CONTROL const GByteArray *linker_script(const Linker *l);
CTX_CONTROL void linker_each_file(const Linker *l,
                                  void (*fn)(const char *name, const GByteArray *blob, void *arg), void *arg);
/* Does what the firmware would: ZONE_HIGH files go below *@high (which is lowered), ZONE_FSEG ones
 * from *@fseg up, and are written by put(at, bytes, n, arg). */
CTX_CONTROL bool linker_place(Linker *l, Gpa *high, Gpa *fseg,
                              bool (*put)(Gpa at, const void *bytes, size_t n, void *arg), void *arg);
/* Where linker_place() put file @name. */
CTX_CONTROL Gpa linker_address(const Linker *l, const char *name);

#endif
