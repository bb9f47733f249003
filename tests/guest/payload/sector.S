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
2:  lodsb
    test %al, %al
    jz 3f
    call putc
    jmp 2b
3:  mov %bl, %al
    shr $4, %al
    call digit
    mov %bl, %al
    call digit
    mov $'\n', %al
    call putc
#if RESET
    mov $0x7e, %al          /* a byte of the battery-backed memory: have we been here? */
    out %al, $0x70
    in $0x71, %al
    cmp $RESET, %al
    je 4f
    mov $0x7e, %al
    out %al, $0x70
    mov $RESET, %al
    out %al, $0x71
    mov $0x06, %al
    mov $0xcf9, %dx
    out %al, %dx
#endif
4:  mov $0x2a, %al
    mov $PORT_EXIT, %dx
    out %al, %dx
5:  hlt
    jmp 5b
digit:
    and $15, %al
    add $'0', %al
    cmp $'9', %al
    jbe putc
    add $'a' - '9' - 1, %al
putc:
    mov %al, %ah
    mov $PORT_UART + 5, %dx
6:  in %dx, %al
    test $0x20, %al
    jz 6b
    mov %ah, %al
    mov $PORT_UART, %dx
    out %al, %dx
    ret
text:
    .ascii "boot "
    .byte LETTER
    .asciz " drive "
    .org 510
    .word 0xaa55
