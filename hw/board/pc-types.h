/* pc-types.h: the PC machine types by version. */
#ifndef HW_BOARD_PC_TYPES_H
#define HW_BOARD_PC_TYPES_H

#include "util/context.h"

/* Registers pc-i440fx-*, pc-q35-* and their aliases; before any option is read. */
CTX_CONTROL void pc_types_register(void);

#endif
