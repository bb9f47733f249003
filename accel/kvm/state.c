/* state.c: a vCPU's state as a device with a table: read from KVM, saved, loaded, put back.
 *
 * 1. The fields are valid between before_save, or reset, or a load, and the next settle; otherwise
 *    the kernel has the truth.  Everything here runs on control, with the vCPU parked; inspect.c
 *    reads and writes fields of its own, which last as long as its function.
 * 2. Order of putting back: system registers before what they enable, MSRs before the APIC whose
 *    timer they time, the deadline after it, pending events and the run state last.
 * 3. A vCPU that never ran is as reset leaves it: nothing is put but a boot entry. */
#include <errno.h>
#include <string.h>
#include "accel/kvm/kvm-int.h"
#include "core/state.h"
#include "util/bytes.h"
#include "util/trace.h"

void kvm_state_refused(const char *who, const char *what, int err)
{
    warn_report("KVM refuses the %s of %s: %s", what, who, errno_text(err));
    machine_request(REQUEST_INTERNAL_ERROR, err, what);
}

static KvmCpuDevice *cpu_of(void *obj)
{
    return obj;
}

/* --- registers --- */

static struct kvm_segment seg_out(const KvmSegment *s)
{
    return (struct kvm_segment){
        .base = s->base, .limit = s->limit, .selector = s->selector, .type = s->access & 15,
        .s = s->access >> 4 & 1, .dpl = s->access >> 5 & 3, .present = s->access >> 7 & 1,
        .avl = s->access >> 12 & 1, .l = s->access >> 13 & 1, .db = s->access >> 14 & 1,
        .g = s->access >> 15 & 1, .unusable = s->unusable,
    };
}

static KvmSegment seg_in(const struct kvm_segment *s)
{
    return (KvmSegment){
        .base = s->base, .limit = s->limit, .selector = s->selector, .unusable = s->unusable,
        .access = (s->type & 15) | (s->s & 1) << 4 | (s->dpl & 3) << 5 | (s->present & 1) << 7 |
                  (s->avl & 1) << 12 | (s->l & 1) << 13 | (s->db & 1) << 14 | (s->g & 1) << 15,
    };
}

int kvm_general_get(KvmCpuDevice *d)
{
    struct kvm_regs r;

    if (ioctl(d->vcpu->fd, KVM_GET_REGS, &r) < 0) {
        return -errno;
    }
    const uint64_t gpr[16] = { r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r.r8, r.r9,
    r.r10,
                               r.r11, r.r12, r.r13, r.r14, r.r15 };
    memcpy(d->gpr, gpr, sizeof(gpr));
    d->rip = r.rip;
    d->rflags = r.rflags;
    return 0;
}

int kvm_general_put(KvmCpuDevice *d)
{
    const uint64_t *g = d->gpr;
    struct kvm_regs r = {
        .rax = g[0], .rbx = g[1], .rcx = g[2], .rdx = g[3], .rsi = g[4], .rdi = g[5], .rsp = g[6],
        .rbp = g[7], .r8 = g[8], .r9 = g[9], .r10 = g[10], .r11 = g[11], .r12 = g[12], .r13 = g[13],
        .r14 = g[14], .r15 = g[15], .rip = d->rip, .rflags = d->rflags,
    };

    return ioctl(d->vcpu->fd, KVM_SET_REGS, &r) < 0 ? -errno : 0;
}

int kvm_system_get(KvmCpuDevice *d)
{
    struct kvm_sregs s;

    if (ioctl(d->vcpu->fd, KVM_GET_SREGS, &s) < 0) {
        return -errno;
    }
    const struct kvm_segment *const seg[8] = { &s.cs, &s.ds, &s.es, &s.fs, &s.gs, &s.ss, &s.tr,
    &s.ldt };
    for (unsigned i = 0; i < 8; i++) {
        d->seg[i] = seg_in(seg[i]);
    }
    d->gdt_base = s.gdt.base;
    d->gdt_limit = s.gdt.limit;
    d->idt_base = s.idt.base;
    d->idt_limit = s.idt.limit;
    d->cr0 = s.cr0;
    d->cr2 = s.cr2;
    d->cr3 = s.cr3;
    d->cr4 = s.cr4;
    d->cr8 = s.cr8;
    d->efer = s.efer;
    d->apic_base = s.apic_base;
    memcpy(d->interrupt_bitmap, s.interrupt_bitmap, sizeof(d->interrupt_bitmap));
    return 0;
}

