/* kvm-int.h: what the files of accel/kvm know of one another.
 *
 * 1. There is one VM a process, kvm_vm; the seam (core/accel.h) names none.
 * 2. The array of vCPUs belongs to control; vCPU 0 is always there.  KVM cannot end a vCPU: one that was
 *    unplugged keeps its place, without a thread, and is used again when its index is plugged again.
 * 3. A vCPU's descriptor is used by its own thread while it runs, and by control while it is
 *    parked or in kvm_vcpu_call(). */
#ifndef ACCEL_KVM_KVM_INT_H
#define ACCEL_KVM_KVM_INT_H

#include <linux/kvm.h>
#include <sys/ioctl.h>
#include "core/accel.h"
#include "core/device.h"
#include "util/lock.h"
#include "util/loop.h"

#define KVM_PINS 24            /* global interrupt inputs of a PC's one IOAPIC */
#define KVM_CPUID_MAX 256
#define KVM_MSRS_MAX 512

typedef enum VcpuState { VCPU_PARKED, VCPU_RUNNING, VCPU_PARKING, VCPU_QUIT } VcpuState;

/* Bits of KvmVcpu.todo: what a kicked vCPU finds to do. */
enum { TODO_STATE = 1, TODO_NMI = 2, TODO_EXTINT = 4, TODO_HOLD = 8, TODO_CALL = 16, TODO_SMI = 32 };

typedef struct KvmSegment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    /* as in a descriptor's bytes 5 and 6: type, S, DPL, P, AVL, L, D, G */
    uint16_t access;
    bool unusable;
} KvmSegment;

/* The state of a vCPU in the form it is saved: device type "kvm-vcpu".  Gathered by before_save, or
 * written by reset or a load, and put back by settle; in between the truth is in the kernel. */
typedef struct KvmCpuDevice {
    Device dev;
    struct KvmVcpu *vcpu;
    bool dirty;                /* newer than the kernel's: settle has to put it */

    uint64_t gpr[16];          /* rax rbx rcx rdx rsi rdi rsp rbp r8..r15 */
    uint64_t rip, rflags;
    KvmSegment seg[8];         /* cs ds es fs gs ss tr ldt */
    uint64_t gdt_base, idt_base;
    uint16_t gdt_limit, idt_limit;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base, xcr0;
    uint64_t db[4], dr6, dr7;
    uint64_t interrupt_bitmap[4];
    GByteArray *xsave;         /* struct kvm_xsave, as long as the host's is; NULL: reset value */
    /* 16-byte records: index, 0, value, little-endian; NULL: reset values */
    GByteArray *msrs;
    GByteArray *nested;        /* struct kvm_nested_state, or NULL */
    uint8_t lapic[KVM_APIC_REG_SIZE];
    uint32_t mp_state;
    uint64_t tsc_khz;
    bool exc_pending, exc_injected, exc_has_code, exc_has_payload;
    uint8_t exc_nr;
    uint32_t exc_code;
    uint64_t exc_payload;
    bool irq_injected, irq_soft, nmi_injected, nmi_pending, nmi_masked, triple_fault;
    uint8_t irq_nr, irq_shadow;
    uint32_t sipi_vector;
    bool smm, smm_pending, smm_inside_nmi, smm_latched_init;
} KvmCpuDevice;

typedef struct KvmVcpu {
    /* used on every exit */
    struct kvm_run *run;
    Space *io, *mem, *smm;    /* @smm: memory in system management mode, may be NULL */
    int fd;
    unsigned todo;             /* atomic: TODO_ bits */
    bool stuck;                /* own thread: cannot go on until it was parked and run again */
    CpuDebug debug;            /* what the kernel was told: set while parked */
    CpuStop stop;              /* own thread, then control: valid when @stopped */
    bool stopped;              /* atomic: a debugger has to look at @stop */

    unsigned index;
    uint32_t apic_id;
    int tid;
    pthread_t thread;
    bool has_thread;
    bool fresh;                /* in the kernel's power-on state, never run */
    Lock lock;
    LockCond cond;
    VcpuState state;           /* guarded by lock */
    Barrier *home;             /* guarded by lock: whom to tell when parked */
    bool waiting;              /* guarded by lock: its thread waits for @cond, so others may use @fd */
    void (*call)(struct KvmVcpu *v, void *arg);    /* guarded by lock: wanted at the exit boundary */
    void *call_arg;
    int stats_fd;              /* control's: 0: not asked for yet; -errno: there is none */
    KvmCpuDevice *dev;
} KvmVcpu;

