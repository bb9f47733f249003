/* machine.h: the one machine of this process: its configuration, its roots, stopping and resetting it.
 *
 *   built --machine_start--> running <--quiesce/resume--> stopped      run states by name: system/runstate.c
 *
 * Guests and devices never act on the machine; they send a request (any thread), which system/ carries
 * out on control. */
#ifndef CORE_MACHINE_H
#define CORE_MACHINE_H

#include "core/device.h"
#include "core/irq.h"
#include "core/memdev.h"
#include "core/region.h"

#define NUMA_NODES_MAX 128

typedef struct MachineNode {
    uint64_t mem;              /* bytes; 0 when @memdev says */
    char *memdev;              /* id of a memory back end, or NULL */
    uint8_t distance[NUMA_NODES_MAX];
    bool has_cpu;
} MachineNode;

typedef struct CpuTopology {
    unsigned cpus, max_cpus, sockets, dies, cores, threads;
} CpuTopology;

typedef struct OptionRom {
    char *file;
    int bootindex;             /* -1: none */
} OptionRom;

/* What the command line asked for; strings are owned by system/ and live as long as the process. */
typedef struct BoardConfig {
    uint64_t ram_size;
    uint64_t ram_max;          /* -m maxmem; 0: equal to ram_size */
    unsigned ram_slots;
    char *memory_backend;      /* id for all of RAM, or NULL */
    CpuTopology smp;
    char *cpu_model;           /* "host,+x,-y"; default: the machine type's */
    uint64_t max_ram_below_4g; /* 0: the board's default */
    MachineNode *numa;
    unsigned numa_nodes;
    uint16_t *cpu_node;        /* node of each possible CPU, or NULL */

    char *kernel, *initrd, *append, *firmware;     /* -kernel ... -bios */
    char *shim, *dtb;
    char *pflash[2];           /* block node names */
    char *boot_order, *boot_once;
    bool boot_menu, boot_menu_set, boot_strict;
    char *boot_splash;
    int boot_splash_time_ms, boot_reboot_timeout_ms;       /* -1: unset */

    bool graphics, acpi, hpet, i8042, vmport, usb, nographic;
    int smm;                   /* ONOFF_*: system management mode */
    bool no_fd_bootchk;        /* -no-fd-bootchk */
    bool cpu_pm;               /* -overcommit cpu-pm=on: HLT, PAUSE and MWAIT do not exit */
    int kernel_irqchip;        /* 0 off, 1 on, 2 split */
    bool mem_merge, dump_guest_core, mem_prealloc;
    char *uuid;                /* text, or NULL */
    char *guest_name;          /* -name guest= */
    int64_t rtc_offset_s;      /* guest RTC minus UTC at start */
    bool rtc_utc;
    ClockKind rtc_clock;
    bool rtc_drift_slew;
    struct SmbiosConfigData *smbios;   /* hw/board/smbios.h; NULL: its defaults */
    GPtrArray *fw_cfg;         /* char *: texts after -fw_cfg */
    GArray *option_roms;       /* OptionRom, in the order of their bootindex; NULL: none */
    GPtrArray *acpi_tables;    /* GByteArray *: the user's own, header and all; NULL: none */
} BoardConfig;

typedef struct MachineType {
    const char *name;          /* "pc-q35-7.2" */
    const char *alias;         /* "q35", or NULL */
    const char *desc;          /* "Standard PC (Q35 + ICH9, 2009)" */
    bool is_default;
    bool empty;                /* no board, no RAM, no vCPU: the accelerator opens no VM for it */
    unsigned max_cpus;
    const char *default_cpu, *default_nic, *default_display;
    const struct CompatProp *compat;     /* what this version sets back from @newer; ends with .type NULL */
    const struct MachineType *newer;     /* the next version; NULL: the newest */
    bool smp_sockets;          /* what -smp leaves out makes sockets rather than cores */
    bool (*build)(Machine *m, Error **errp);   /* creates and realizes every device of the board */
    /* What the user plugged is there; NULL: nothing more to do. */
    bool (*complete)(Machine *m, Error **errp);
    /* After every device and vCPU was reset and settled: loads RAM, does a missing firmware's work.
     * Control, no lock held. */
    void (*restart)(Machine *m, ResetKind kind);
} MachineType;

/* A row of a versioned machine: property @prop of the types that the pattern @type matches, and that have
 * it, has value @value unless the user says. */