int kvm_system_put(KvmCpuDevice *d)
{
    struct kvm_sregs s = {
        .cs = seg_out(&d->seg[0]), .ds = seg_out(&d->seg[1]), .es = seg_out(&d->seg[2]),
        .fs = seg_out(&d->seg[3]), .gs = seg_out(&d->seg[4]), .ss = seg_out(&d->seg[5]),
        .tr = seg_out(&d->seg[6]), .ldt = seg_out(&d->seg[7]),
        .gdt = { .base = d->gdt_base, .limit = d->gdt_limit },
        .idt = { .base = d->idt_base, .limit = d->idt_limit },
        .cr0 = d->cr0, .cr2 = d->cr2, .cr3 = d->cr3, .cr4 = d->cr4, .cr8 = d->cr8, .efer = d->efer,
        .apic_base = d->apic_base,
    };

    memcpy(s.interrupt_bitmap, d->interrupt_bitmap, sizeof(s.interrupt_bitmap));
    return ioctl(d->vcpu->fd, KVM_SET_SREGS, &s) < 0 ? -errno : 0;
}

int kvm_debugregs_get(KvmCpuDevice *d)
{
    struct kvm_debugregs r;

    if (ioctl(d->vcpu->fd, KVM_GET_DEBUGREGS, &r) < 0) {
        return -errno;
    }
    memcpy(d->db, r.db, sizeof(d->db));
    d->dr6 = r.dr6;
    d->dr7 = r.dr7;
    return 0;
}

static int put_debugregs(KvmCpuDevice *d)
{
    struct kvm_debugregs r = { .dr6 = d->dr6, .dr7 = d->dr7 };

    memcpy(r.db, d->db, sizeof(r.db));
    return ioctl(d->vcpu->fd, KVM_SET_DEBUGREGS, &r) < 0 ? -errno : 0;
}

/* --- FPU and extended state --- */

static void blob_fresh(GByteArray **blob, size_t size)
{
    if (*blob) {
        g_byte_array_unref(*blob);
    }
    *blob = g_byte_array_sized_new(size);
}

int kvm_xsave_get(KvmCpuDevice *d)
{
    blob_fresh(&d->xsave, kvm_vm.xsave_size);
    g_byte_array_set_size(d->xsave, kvm_vm.xsave_size);
    memset(d->xsave->data, 0, d->xsave->len);
    bool wide = (size_t)kvm_vm.xsave_size > sizeof(struct kvm_xsave);
    return ioctl(d->vcpu->fd, wide ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, d->xsave->data) < 0 ? -errno : 0;
}

static int get_extended(KvmCpuDevice *d)
{
    struct kvm_xcrs x = { 0 };
    int ret = kvm_xsave_get(d);

    if (ret == 0 && kvm_vm.has_xcrs && ioctl(d->vcpu->fd, KVM_GET_XCRS, &x) < 0) {
        ret = -errno;
    }
    if (ret < 0) {
        return ret;
    }
    d->xcr0 = 1;
    for (unsigned i = 0; i < x.nr_xcrs; i++) {
        d->xcr0 = x.xcrs[i].xcr == 0 ? x.xcrs[i].value : d->xcr0;
    }
    return 0;
}

static int put_xsave(KvmCpuDevice *d)
{
    struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = d->xcr0 } };
    uint8_t *area = g_malloc0(kvm_vm.xsave_size);

    if (d->xsave && d->xsave->len > 0) {
        memcpy(area, d->xsave->data, MIN(d->xsave->len, (unsigned)kvm_vm.xsave_size));
    } else {
        st16(area, 0x37f);                  /* FCW */
        st32(area + 24, 0x1f80);            /* MXCSR */
        st64(area + 512, 3);                /* XSTATE_BV: x87 and SSE */
    }
    int ret = (kvm_vm.has_xcrs && ioctl(d->vcpu->fd, KVM_SET_XCRS, &x) < 0) ||
              ioctl(d->vcpu->fd, KVM_SET_XSAVE, area) < 0 ? -errno : 0;
    g_free(area);
    return ret;
}

/* --- events, APIC, nested --- */

int kvm_mp_state_get(KvmCpuDevice *d)
{
    struct kvm_mp_state mp;

    if (ioctl(d->vcpu->fd, KVM_GET_MP_STATE, &mp) < 0) {
        return -errno;
    }
    d->mp_state = mp.mp_state;
    return 0;
}

