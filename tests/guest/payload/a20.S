/* A 64 KiB firmware: closes the A20 gate by port 92 and by the keyboard controller, and each time says
 * "open" if 1 MiB is still another place than 0.  Leaves by isa-debug-exit with status 43. */
#include "io.h"
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
    mov $0xffff, %ax
    mov %ax, %gs
    xor %al, %al
    out %al, $0x92
    call show
    mov $0xd1, %al                   /* the output port, with bit 1 clear */
    out %al, $0x64
    mov $0xdd, %al
    out %al, $0x60
    call show
    mov $0x15, %al
    mov $PORT_EXIT, %dx
    out %al, %dx
1:  hlt
    jmp 1b

show:
    movb $0x11, %fs:0x500
    movb $0x22, %gs:0x510
    mov $open, %si
    cmpb $0x11, %fs:0x500
    je 2f
    mov $masked, %si
2:  lodsb
    test %al, %al
    jz 3f
    call putc
    jmp 2b
3:  ret
    define_putc
open:
    .asciz "open\n"
masked:
    .asciz "masked\n"

    .org 0xfff0
    ljmp $0xf000, $start
    .org 0x10000
