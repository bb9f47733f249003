/* gdb-regs.h: a processor's registers as GDB numbers and describes them (GDB manual, appendix G). */
#ifndef DEBUG_GDB_REGS_H
#define DEBUG_GDB_REGS_H

#include <glib.h>
#include "core/x86.h"

#define GDB_REG_BYTES 16

typedef enum GdbWidth { GDB_32, GDB_64 } GdbWidth;

/* The registers that suit the mode of @r: 64-bit ones in long mode, in real mode (from where most go
 * to long mode) and before a 64-bit kernel; else 32-bit ones. */
CTX_ANY GdbWidth gdb_width_of(const X86Regs *r);
/* The target description, all of it.  Owned by the caller. */
CTX_ANY char *gdb_regs_xml(GdbWidth w);
CTX_ANY unsigned gdb_regs_count(GdbWidth w);
/* Register @n of @r, little-endian: its size, or 0: no such register. */
CTX_ANY unsigned gdb_reg_get(GdbWidth w, unsigned n, const X86Regs *r, uint8_t out[GDB_REG_BYTES]);
/* False: it cannot have that value. */
CTX_ANY bool gdb_reg_set(GdbWidth w, unsigned n, X86Regs *r, const uint8_t in[GDB_REG_BYTES]);

#endif