int kvm_events_get(KvmCpuDevice *d)
{
    struct kvm_vcpu_events e;

    if (ioctl(d->vcpu->fd, KVM_GET_VCPU_EVENTS, &e) < 0) {
        return -errno;
    }
    d->exc_injected = e.exception.injected;
    d->exc_pending = e.flags & KVM_VCPUEVENT_VALID_PAYLOAD ? e.exception.pending : 0;
    d->exc_nr = e.exception.nr;
    d->exc_has_code = e.exception.has_error_code;
    d->exc_code = e.exception.error_code;
    d->exc_has_payload = e.flags & KVM_VCPUEVENT_VALID_PAYLOAD ? e.exception_has_payload : 0;
    d->exc_payload = e.flags & KVM_VCPUEVENT_VALID_PAYLOAD ? e.exception_payload : 0;
    d->irq_injected = e.interrupt.injected;
    d->irq_nr = e.interrupt.nr;
    d->irq_soft = e.interrupt.soft;
    d->irq_shadow = e.interrupt.shadow;
    d->nmi_injected = e.nmi.injected;
    d->nmi_pending = e.nmi.pending;
    d->nmi_masked = e.nmi.masked;
    d->sipi_vector = e.sipi_vector;
    if (e.flags & KVM_VCPUEVENT_VALID_SMM) {
        d->smm = e.smi.smm;
        d->smm_pending = e.smi.pending;
        d->smm_inside_nmi = e.smi.smm_inside_nmi;
        d->smm_latched_init = e.smi.latched_init;
    }
    return kvm_mp_state_get(d);
}

static int put_events(KvmCpuDevice *d)
{
    struct kvm_mp_state mp = { .mp_state = d->mp_state };
    struct kvm_vcpu_events e = {
        .exception = { .injected = d->exc_injected || d->exc_pending, .nr = d->exc_nr,
                       .has_error_code = d->exc_has_code, .error_code = d->exc_code },
        .interrupt = { .injected = d->irq_injected, .nr = d->irq_nr, .soft = d->irq_soft,
                       .shadow = d->irq_shadow },
        .nmi = { .injected = d->nmi_injected, .pending = d->nmi_pending, .masked = d->nmi_masked },
        .sipi_vector = d->sipi_vector,
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
                 KVM_VCPUEVENT_VALID_SHADOW,
    };

    if (kvm_cap(KVM_CAP_X86_SMM)) {
        e.flags |= KVM_VCPUEVENT_VALID_SMM;
        e.smi.smm = d->smm;
        e.smi.pending = d->smm_pending;
        e.smi.smm_inside_nmi = d->smm_inside_nmi;
        e.smi.latched_init = d->smm_latched_init;
    }
    if (ioctl(d->vcpu->fd, KVM_SET_VCPU_EVENTS, &e) < 0 ||
        ioctl(d->vcpu->fd, KVM_SET_MP_STATE, &mp) < 0) {
        return -errno;
    }
    return 0;
}

static int get_lapic(KvmCpuDevice *d)
{
    struct kvm_lapic_state l;

    if (ioctl(d->vcpu->fd, KVM_GET_LAPIC, &l) < 0) {
        return -errno;
    }
    memcpy(d->lapic, l.regs, sizeof(d->lapic));
    return 0;
}

static int put_lapic(KvmCpuDevice *d)
{
    struct kvm_lapic_state l;

    memcpy(l.regs, d->lapic, sizeof(d->lapic));
    return ioctl(d->vcpu->fd, KVM_SET_LAPIC, &l) < 0 ? -errno : 0;
}

/* What a guest that is itself a hypervisor has in the kernel. */
static int get_nested(KvmCpuDevice *d)
{
    if (kvm_vm.nested_size < (int)sizeof(struct kvm_nested_state)) {
        return 0;
    }
    blob_fresh(&d->nested, kvm_vm.nested_size);
    g_byte_array_set_size(d->nested, kvm_vm.nested_size);
    memset(d->nested->data, 0, d->nested->len);
    struct kvm_nested_state *n = (void *)d->nested->data;
    n->size = kvm_vm.nested_size;
    if (ioctl(d->vcpu->fd, KVM_GET_NESTED_STATE, n) < 0) {
        g_byte_array_set_size(d->nested, 0);     /* the guest's CPU has no SVM or VMX */
        return 0;
    }
    g_byte_array_set_size(d->nested, MIN(n->size, (unsigned)kvm_vm.nested_size));
    return 0;
}