typedef struct KvmVm {
    Machine *machine;
    int kvm, fd;
    int stats_fd;              /* 0: not asked for yet; -errno: there is none */
    size_t run_size;
    unsigned ring_page;        /* of the coalesced ring in a vCPU's mapping; 0: none */
    bool split, pit;
    bool has_xcrs;             /* the host has XSAVE */
    int xsave_size, nested_size;
    uint32_t apic_mask_bits;
    KvmVcpu **vcpu;            /* by index, smp.max_cpus of them; NULL: never was there */
    unsigned vcpu_count;       /* highest index that ever was + 1 */

    /* Coalesced writes: one ring for all vCPUs, mapped with the first; NULL: none.  Its lock is
     * above every rank: taken at the exit boundary, holding nothing, and kept while entries are
     * carried out, so that no vCPU passes another's earlier write. */
    struct kvm_coalesced_mmio_ring *ring;
    pthread_mutex_t ring_lock;

    IrqSink gsi;
    uint32_t gsi_levels;       /* atomic: what was last driven, a bit a pin */
    Lock route_lock;           /* rank IRQ: guards the four below */
    struct kvm_irq_routing *routes;
    unsigned route_room;
    unsigned route_limit;
    uint64_t *gsi_used;        /* bitmap of route_limit bits */
    const SoftIrqchip *soft;
    bool extint;               /* atomic: level of the soft PIC's output */

    CpuBoot boot;
    bool has_boot;

    struct kvm_cpuid2 *cpuid;  /* what vCPUs see; ids are filled in for each */
    struct KvmCpuModel *model; /* of -cpu, resolved */
    struct KvmOffer *offer;    /* what the host's KVM has */
    uint64_t crash[5];         /* what the guest told by Hyper-V's crash registers; valid if... */
    bool crashed;              /* atomic: ...this is set, by the vCPU that crashed */
    uint32_t *msr_list;        /* MSRs worth saving; NULL: not asked yet */
    unsigned msr_count;
} KvmVm;

extern KvmVm kvm_vm;

/* --- vm.c --- */
/* Reads kvm_vm.offer without a VM, with Hyper-V's part; it stays NULL if that fails. */
void kvm_offer_peek(void);
/* KVM_CHECK_EXTENSION on the VM. */
int kvm_cap(int cap);

/* --- irq.c --- */
bool kvm_irqchip_open(Machine *m, Error **errp);
void kvm_irqchip_close(void);
IrqSink *kvm_gsi_sink(Machine *m);
bool kvm_has_pit(void);
void kvm_pit_replaced(bool on);
void kvm_msi_send(const MsiMsg *m);
bool kvm_route_set(int *gsi, const MsiMsg *m, Error **errp);
void kvm_route_drop(int gsi);
bool kvm_irqfd_set(int gsi, Notifier *raise, Notifier *resample, bool on);
void kvm_soft_irqchip(const SoftIrqchip *c);
void kvm_extint(bool level);

/* --- vcpu.c --- */
bool kvm_vcpus_create(Machine *m, Error **errp);
bool kvm_vcpu_plug(Device *d, unsigned index, Error **errp);
void kvm_vcpu_unplug(unsigned index);
/* vCPU @index if it is plugged, else NULL.  Control. */
KvmVcpu *kvm_vcpu_get(unsigned index);
void kvm_vcpus_close(void);
void kvm_vcpus_run(void);
void kvm_vcpus_park(Barrier *home);
void kvm_vcpu_hold(void);
unsigned kvm_vcpu_count(void);
void kvm_nmi(unsigned index);
bool kvm_has_smm(void);
void kvm_smi(bool all);
int kvm_vcpu_thread_id(unsigned index);
/* The vCPU whose thread this is, or NULL. */
KvmVcpu *kvm_vcpu_self(void);
/* Makes @v leave KVM_RUN soon and look at @todo.  Any thread. */
void kvm_vcpu_kick(KvmVcpu *v, unsigned todo);
/* Runs fn(@v, arg) between two instructions of @v, on its thread or here, with its lock held, and waits
 * for that.  Control, holding nothing. */
void kvm_vcpu_call(KvmVcpu *v, void (*fn)(KvmVcpu *v, void *arg), void *arg);
/* Carries out what is in the coalesced ring; at the exit boundary of a vCPU, holding nothing. */
void kvm_ring_drain(void);