typedef struct CompatProp {
    const char *type, *prop, *value;
} CompatProp;

/* How the board tells the guest of what comes to and leaves numbered places: vCPUs, memory devices.
 * Called on control with no lock held; @dev is in its place in all of them. */
typedef struct MachinePlacesOps {
    /* NULL: any time. */
    bool (*may_plug)(void *arg, unsigned place, Error **errp);
    void (*plugged)(void *arg, unsigned place);
    /* The guest is asked to let go; the device is removed when it does. */
    bool (*unplug_request)(void *arg, unsigned place, Error **errp);
    void (*unplugged)(void *arg, unsigned place);
    /* What the guest reported last by _OST; NULL: it cannot. */
    void (*ospm_status)(void *arg, unsigned place, uint32_t *event, uint32_t *status);
} MachinePlacesOps;

typedef struct MachinePlaces {
    Device **dev;              /* what is in each place, NULL: nothing; control */
    unsigned count;
    const MachinePlacesOps *ops;       /* NULL: the guest cannot be told */
    void *arg;
} MachinePlaces;

typedef struct MachineDimm {
    Gpa addr;
    uint64_t size;
    uint32_t node;             /* NUMA */
} MachineDimm;

typedef struct PowerOps {
    void (*power_button)(Device *pm);          /* under the domain of the device */
    void (*sleep_button)(Device *pm);
    bool (*wake)(Device *pm);                  /* leave S3; false: not asleep */
} PowerOps;

/* A device that takes memory from the guest, at its host's wish. */
typedef struct BalloonOps {
    uint64_t (*actual)(Device *d);             /* bytes the guest has left */
    void (*target)(Device *d, uint64_t bytes); /* bytes it is to have; the guest follows when it likes */
} BalloonOps;

struct Machine {
    Device *root;              /* "/machine"; the board's devices are below it */
    Device *peripheral;        /* parent of what the user makes */
    const MachineType *type;
    BoardConfig cfg;
    Region mem_root, io_root;
    Space *mem, *io;
    /* What processors see in system management mode: @smm_root with the common memory @smm_below, and over it
     * what only SMM sees.  @smm NULL: there is no such mode. */
    Region smm_root, smm_below;
    Space *smm;
    GPtrArray *ram_blocks;     /* RamBlock *: guest RAM in order of address, made by system/ */
    uint64_t below_4g, above_4g;       /* bytes of RAM */
    IrqSink *gsi;              /* global interrupt inputs, 24 for a PC */
    Loop *device_loop;
    Device *pm;                /* ACPI power management, or NULL */
    const PowerOps *power_ops;
    Device *balloon;           /* NULL: none */
    const BalloonOps *balloon_ops;
    Device *fw_cfg;
    /* Where the guest's note VMCOREINFO is, set by the device vmcoreinfo; NULL: there is none.  False:
     * the guest has told nothing.  Any thread, holding nothing. */
    bool (*vmcoreinfo)(Machine *m, Gpa *at, uint32_t *size);
    Bus *isa, *pci;            /* root buses, for default placement */
    const DeviceType *cpu_type;        /* what -device makes a vCPU of; NULL: the board has none */
    MachinePlaces cpus;        /* by vCPU index */
    MachinePlaces dimms;       /* memory slots */
    MachineDimm *dimm_ranges;  /* of what is in them */
    MemoryArea memory_area;    /* where memory devices lie */
    GPtrArray *boot_devices;   /* Device *: those with a bootindex, in its order (Device.bootindex) */
    Device *peripheral_anon;   /* parent of what the user makes without an id */
    Device *unattached;        /* parent of board devices without an id */
    void *board;               /* the board's own */
    const CompatProp *globals; /* the user's own defaults (-global), ends with .type NULL; NULL: none */
    bool *globals_used;        /* by place: a device got it; NULL: nobody asks */
};

/* --- building (control) --- */
CTX_CONTROL Machine *machine_new(const MachineType *t, Loop *device_loop, Error **errp);
CTX_CONTROL void machine_free(Machine *m);
/* Gives the processors system management mode; before the first of them is made. */
CTX_CONTROL void machine_add_smm(Machine *m);
CTX_ANY Machine *machine(void);                /* the process's machine; NULL before machine_new() */
CTX_CONTROL void machine_types_register(const MachineType *const *types);
CTX_ANY const MachineType *const *machine_types(void);
CTX_ANY const MachineType *machine_type_find(const char *name_or_alias);

