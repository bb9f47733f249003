/* A 64 KiB firmware: asks VMware's port for its version and the size of RAM, prints EAX, EBX and ECX of each
 * answer, leaves by isa-debug-exit with status 43. */
#include "io.h"
    .code16
    .globl _start
_start:
start:
    cli
    xor %ax, %ax
    mov %ax, %ss
    mov $0x7000, %sp
    mov $10, %ecx
    call ask
    mov $20, %ecx
    call ask
    mov $0x15, %al
    mov $PORT_EXIT, %dx
    out %al, %dx
1:  hlt
    jmp 1b

ask:
    mov $0x564d5868, %eax
    mov $0x11111111, %ebx
    mov $0x5658, %dx
    in %dx, %eax
    push %ecx
    push %ebx
    push %eax
    mov $3, %bp
2:  pop %ebx
    mov $8, %cl
3:  rol $4, %ebx
    mov %bl, %al
    and $15, %al
    cmp $10, %al
    sbb $0x69, %al
    das
    call putc
    dec %cl
    jnz 3b
    mov $' ', %al
    call putc
    dec %bp
    jnz 2b
    mov $'\n', %al
    call putc
    ret
    define_putc

    .org 0xfff0
    ljmp $0xf000, $start
    .org 0x10000