/* --- report.c --- */
/* Prints why @v stopped and where it was to stderr.  Its own thread. */
void kvm_vcpu_report(KvmVcpu *v, int run_errno);

/* --- cpuid.c --- */
/* Parses -cpu text, resolves it and makes kvm_vm.cpuid. */
bool kvm_cpuid_open(Machine *m, Error **errp);
/* Gives the new vCPU its CPUID, TSC rate and feature MSRs. */
bool kvm_cpuid_vcpu(KvmVcpu *v, Error **errp);
uint64_t kvm_cpu_signature(void);
/* The vCPUs' CPUID has x2APIC. */
bool kvm_cpuid_x2apic(void);
void kvm_cpuid_close(void);
uint32_t kvm_vcpu_apic_id(unsigned index);

/* --- inspect.c --- */
bool kvm_vcpu_regs(unsigned index, X86Regs *out);
bool kvm_vcpu_regs_set(unsigned index, const X86Regs *r);
/* As kvm_vcpu_regs(), on the vCPU's own thread or while it is parked. */
void kvm_vcpu_read_regs(KvmVcpu *v, X86Regs *out);
bool kvm_self_get(CpuSelf *out);
void kvm_self_set(const CpuSelf *c);
bool kvm_vcpu_lapic(unsigned index, uint8_t page[KVM_APIC_REG_SIZE]);
bool kvm_irq_chips(IrqChips *out);

/* --- stats.c --- */
/* Closes what kvm_stats() opened, if it did. */
void kvm_stats_close(int *fd);

/* --- debug.c --- */
unsigned kvm_debug_features(void);
bool kvm_debug_set(unsigned index, const CpuDebug *d);
bool kvm_debug_take(unsigned index, CpuStop *s);
/* KVM_EXIT_DEBUG; true: it is for the debugger, false: the guest got its exception.  Its own thread. */
bool kvm_debug_exit(KvmVcpu *v);

/* --- cpu-query.c --- */
/* The properties of this machine's processor objects. */
extern const DeviceExtra kvm_cpu_extra;

/* --- x86.c --- */
/* @d becomes what a processor is after RESET (SDM vol. 3, table 10-1), with the boot entry. */
void kvm_cpu_reset_state(KvmCpuDevice *d);
void kvm_boot_state(const CpuBoot *b);

/* --- state.c --- */
/* Makes the device that holds @v's state, below @parent; or takes it back. */
bool kvm_state_vcpu(Device *parent, KvmVcpu *v, Error **errp);
void kvm_state_vcpu_drop(KvmVcpu *v);
/* KVM refused to take state back: tells the user, and the machine stops. */
void kvm_state_refused(const char *who, const char *what, int err);

/* --- msrs.c --- */
bool kvm_msrs_get(KvmVcpu *v, GByteArray *out);

/* state.c: one kind of registers between the kernel and the fields of @d, of which only @vcpu must be set.
 * 0 or a negative errno.  Where the vCPU may be called; d->xsave is made anew. */
int kvm_general_get(KvmCpuDevice *d);
int kvm_general_put(KvmCpuDevice *d);
int kvm_system_get(KvmCpuDevice *d);
int kvm_system_put(KvmCpuDevice *d);
int kvm_debugregs_get(KvmCpuDevice *d);
int kvm_xsave_get(KvmCpuDevice *d);
int kvm_mp_state_get(KvmCpuDevice *d);
int kvm_events_get(KvmCpuDevice *d);
/* @records NULL: reset values.  The TSC deadline, which needs the APIC's state first, is left to
 * kvm_msrs_put_deadline(). */
bool kvm_msrs_put(KvmVcpu *v, const GByteArray *records);
bool kvm_msrs_put_deadline(KvmVcpu *v, const GByteArray *records);

/* --- feature-msrs.c --- */
/* Sets the registers that tell the guest's features, once, before the vCPU's other state. */
bool kvm_feature_msrs_put(KvmVcpu *v, Error **errp);
/* The microcode revision that guests of the model see. */
uint64_t kvm_ucode_rev(const struct KvmCpuModel *m);

/* --- chips.c --- */
/* Makes the devices that hold the state of the VM's in-kernel chips and of kvmclock. */
bool kvm_state_devices(Machine *m, Error **errp);

#endif
