/* A 64 KiB firmware: prints a line from real mode, goes to 32-bit protected mode, prints another,
 * leaves by isa-debug-exit with 0x15, which makes status 43. */
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
    mov $0x7000, %sp
    mov $real_text, %si
    call puts16
    lgdtl %cs:gdt_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $0xf0000 + flat

puts16:
    lodsb
    test %al, %al
    jz 2f
    call putc
    jmp puts16
2:  ret
    define_putc

    .code32
flat:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7000, %esp
    mov $0xf0000 + flat_text, %esi
3:  lodsb
    test %al, %al
    jz 5f
    mov %al, %ah
    mov $PORT_UART + 5, %dx
4:  in %dx, %al
    test $0x20, %al
    jz 4b
    mov %ah, %al
    mov $PORT_UART, %dx
    out %al, %dx
    mov $PORT_DEBUGCON, %dx
    out %al, %dx
    jmp 3b
5:  mov $0x15, %al
    mov $PORT_EXIT, %dx
    out %al, %dx
6:  hlt
    jmp 6b

real_text:
    .asciz "real mode\n"
flat_text:
    .asciz "protected mode\n"
    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word 23
    .long 0xf0000 + gdt

    .org 0xfff0
    .code16
    ljmp $0xf000, $start
    .org 0x10000
