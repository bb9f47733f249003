/* dump-notes.c: the notes of a dump: registers of every vCPU, twice, and what the kernel says of itself.
 *
 * 1. NT_PRSTATUS is what the kernel writes for a process (struct elf_prstatus of x86-64 and i386); a vCPU
 *    is the process with its number plus one.
 * 2. The note "QEMU" has the system registers too, in the layout of version 1, as qemu-system-x86_64 7.2
 *    writes it and crash and others read it.
 * 3. VMCOREINFO comes from the guest's memory, where the device vmcoreinfo says: it is copied, with a
 *    bound, and searched for text only. */
#include <elf.h>
#include <string.h>
#include <stdlib.h>
#include "debug/dump-int.h"
#include "util/bytes.h"

#define VMCOREINFO_MAX 65536u
#define PRSTATUS64 336u
#define PRSTATUS32 144u
#define QEMU_NOTE 440u

static void add_note(GByteArray *out, const char *name, uint32_t type, const void *data, size_t n)
{
    static const uint8_t zero[4];
    uint8_t head[12];
    size_t name_n = strlen(name) + 1;

    st32(head, name_n);
    st32(head + 4, n);
    st32(head + 8, type);
    g_byte_array_append(out, head, sizeof(head));
    g_byte_array_append(out, (const uint8_t *)name, name_n);
    g_byte_array_append(out, zero, ALIGN_UP(name_n, 4) - name_n);
    g_byte_array_append(out, data, n);
    g_byte_array_append(out, zero, ALIGN_UP(n, 4) - n);
}

static void add_prstatus64(GByteArray *out, const X86Regs *r, unsigned cpu)
{
    const uint64_t *g = r->gpr;
    const X86Segment *s = r->seg;
    const uint64_t regs[27] = {
        g[15], g[14], g[13], g[12], g[X86_RBP], g[X86_RBX], g[11], g[10], g[9], g[8], g[X86_RAX], g[X86_RCX],
        g[X86_RDX], g[X86_RSI], g[X86_RDI], 0, r->rip, s[X86_CS].selector, r->rflags, g[X86_RSP],
        s[X86_SS].selector, s[X86_FS].base, s[X86_GS].base, s[X86_DS].selector, s[X86_ES].selector,
        s[X86_FS].selector, s[X86_GS].selector,
    };
    uint8_t note[PRSTATUS64] = { 0 };

    st32(note + 32, cpu + 1);
    for (unsigned i = 0; i < ARRAY_LEN(regs); i++) {
        st64(note + 112 + 8 * i, regs[i]);
    }
    add_note(out, "CORE", NT_PRSTATUS, note, sizeof(note));
}

static void add_prstatus32(GByteArray *out, const X86Regs *r, unsigned cpu)
{
    const uint64_t *g = r->gpr;
    const X86Segment *s = r->seg;
    const uint32_t regs[17] = {
        g[X86_RBX], g[X86_RCX], g[X86_RDX], g[X86_RSI], g[X86_RDI], g[X86_RBP], g[X86_RAX],
        s[X86_DS].selector, s[X86_ES].selector, s[X86_FS].selector, s[X86_GS].selector, 0, r->rip,
        s[X86_CS].selector, r->rflags, g[X86_RSP], s[X86_SS].selector,
    };
    uint8_t note[PRSTATUS32] = { 0 };

    st32(note + 24, cpu + 1);
    for (unsigned i = 0; i < ARRAY_LEN(regs); i++) {
        st32(note + 72 + 4 * i, regs[i]);
    }
    add_note(out, "CORE", NT_PRSTATUS, note, sizeof(note));
}

static uint8_t *put_segment(uint8_t *at, const X86Segment *s)
{
    st32(at, s->selector);
    st32(at + 4, s->limit);
    st32(at + 8, s->flags);
    st64(at + 16, s->base);
    return at + 24;
}

static void add_qemu_note(GByteArray *out, const X86Regs *r)
{
    static const uint8_t gpr[16] = { X86_RAX, X86_RBX, X86_RCX, X86_RDX, X86_RSI, X86_RDI, X86_RSP, X86_RBP,
                                     8, 9, 10, 11, 12, 13, 14, 15 };
    static const uint8_t seg[6] = { X86_CS, X86_DS, X86_ES, X86_FS, X86_GS, X86_SS };
    const X86Segment gdt = { .base = r->gdt_base, .limit = r->gdt_limit };
    const X86Segment idt = { .base = r->idt_base, .limit = r->idt_limit };
    const uint64_t cr[6] = { r->cr0, 0, r->cr2, r->cr3, r->cr4, r->kernel_gs_base };
    uint8_t note[QEMU_NOTE] = { 0 }, *at = note + 8;

    st32(note, 1);
    st32(note + 4, sizeof(note));
    for (unsigned i = 0; i < 16; i++, at += 8) {
        st64(at, r->gpr[gpr[i]]);
    }
    st64(at, r->rip);
    st64(at + 8, r->rflags);
    at += 16;
    for (unsigned i = 0; i < 6; i++) {
        at = put_segment(at, &r->seg[seg[i]]);
    }
    at = put_segment(at, &r->ldt);
    at = put_segment(at, &r->tr);
    at = put_segment(at, &gdt);
    at = put_segment(at, &idt);
    for (unsigned i = 0; i < ARRAY_LEN(cr); i++, at += 8) {
        st64(at, cr[i]);
    }
    add_note(out, "QEMU", 0, note, sizeof(note));
}

/* "NUMBER(phys_base)=VALUE" in the text. */
static uint64_t find_phys_base(const char *text, size_t n)
{
    static const char key[] = "NUMBER(phys_base)=";
    g_autofree char *copy = g_strndup(text, n);
    const char *at = strstr(copy, key);

    return at != NULL ? (uint64_t)strtoll(at + strlen(key), NULL, 10) : 0;
}

/* The guest's note is a whole one: a head, the name VMCOREINFO, the text. */
static void add_vmcoreinfo(Dump *d)
{
    static const char name[] = "VMCOREINFO";
    Machine *m = machine();
    uint32_t size = 0;
    Gpa at = 0;

    if (m->vmcoreinfo == NULL || !m->vmcoreinfo(m, &at, &size) || size < 12 || size > VMCOREINFO_MAX) {
        return;
    }
    g_autofree uint8_t *note = g_malloc(size);
    if (space_read_bytes(m->mem, at, note, size) != IO_OK) {
        return;
    }
    uint64_t name_n = ld32(note), text_at = 12 + ALIGN_UP(name_n, 4), text_n = ld32(note + 4);
    if (name_n != sizeof(name) || text_at + text_n > size || memcmp(note + 12, name, sizeof(name)) != 0) {
        return;
    }
    d->vmcoreinfo_at = d->notes->len + text_at;
    d->vmcoreinfo_size = text_n;
    d->phys_base = find_phys_base((char *)note + text_at, text_n);
    add_note(d->notes, name, ld32(note + 8), note + text_at, text_n);
}

void dump_make_notes(Dump *d)
{
    d->notes = g_byte_array_new();
    for (unsigned i = 0; i < d->cpu_count; i++) {
        if (d->wide) {
            add_prstatus64(d->notes, &d->cpus[i], i);
        } else {
            add_prstatus32(d->notes, &d->cpus[i], i);
        }
    }
    for (unsigned i = 0; i < d->cpu_count; i++) {
        add_qemu_note(d->notes, &d->cpus[i]);
    }
    add_vmcoreinfo(d);
}
