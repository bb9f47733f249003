/* A 64 KiB firmware that goes through system management mode on either board: prints a letter for each of
 *   r  an SMI ran the handler at the reset value of SMBASE, 0x30000, which moves it to 0xa0000
 *   m  the next one ran the handler there, in SMRAM
 *   h  SMRAM is hidden once it is closed; H: it is seen
 *   c  an SMI still finds it, and what the handler left in it
 *   l  it is locked: it does not open again
 * and a dash where that is not so.  Leaves by isa-debug-exit with status 43. */
#include "io.h"
#define SMBASE_SLOT 0xff00          /* in the save area of processors with long mode */
#define RELOCATED 0x500             /* counters in common memory */
#define RUNS 0x501
#define SMRAM_RUNS 0x502            /* what the handler counted in SMRAM */

/* config: a byte of PCI configuration space at (device * 8 + function) << 8 | register. */
.macro config_out where, value
    mov $(0x80000000 + (\where & ~3)), %eax
    mov $0xcf8, %dx
    out %eax, %dx
    mov $(0xcfc + (\where & 3)), %dx
    mov \value, %al
    out %al, %dx
.endm
.macro config_in where
    mov $(0x80000000 + (\where & ~3)), %eax
    mov $0xcf8, %dx
    out %eax, %dx
    mov $(0xcfc + (\where & 3)), %dx
    in %dx, %al
.endm
/* say: %bl if the flags say equal, else a dash */
.macro say letter
    mov $'-', %al
    jne 9f
    mov $\letter, %al
9:  call putc
.endm

    .code16
    .globl _start
_start:
start:
    cli
    mov %cs, %ax
    mov %ax, %ds
    xor %ax, %ax
    mov %ax, %ss
    mov %ax, %fs
    mov $0x7000, %sp
    movl $0, %fs:RELOCATED

    mov $mover, %si
    mov $0x3800, %ax
    call copy
    config_in 2                      /* device id: 29c0 or 1237 */
    mov %al, %bl
    mov $0x4a, %bh                   /* G_SMRAME, D_OPEN */
    call smram
    mov $handler, %si
    mov $0xa800, %ax
    call copy
    call enable

    out %al, $0xb2
    cmpb $1, %fs:RELOCATED
    say 'r'
    out %al, $0xb2
    cmpb $1, %fs:RUNS
    say 'm'
    mov $0x1a, %bh                   /* G_SMRAME, D_LCK */
    call smram
    mov $0xa000, %ax
    mov %ax, %gs
    mov $'h', %al
    cmpb $1, %gs:0x10
    jne 1f
    mov $'H', %al
1:  call putc
    out %al, $0xb2
    mov %fs:RUNS, %ax                /* both counters */
    cmp $0x0202, %ax
    say 'c'
    mov $0x4a, %bh
    call smram
    call smram_is
    cmp $0x1a, %al
    say 'l'
    mov $'\n', %al
    call putc
    mov $0x15, %al
    mov $PORT_EXIT, %dx
    out %al, %dx
2:  hlt
    jmp 2b

/* Code of 256 bytes from %si to segment %ax. */
copy:
    mov %ax, %es
    xor %di, %di
    mov $256, %cx
    rep movsb
    ret

/* SMRAM control of the board %bl becomes %bh. */
smram:
    cmp $0xc0, %bl
    je 1f
    config_out 0x72, %bh
    ret
1:  config_out 0x9d, %bh
    ret
smram_is:
    cmp $0xc0, %bl
    je 1f
    config_in 0x72
    ret
1:  config_in 0x9d
    ret

/* APM commands become SMIs. */
enable:
    cmp $0xc0, %bl
    je 1f
    mov $2, %bh
    config_out 0xb5b, %bh            /* PIIX4 00:01.3, DEVACTB */
    ret
1:  mov $0x06, %bh
    config_out 0xf841, %bh           /* ICH9 00:1f.0, PMBASE 0x600 */
    mov $0x80, %bh
    config_out 0xf844, %bh           /* ACPI_EN */
    mov $0x21, %eax
    mov $0x630, %dx
    out %eax, %dx
    ret
    define_putc

    .balign 16
mover:
    xor %ax, %ax
    mov %ax, %ds
    incb RELOCATED
    movl $0xa0000, %cs:SMBASE_SLOT
    rsm
handler:
    mov $0xa000, %ax
    mov %ax, %ds
    incb 0x10
    mov 0x10, %al
    xor %bx, %bx
    mov %bx, %ds
    mov %al, SMRAM_RUNS
    incb RUNS
    rsm

    .org 0xfff0
    ljmp $0xf000, $start
    .org 0x10000
