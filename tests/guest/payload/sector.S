/* A boot sector: prints "boot LETTER" and the drive the BIOS gives on the first serial port.  With RESET it
 * resets the machine at its first start; else, and at the second, it leaves by isa-debug-exit with 0x2a
 * (status 85). */
#include "io.h"
    .code16
    .globl _start
_start:
    ljmp $0, $1f
1:  xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    mov %dl, %bl
    mov $text, %si
    call print
    mov %bl, %al
    call hex
    mov $'\n', %al
    call putc
#if RESET
    mov $0x7e, %al          /* a byte of the battery-backed memory: have we been here? */
    out %al, $0x70
    in $0x71, %al
    cmp $RESET, %al
    je 2f
    mov $0x7e, %al
    out %al, $0x70
    mov $RESET, %al
    out %al, $0x71
    mov $0x06, %al
    mov $0xcf9, %dx
    out %al, %dx
#endif
2:  mov $0x2a, %al
    mov $PORT_EXIT, %dx
    out %al, %dx
3:  hlt
    jmp 3b
define_print
define_putc
text:
    .ascii "boot "
    .byte LETTER
    .asciz " drive "
    .org 510
    .word 0xaa55
