/* floppy.h: floppy drives on the slot "floppy-bus" of a controller, and the diskettes in them.
 *
 * 1. A drive shares the domain of its controller, which guards everything here but the medium's node. */
#ifndef HW_STORAGE_FLOPPY_H
#define HW_STORAGE_FLOPPY_H

#include "hw/scsi/medium.h"

#define FLOPPY_SECTOR 512
#define FLOPPY_UNITS 2
#define FLOPPY_TRACK_MAX 48    /* sectors of the longest track of any format */

/* In the order of floppy_type_names. */
typedef enum FloppyType { FLOPPY_144, FLOPPY_288, FLOPPY_120, FLOPPY_NONE, FLOPPY_AUTO } FloppyType;
extern const char *const floppy_type_names[];

/* Data rates as CCR and DSR code them, of MFM. */
enum { FLOPPY_500K, FLOPPY_300K, FLOPPY_250K, FLOPPY_1M };

typedef struct FloppyFormat {
    uint8_t sectors, cylinders, heads;
    uint8_t rate, type;        /* of the drive it is for */
} FloppyFormat;

typedef struct FloppyDrive FloppyDrive;

/* What Bus.priv of a floppy-bus points to; embedded in the controller. */
typedef struct FloppyBus {
    FloppyDrive *drives[FLOPPY_UNITS];
    int32_t type[FLOPPY_UNITS], fallback;      /* FloppyType: the controller's wishes */
    int32_t bootindex[FLOPPY_UNITS];
} FloppyBus;

struct FloppyDrive {
    Device dev;
    Medium medium;
    uint8_t type;              /* FloppyType; never FLOPPY_AUTO once realized */
    FloppyFormat format;       /* of the medium, or what the drive would take its medium for */
    bool changed;              /* the disk change line */
    uint8_t cylinder;          /* where the heads are */
    /* properties */
    void *drive;
    uint32_t unit;
    int32_t drive_type, write_cache, account_invalid, account_failed, backend_defaults;
    uint64_t logical, physical, discard_granularity, min_io, opt_io;
    bool share_rw;
};

extern const SlotType floppy_slot;
extern const DeviceType floppy_type;           /* "floppy" */

/* The format of a medium of @size bytes in a drive of type @drive; FLOPPY_AUTO finds the type too, and falls
 * back to @fallback.  A size that no diskette has gets the drive's usual format. */
CTX_ANY FloppyFormat floppy_format(uint64_t size, FloppyType drive, FloppyType fallback);
/* Moves the heads to @cylinder, which tells the drive that it has a new medium. */
CTX_DOMAIN void floppy_seek(FloppyDrive *f, unsigned cylinder);
/* The highest cylinder and sector numbers of the formats a drive of type @t takes as its own. */
CTX_ANY void floppy_limits(FloppyType t, unsigned *cylinder, unsigned *sector);
/* The drive type as CMOS byte 0x10 and ACPI's _FDI (6.4, 9.9.2) code it; 0: none. */
CTX_ANY uint8_t floppy_cmos_type(const FloppyDrive *f);

#endif
