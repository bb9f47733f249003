/* types.h: addresses and forward names that every part of the model uses. */
#ifndef CORE_TYPES_H
#define CORE_TYPES_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "util/context.h"
#include "util/error.h"

typedef uint64_t Gpa;      /* guest-physical address (or I/O port, in the port space) */
typedef uint64_t Iova;     /* address a device puts on its bus */

typedef struct Device Device;
typedef struct DeviceType DeviceType;
typedef struct Bus Bus;
typedef struct SlotType SlotType;
typedef struct Domain Domain;
typedef struct PropDesc PropDesc;
typedef struct StateDesc StateDesc;
typedef struct Region Region;
typedef struct Space Space;
typedef struct RamBlock RamBlock;
typedef struct IrqSink IrqSink;
typedef struct IrqLine IrqLine;
typedef struct Machine Machine;
typedef struct AccelOps AccelOps;

/* Offset of T.f, which must be of type @want: a wrong field type does not compile. */
#define field_at(T, f, want) \
    (offsetof(T, f) + 0 * sizeof(char[_Generic(((T *)0)->f, want: 1, default: -1)]))

#endif
