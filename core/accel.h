/* accel.h: the seam to what runs vCPUs.  accel/kvm and accel/qtest implement it; tests bring a fake.
 *
 * Calls marked MAP come from map_commit() with rank MAP held and must not wait. */
#ifndef CORE_ACCEL_H
#define CORE_ACCEL_H

#include "core/cpu-debug.h"
#include <jansson.h>
#include "core/device.h"
#include "core/irq.h"
#include "core/machine.h"
#include "core/region.h"
#include "core/x86.h"

enum { SLOT_READONLY = 1, SLOT_LOG_DIRTY = 2 };
#define SLOT_SMM (1u << 16)    /* in the number of a slot: what processors see in SMM only */

/* How vCPU 0 starts after every machine reset, for kernels that are entered without firmware. */
typedef enum CpuBootMode {
    CPU_BOOT_RESET,            /* the architectural reset vector: firmware */
    CPU_BOOT_FLAT32,           /* protected mode, flat segments, no paging: PVH, multiboot */
    CPU_BOOT_LONG64,           /* 64-bit mode on the page tables at @cr3: Linux' 64-bit entry */
} CpuBootMode;

typedef struct CpuBoot {
    CpuBootMode mode;
    uint64_t rip, rsp, rax, rbx, rsi;
    uint64_t cr3;              /* LONG64 */
    bool kernel64;             /* FLAT32: what is entered will go to 64-bit mode */
    uint64_t gdt_base;         /* of a table whose entries 0x10 and 0x18 are flat code and data */
    uint16_t gdt_limit;
} CpuBoot;

/* A vCPU as its own port access finds it. */
typedef struct CpuSelf {
    uint64_t gpr[16];          /* in the order of the instruction encoding: X86_RAX... */
    uint64_t tsc_khz;          /* 0: unknown */
    bool x2apic;               /* CPUID offers it, and the accelerator has the local APIC */
} CpuSelf;

/* The interrupt controllers, to look at. */
typedef struct IrqChips {
    struct { uint8_t irr, imr, isr, base, elcr; } pic[2];      /* master, slave */
    uint64_t rte[24];          /* the I/O APIC's redirection table */
    uint32_t ioapic_id;
} IrqChips;

/* The board's own interrupt controllers, where gsi_sink() gave NULL.  Called on vCPU threads with no
 * lock held; they take their domain themselves. */
typedef struct SoftIrqchip {
    void *arg;
    int (*pic_ack)(void *arg);                     /* INTA cycle: the vector, or -1: nothing pending */
    void (*ioapic_eoi)(void *arg, uint8_t vector); /* EOI broadcast of a level-triggered vector */
    void (*look)(void *arg, IrqChips *out);        /* any thread */
} SoftIrqchip;

struct AccelOps {
    const char *name;                        /* "kvm", "qtest" */

    /* Whether guests can be run here by it; opens nothing for good.  NULL: always. */
    bool (*usable)(Error **errp);
    /* Opens the VM for @m: irqchip, identity map, capabilities.  Before any slot or vCPU. */
    bool (*vm_open)(Machine *m, Error **errp);
    /* Everything vm_open() and vcpus_create() made; vCPUs are parked.  Process exit. */
    void (*vm_close)(Machine *m);

    /* MAP: slot @slot becomes [@at, @at + @size) at @host; @size 0 removes it. */
    void (*slot_set)(unsigned slot, Gpa at, void *host, uint64_t size, unsigned flags);
    /* MAP: doorbells and coalesced ranges of @kind (SPACE_MEM or SPACE_PIO). */
    bool (*doorbell_set)(SpaceKind kind, Gpa at, unsigned size, const uint64_t *match, Notifier *n,
                         bool on);
    void (*coalesce_set)(SpaceKind kind, Gpa at, uint64_t size, bool on);
    /* ORs the pages the guest dirtied since the last call into @bits, one bit a 4 KiB page. */
    int (*dirty_take)(unsigned slot, Gpa at, uint64_t size, unsigned long *bits);

    /* Interrupts.  The in-kernel interrupt controllers' global interrupt inputs; NULL: the board makes
     * PIC, IOAPIC and PIT itself (split irqchip, qtest). */
    IrqSink *(*gsi_sink)(Machine *m);
    void (*msi_send)(const MsiMsg *m);
    bool (*route_set)(int *gsi, const MsiMsg *m, Error **errp);        /* *gsi < 0: allocate */
    void (*route_drop)(int gsi);
    bool (*irqfd_set)(int gsi, Notifier *raise, Notifier *resample, bool on);