static int put_nested(KvmCpuDevice *d)
{
    if (!d->nested || d->nested->len == 0) {
        return 0;
    }
    return ioctl(d->vcpu->fd, KVM_SET_NESTED_STATE, d->nested->data) < 0 ? -errno : 0;
}

static int get_msrs(KvmCpuDevice *d)
{
    blob_fresh(&d->msrs, 0);
    d->tsc_khz = MAX(ioctl(d->vcpu->fd, KVM_GET_TSC_KHZ, 0l), 0);
    return kvm_msrs_get(d->vcpu, d->msrs) ? 0 : -EIO;
}

/* A guest that was told a rate keeps it where the host can scale; else its clock source copes. */
static int put_msrs(KvmCpuDevice *d)
{
    if (d->msrs && d->tsc_khz && kvm_cap(KVM_CAP_TSC_CONTROL)) {
        ioctl(d->vcpu->fd, KVM_SET_TSC_KHZ, (long)d->tsc_khz);
    }
    return kvm_msrs_put(d->vcpu, d->msrs) ? 0 : -EIO;
}

static int put_deadline(KvmCpuDevice *d)
{
    kvm_msrs_put_deadline(d->vcpu, d->msrs);
    return 0;
}

/* --- the whole of it --- */

typedef struct Part {
    const char *name;
    int (*act)(KvmCpuDevice *d);
} Part;

static const Part gather[] = {
    { "registers", kvm_general_get }, { "system registers", kvm_system_get },
    { "debug registers", kvm_debugregs_get },
    { "extended state", get_extended }, { "model-specific registers", get_msrs },
    { "APIC", get_lapic },
    { "nested state", get_nested }, { "events", kvm_events_get },
};

static const Part put_back[] = {
    { "system registers", kvm_system_put }, { "registers", kvm_general_put }, { "extended state", put_xsave },
    { "debug registers", put_debugregs }, { "model-specific registers", put_msrs },
    { "APIC", put_lapic }, { "TSC deadline", put_deadline }, { "nested state", put_nested },
    { "events", put_events },
};

static void each_part(KvmCpuDevice *d, const Part *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int ret = parts[i].act(d);

        if (ret < 0) {
            kvm_state_refused(d->dev.id, parts[i].name, -ret);
            return;
        }
    }
}

static void cpu_before_save(void *obj)
{
    KvmCpuDevice *d = cpu_of(obj);

    if (!d->dirty) {
        each_part(d, gather, ARRAY_LEN(gather));
    }
}

static void drop_blobs(KvmCpuDevice *d)
{
    g_clear_pointer(&d->xsave, g_byte_array_unref);
    g_clear_pointer(&d->msrs, g_byte_array_unref);
    g_clear_pointer(&d->nested, g_byte_array_unref);
}

static void cpu_reset(Device *dev, ResetKind kind)
{
    kvm_cpu_reset_state((KvmCpuDevice *)dev);
}

static void cpu_settle(Device *dev)
{
    KvmCpuDevice *d = (KvmCpuDevice *)dev;
    bool boot = d->vcpu->index == 0 && kvm_vm.has_boot && kvm_vm.boot.mode != CPU_BOOT_RESET;

    if (!d->dirty) {
        return;
    }
    TRACE(kvm_cpu_settle, "cpu=%u fresh=%d", d->vcpu->index, d->vcpu->fresh);
    d->dirty = false;
    if (!d->vcpu->fresh) {
        each_part(d, put_back, ARRAY_LEN(put_back));
    } else if (boot) {
        each_part(d, put_back, 2);
    }
    drop_blobs(d);
}

/* What a save gathered is stale from here on. */
static void cpu_resume(Device *dev)
{
    drop_blobs((KvmCpuDevice *)dev);
}