/* --- stop the world --- */
/* Parks all vCPUs, then quiesces all devices; @done then runs on control.  Nothing in the guest or in a
 * device moves until machine_resume().  CLOCK_VM stops. */
CTX_CONTROL void machine_quiesce(Post *done);
/* A new machine is quiesced.  No effect unless it is, or while it still goes down. */
CTX_CONTROL void machine_resume(void);
CTX_CONTROL bool machine_quiesced(void);
/* From now on fn(true) is called before vCPUs run, and fn(false) when everything has stopped: whoever
 * changes the guest behind its back (a debugger's breakpoints) does it there.  NULL: nobody. */
CTX_CONTROL void machine_on_move(void (*fn)(bool moves));
/* True while nothing stops the vCPUs: not quiesced, nor on the way to it. */
CTX_CONTROL bool machine_moves(void);
/* True once machine_reset() has run: what is realized from now on is hot-plugged. */
CTX_CONTROL bool machine_was_reset(void);
/* The bytes of UUID @text in the order of its digits; NULL: zeroes. */
CTX_ANY void machine_uuid(const char *text, uint8_t raw[16]);
/* Resets every device and vCPU, then settles; the machine is quiesced. */
CTX_CONTROL void machine_reset(ResetKind kind);

/* --- requests from the guest's side (any thread; carried out on control) --- */
typedef enum MachineRequest {
    REQUEST_RESET,             /* guest reset: port 92, 0xCF9, triple fault, FADT reset register */
    REQUEST_POWEROFF,          /* ACPI S5 */
    REQUEST_SUSPEND,           /* ACPI S3 */
    REQUEST_SUSPEND_DISK,      /* ACPI S4 */
    REQUEST_WAKE,
    REQUEST_PANIC,             /* pvpanic; @detail: the event bits */
    REQUEST_CRASHLOADED,
    REQUEST_EXIT,              /* isa-debug-exit; @detail: the exit status */
    REQUEST_INTERNAL_ERROR,    /* a vCPU cannot go on; its report was printed */
    REQUEST_WATCHDOG,
    REQUEST_IO_ERROR,          /* a disk request failed and is kept until the machine goes on */
    REQUEST_DEBUG,             /* a vCPU stopped for the debugger; @detail: its index */
    REQUEST_COUNT,
} MachineRequest;
/* A kind that is pending already is not queued again: the first detail and cause count.  @cause is
 * copied (up to 63 bytes). */
CTX_ANY void machine_request(MachineRequest what, uint32_t detail, const char *cause);
CTX_CONTROL void machine_on_request(void (*fn)(MachineRequest what, uint32_t detail, const char *cause));
/* Something ended by a guest's act on one device that control must do (eject, bridge reset):
 * fn(dev, arg) on control, unless the device has been removed meanwhile.  The same call already queued
 * is not queued again; a device has at most 64 queued. */
CTX_ANY void machine_defer(Device *d, void (*fn)(Device *d, uintptr_t arg), uintptr_t arg);

/* --- events to whoever listens (QMP): DEVICE_DELETED and the like --- */
typedef struct MachineListener {
    void (*device_deleted)(const char *id, const char *path);
    void (*device_unplug_error)(const char *id, const char *path);
    void (*acpi_ost)(const char *id, const char *slot_type, const char *slot, unsigned source,
                     unsigned status);
    void (*rtc_changed)(int64_t offset_s);
    void (*vserport)(const char *id, bool open);
    /* The guest has @actual bytes now. */
    void (*balloon_changed)(uint64_t actual);
    /* The guest has @size bytes of memory device @d now. */
    void (*memory_size_changed)(const Device *d, uint64_t size);
} MachineListener;
CTX_CONTROL void machine_set_listener(const MachineListener *l);
CTX_ANY const MachineListener *machine_listener(void);

/* @d takes place @n of @p, which is free, or leaves it; before and after that ops know nothing of it. */
CTX_CONTROL void machine_place_take(MachinePlaces *p, unsigned n, Device *d);
CTX_CONTROL void machine_place_leave(MachinePlaces *p, unsigned n);

/* Keeps @d as a boot candidate; bootindex -1: none.  Duplicate indexes are refused. */
CTX_CONTROL bool machine_bootindex(Machine *m, Device *d, int32_t index, Error **errp);

#endif
