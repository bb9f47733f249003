/* x86.h: an x86 vCPU's registers as tools (monitor, debugger) look at them, and what its page tables say.
 *
 * The truth is in the accelerator; this is a copy, taken by AccelOps.vcpu_regs. */
#ifndef CORE_X86_H
#define CORE_X86_H

#include "core/types.h"
#include "util/context.h"

typedef struct Space Space;

enum { X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI };   /* then r8 to r15 */
enum { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_SEGMENTS };

typedef struct X86Segment {
    uint64_t base;
    uint32_t limit;            /* in bytes */
    uint32_t flags;            /* as in the second word of a descriptor: bits 8..15 and 20..23 */
    uint16_t selector;
} X86Segment;

typedef struct X86Regs {
    uint64_t gpr[16];          /* in the order of the instruction encoding */
    uint64_t rip, rflags;
    X86Segment seg[X86_SEGMENTS], ldt, tr;
    uint64_t gdt_base, idt_base;
    uint16_t gdt_limit, idt_limit;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer;
    uint64_t dr[8];            /* 4 and 5 are unused */
    uint16_t fcw, fsw, fop;
    uint64_t fip, fdp;         /* of the last x87 instruction and its operand */
    uint8_t ftw;               /* a bit a register, set: not empty */
    uint32_t mxcsr;
    uint8_t st[8][16];         /* 80 bits each */
    uint8_t xmm[16][16];
    uint64_t kernel_gs_base;
    bool halted, smm;
    bool kernel64;             /* whatever the mode: the machine was started with a 64-bit kernel */
} X86Regs;

typedef enum X86Mode { X86_REAL, X86_PROTECTED16, X86_PROTECTED32, X86_LONG } X86Mode;

#define X86_CR0_PE 1u
#define X86_CR0_PG (1u << 31)
#define X86_CR4_PSE (1u << 4)
#define X86_CR4_PAE (1u << 5)
#define X86_CR4_LA57 (1u << 12)
#define X86_EFER_LMA (1u << 10)

/* Bits of a page-table entry (SDM vol. 3, 4.3 to 4.5), alike in all formats. */
enum {
    X86_PTE_PRESENT = 1, X86_PTE_WRITE = 2, X86_PTE_USER = 4, X86_PTE_PWT = 8, X86_PTE_PCD = 0x10,
    X86_PTE_ACCESSED = 0x20, X86_PTE_DIRTY = 0x40, X86_PTE_LARGE = 0x80, X86_PTE_GLOBAL = 0x100,
};
#define X86_PTE_NX (1ull << 63)

/* One page of the address space. */
typedef struct X86Page {
    uint64_t va, gpa, size;    /* of its first byte; bytes */
    uint64_t entry;            /* the entry that maps it, as it is in memory */
    unsigned rights;           /* X86_PTE_WRITE and _USER, where all levels allow it */
} X86Page;

/* What the code segment says instructions are. */
CTX_ANY X86Mode x86_mode(const X86Regs *r);
/* The page that holds linear address @va, by the tables that cr3 names in @mem; a page of 4 KiB mapped to
 * itself without paging.  False: not present, or not canonical.  Inside no lock; only RAM is read. */
CTX_ANY bool x86_translate(const X86Regs *r, Space *mem, uint64_t va, X86Page *out);
typedef enum X86Walked {
    X86_WALK_ALL,              /* every page was seen */
    X86_WALK_OFF,              /* paging is off: there are none */
    X86_WALK_CUT,              /* fn has ended it, or there are more than *@tables */
} X86Walked;

/* Calls fn for each page that is present, in order, until it returns false.  The tables are a guest's, and
 * four that lead to one another take 2^36 reads, with or without a page in them: at most *@tables are read,
 * each of up to 1024 entries; how many are left is in *@tables. */
CTX_ANY X86Walked x86_each_page(const X86Regs *r, Space *mem, unsigned *tables,
                                bool (*fn)(const X86Page *p, void *arg), void *arg);

#endif