static bool cpu_check(void *obj, Error **errp)
{
    KvmCpuDevice *d = cpu_of(obj);

    if (d->xsave && d->xsave->len > (unsigned)kvm_vm.xsave_size) {
        return error_set(errp, "extended state of %u bytes, the host has %d", d->xsave->len,
                         kvm_vm.xsave_size);
    }
    if (d->msrs && (d->msrs->len % 16 != 0 || d->msrs->len / 16 > KVM_MSRS_MAX)) {
        return error_set(errp, "list of %u bytes of model-specific registers", d->msrs->len);
    }
    if (d->nested && d->nested->len > 0) {
        struct kvm_nested_state n;

        if (d->nested->len < sizeof(n) || kvm_vm.nested_size == 0) {
            return error_set(errp, "nested state of %u bytes", d->nested->len);
        }
        memcpy(&n, d->nested->data, sizeof(n));
        if (n.size > d->nested->len) {
            return error_set(errp, "nested state of %u bytes says it has %u", d->nested->len,
                             n.size);
        }
    }
    d->dirty = true;                        /* settle puts it */
    d->vcpu->fresh = false;
    return true;
}

static void cpu_unrealize(Device *dev)
{
    drop_blobs((KvmCpuDevice *)dev);
}

static bool cpu_realize(Device *dev, Error **errp)
{
    return true;
}

static const StateField seg_fields[] = {
    STATE_U64(KvmSegment, base), STATE_U32(KvmSegment, limit), STATE_U16(KvmSegment, selector),
    STATE_U16(KvmSegment, access), STATE_BOOL(KvmSegment, unusable), { 0 },
};
static const StateDesc seg_state = { .name = "segment", .version = 1, .fields = seg_fields };

#define F(kind, name) STATE_##kind(KvmCpuDevice, name)
static const StateField cpu_fields[] = {
    F(U64_ARRAY, gpr), F(U64, rip), F(U64, rflags), STATE_STRUCTS(KvmCpuDevice, seg, &seg_state),
    F(U64, gdt_base), F(U16, gdt_limit), F(U64, idt_base), F(U16, idt_limit),
    F(U64, cr0), F(U64, cr2), F(U64, cr3), F(U64, cr4), F(U64, cr8), F(U64, efer),
    F(U64, apic_base),
    F(U64, xcr0), F(U64_ARRAY, db), F(U64, dr6), F(U64, dr7), F(U64_ARRAY, interrupt_bitmap),
    STATE_BLOB(KvmCpuDevice, xsave, 64 * 1024), STATE_BLOB(KvmCpuDevice, msrs, 16 * KVM_MSRS_MAX),
    STATE_BLOB(KvmCpuDevice, nested, 64 * 1024),
    STATE_BYTES(KvmCpuDevice, lapic),
    F(U32, mp_state), F(U64, tsc_khz),
    F(BOOL, exc_pending), F(BOOL, exc_injected), F(BOOL, exc_has_code), F(BOOL, exc_has_payload),
    F(U8, exc_nr), F(U32, exc_code), F(U64, exc_payload), F(BOOL, irq_injected), F(BOOL, irq_soft),
    F(BOOL, nmi_injected), F(BOOL, nmi_pending), F(BOOL, nmi_masked), F(BOOL, triple_fault),
    F(U8, irq_nr), F(U8, irq_shadow), F(U32, sipi_vector), F(BOOL, smm), F(BOOL, smm_pending),
    F(BOOL, smm_inside_nmi), F(BOOL, smm_latched_init), { 0 },
};
#undef F
static const StateDesc cpu_state = {
    .name = "kvm-vcpu", .version = 1, .fields = cpu_fields, .before_save = cpu_before_save,
    .check = cpu_check,
};

static const DeviceType kvm_vcpu_type = {
    .name = "kvm-vcpu", .summary = "state of a vCPU run by KVM", .slot = &board_slot,
    .size = sizeof(KvmCpuDevice), .flags = DEV_INTERNAL, .state = &cpu_state,
    .realize = cpu_realize, .unrealize = cpu_unrealize, .reset = cpu_reset, .settle = cpu_settle,
    .resume = cpu_resume,
};

bool kvm_state_vcpu(Device *parent, KvmVcpu *v, Error **errp)
{
    g_autofree char *id = g_strdup_printf("cpu%u", v->index);
    Device *dev = device_create(&kvm_vcpu_type, parent, NULL, id, errp);

    if (!dev) {
        return false;
    }
    v->dev = (KvmCpuDevice *)dev;
    v->dev->vcpu = v;
    if (!device_realize(dev, errp)) {
        device_discard(dev);
        return false;
    }
    return true;
}

void kvm_state_vcpu_drop(KvmVcpu *v)
{
    device_discard(&v->dev->dev);
    v->dev = NULL;
}
