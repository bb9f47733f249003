/* report.c: what a person (or a bug report) needs when a vCPU cannot go on.
 *
 * 1. One report, one write to stderr, so that reports of several vCPUs do not mix.
 * 2. Guest memory is read only where there is RAM: a report changes nothing in the guest. */
#include <stdio.h>
#include <string.h>
#include "accel/kvm/kvm-int.h"
#include "util/bytes.h"

static const char *exit_name(unsigned reason)
{
    static const char *const names[] = {
        [KVM_EXIT_UNKNOWN] = "unknown hardware exit", [KVM_EXIT_EXCEPTION] = "exception",
        [KVM_EXIT_IO] = "port access", [KVM_EXIT_HYPERCALL] = "hypercall",
        [KVM_EXIT_DEBUG] = "debug", [KVM_EXIT_HLT] = "halt", [KVM_EXIT_MMIO] = "register access",
        [KVM_EXIT_SHUTDOWN] = "shutdown", [KVM_EXIT_FAIL_ENTRY] = "failed entry",
        [KVM_EXIT_INTERNAL_ERROR] = "internal error", [KVM_EXIT_TPR_ACCESS] = "TPR access",
    };

    return reason < ARRAY_LEN(names) && names[reason] ? names[reason] : "unexpected exit";
}

static const char *suberror_name(unsigned suberror)
{
    switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
        return "KVM cannot emulate this instruction";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
        return "exceptions at the same time";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
        return "exit while an event was delivered";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
        return "unexpected hardware exit reason";
    default:
        return "unknown";
    }
}

static void put_reason(GString *out, const KvmVcpu *v, int run_errno)
{
    const struct kvm_run *run = v->run;

    if (run_errno) {
        g_string_append_printf(out, "vCPU %u stopped: KVM_RUN failed: %s\n", v->index,
                               errno_text(run_errno));
        return;
    }
    g_string_append_printf(out, "vCPU %u stopped: KVM exit %u (%s)\n", v->index, run->exit_reason,
                           exit_name(run->exit_reason));
    if (run->exit_reason == KVM_EXIT_FAIL_ENTRY) {
        g_string_append_printf(out, "hardware entry failure reason 0x%llx\n",
                               run->fail_entry.hardware_entry_failure_reason);
    } else if (run->exit_reason == KVM_EXIT_UNKNOWN) {
        g_string_append_printf(out, "hardware exit reason 0x%llx\n", run->hw.hardware_exit_reason);
    } else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
        g_string_append_printf(out, "suberror %u (%s)", run->internal.suberror,
                               suberror_name(run->internal.suberror));
        for (unsigned i = 0; i < MIN(run->internal.ndata, ARRAY_LEN(run->internal.data)); i++) {
            g_string_append_printf(out, " 0x%llx", run->internal.data[i]);
        }
        g_string_append_c(out, '\n');
    }
}

static void put_registers(GString *out, const struct kvm_regs *r, const struct kvm_sregs *s)
{
    const struct kvm_segment *seg[] = { &s->cs, &s->ds, &s->es, &s->fs, &s->gs, &s->ss, &s->tr,
                                        &s->ldt };
    static const char names[][4] = { "CS", "DS", "ES", "FS", "GS", "SS", "TR", "LDT" };

    g_string_append_printf(out, "RAX=%016llx RBX=%016llx RCX=%016llx RDX=%016llx\n"
                           "RSI=%016llx RDI=%016llx RBP=%016llx RSP=%016llx\n"
                           "R8 =%016llx R9 =%016llx R10=%016llx R11=%016llx\n"
                           "R12=%016llx R13=%016llx R14=%016llx R15=%016llx\n"
                           "RIP=%016llx RFL=%08llx CPL=%u\n",
                           r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi, r->rbp, r->rsp, r->r8,
                           r->r9,
                           r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rip, r->rflags,
                           s->ss.dpl);
    for (unsigned i = 0; i < ARRAY_LEN(seg); i++) {
        g_string_append_printf(out,
                               "%-3s=%04x base=%016llx limit=%08x type=%x s=%u dpl=%u p=%u l=%u "
                               "db=%u g=%u\n", names[i], seg[i]->selector, seg[i]->base,
                               seg[i]->limit,
                               seg[i]->type, seg[i]->s, seg[i]->dpl, seg[i]->present, seg[i]->l,
                               seg[i]->db, seg[i]->g);
    }
    g_string_append_printf(out, "GDT=%016llx %04x\nIDT=%016llx %04x\n"
                           "CR0=%08llx CR2=%016llx CR3=%016llx CR4=%08llx\n"
                           "EFER=%016llx APIC=%016llx\n",
                           s->gdt.base, s->gdt.limit, s->idt.base, s->idt.limit, s->cr0, s->cr2,
                           s->cr3,
                           s->cr4, s->efer, s->apic_base);
}

/* The bytes around the instruction pointer, its own marked: "66 b8 <ee> 00". */
static void put_code(GString *out, KvmVcpu *v, uint64_t rip)
{
    g_string_append(out, "Code=");
    for (int64_t i = -24; i < 24; i++) {
        struct kvm_translation t = { .linear_address = rip + i };
        uint64_t len = 1;

        if (ioctl(v->fd, KVM_TRANSLATE, &t) < 0 || !t.valid) {
            g_string_append(out, "?? ");
            continue;
        }
        epoch_enter();
        const uint8_t *p = space_ram(v->mem, t.physical_address, &len, false);
        if (p) {
            g_string_append_printf(out, i == 0 ? "<%02x> " : "%02x ", *p);
        } else {
            g_string_append(out, "?? ");
        }
        epoch_leave();
    }
    g_string_append_c(out, '\n');
}

void kvm_vcpu_report(KvmVcpu *v, int run_errno)
{
    g_autoptr(GString) out = g_string_new(NULL);
    struct kvm_regs regs;
    struct kvm_sregs sregs;

    put_reason(out, v, run_errno);
    if (ioctl(v->fd, KVM_GET_REGS, &regs) == 0 && ioctl(v->fd, KVM_GET_SREGS, &sregs) == 0) {
        put_registers(out, &regs, &sregs);
        put_code(out, v, sregs.cs.base + regs.rip);
    }
    fwrite(out->str, 1, out->len, stderr);
}
