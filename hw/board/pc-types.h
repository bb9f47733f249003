/* pc-types.h: the PC machine types by version. */
#ifndef HW_BOARD_PC_TYPES_H
#define HW_BOARD_PC_TYPES_H

#include "core/machine.h"

extern const MachineType none_machine;

/* Registers pc-i440fx-*, pc-q35-*, their aliases, and none; before any option is read. */
CTX_CONTROL void pc_types_register(void);

#endif
