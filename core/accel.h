/* accel.h: the seam to what runs vCPUs.  accel/kvm and accel/qtest implement it; tests bring a fake.
 *
 * Calls marked MAP come from map_commit() with rank MAP held and must not wait. */
#ifndef CORE_ACCEL_H
#define CORE_ACCEL_H

#include "core/irq.h"
#include "core/machine.h"
#include "core/region.h"

enum { SLOT_READONLY = 1, SLOT_LOG_DIRTY = 2 };

struct AccelOps {
    const char *name;                        /* "kvm", "qtest" */

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

    /* Interrupts.  The in-kernel (or soft) interrupt controllers' global interrupt inputs. */
    IrqSink *(*gsi_sink)(Machine *m);
    void (*msi_send)(const MsiMsg *m);
    bool (*route_set)(int *gsi, const MsiMsg *m, Error **errp);        /* *gsi < 0: allocate */
    void (*route_drop)(int gsi);
    bool (*irqfd_set)(int gsi, Notifier *raise, Notifier *resample, bool on);

    /* vCPUs: created parked, one named thread each. */
    bool (*vcpus_create)(Machine *m, Error **errp);
    /* Lets them run (again).  Control thread. */
    void (*vcpus_run)(void);
    /* Asks every vCPU to stop at its exit boundary; each leaves @home when it has.  The caller entered
     * @home once per vCPU (vcpu_count). */
    void (*vcpus_park)(Barrier *home);
    unsigned (*vcpu_count)(void);
    /* Pulls the vCPU's non-maskable interrupt pin (inject-nmi, watchdog). */
    void (*nmi)(unsigned index);
    /* Fixed ids of thread and APIC of vCPU @index. */
    int (*vcpu_thread_id)(unsigned index);
};

/* The accelerator of this process; set once by system/ before the machine is built. */
CTX_CONTROL void accel_set(const AccelOps *ops);
CTX_ANY const AccelOps *accel(void);

#endif