    /* True if the accelerator has an interval timer (PIT) at its ports; NULL: no. */
    bool (*has_pit)(void);
    /* The HPET stands in for the accelerator's PIT: channel 0 raises no interrupt.  Any thread, a domain may
     * be held.  NULL: nothing to cut off. */
    void (*pit_replaced)(bool on);

    /* The board's controllers (split irqchip); before the vCPUs run.  @c is borrowed for good. */
    void (*soft_irqchip)(const SoftIrqchip *c);
    /* Level of the soft PIC's INTR output to vCPU 0.  Any thread. */
    void (*extint)(bool level);

    /* vCPUs: created parked, one named thread each.  Makes what vcpu_plug() has not made of the first
     * smp.cpus, and whatever else the VM saves. */
    bool (*vcpus_create)(Machine *m, Error **errp);
    /* Makes vCPU @index for the device @d, parked, whose child holds its state.  Control thread. */
    bool (*vcpu_plug)(Device *d, unsigned index, Error **errp);
    /* Ends vCPU @index for good, wherever it is; not there: nothing.  Control thread. */
    void (*vcpu_unplug)(unsigned index);
    /* Lets them run (again).  Control thread. */
    void (*vcpus_run)(void);
    /* Asks every vCPU to stop at its exit boundary; each leaves @home when it has.  The caller entered
     * @home once per vCPU (vcpu_count). */
    void (*vcpus_park)(Barrier *home);
    /* On a vCPU's thread: it does not enter the guest again before it was parked.  Elsewhere: nothing.
     * NULL: there are no vCPUs. */
    void (*vcpu_hold)(void);
    /* The highest index in use + 1; those that are not there count as parked. */
    unsigned (*vcpu_count)(void);
    /* Puts every (parked) vCPU into its reset state; from machine_reset(), between the devices' reset
     * and settle.  NULL: there are none. */
    void (*vcpus_reset)(ResetKind kind);
    /* Processors have system management mode: the board may use SPACE_SMM and smi().  NULL: no. */
    bool (*has_smm)(void);
    /* A system management interrupt for the vCPU whose thread this is, else for vCPU 0; or for @all. */
    void (*smi)(bool all);
    /* Pulls the vCPU's non-maskable interrupt pin (inject-nmi, watchdog). */
    void (*nmi)(unsigned index);
    /* Fixed ids of thread (-1: no such vCPU) and APIC of vCPU @index. */
    int (*vcpu_thread_id)(unsigned index);
    uint32_t (*vcpu_apic_id)(unsigned index);      /* of any index below max_cpus */
    /* CPUID leaf 1 as every vCPU sees it, EAX low and EDX high; after vm_open().  May be NULL. */
    uint64_t (*cpu_signature)(void);
    /* What the guest told of its crash as a new GuestPanicInformation; NULL: nothing.  May be NULL. */
    json_t *(*crash_info)(void);
    /* Features and other properties of vCPU objects; NULL: none. */
    const DeviceExtra *cpu_extra;
    /* Copies the registers of vCPU @index; it is asked at its next exit boundary, which control waits for,
     * holding nothing.  False: there is no such vCPU.  NULL: there are none. */
    bool (*vcpu_regs)(unsigned index, X86Regs *out);
    /* The same, the 1 KiB of its local APIC's registers (SDM vol. 3, table 11-1); false too without one in
     * the accelerator. */
    bool (*vcpu_lapic)(unsigned index, uint8_t page[1024]);
    /* Copies the interrupt controllers' registers; false: there are none. */
    bool (*irq_chips)(IrqChips *out);
    /* Inside a port access of a vCPU, on its thread: its registers before the instruction, and those it goes
     * on with; a read's own result comes after that.  False: not there.  NULL, both: there are no vCPUs. */
    bool (*self_get)(CpuSelf *out);
    void (*self_set)(const CpuSelf *c);
    /* How vCPU 0 starts from the next reset on; @b is copied, NULL: the reset vector. */
    void (*boot_state)(const CpuBoot *b);

    /* Debuggers; control, with the vCPUs parked.  All NULL where there are no vCPUs.  False: no vCPU
     * @index, or the kernel refused. */
    bool (*vcpu_regs_set)(unsigned index, const X86Regs *r);       /* all but @halted, @smm, @kernel64 */
    unsigned (*debug_features)(void);              /* CPU_DEBUG_ bits */
    /* How vCPU @index runs from its next entry on. */
    bool (*debug_set)(unsigned index, const CpuDebug *d);
    /* Once for each REQUEST_DEBUG: why it stopped. */
    bool (*debug_take)(unsigned index, CpuStop *s);
};

/* The accelerator of this process; set once by system/ before the machine is built. */
CTX_CONTROL void accel_set(const AccelOps *ops);
CTX_ANY const AccelOps *accel(void);

#endif
