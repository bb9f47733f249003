/* A boot sector of a floppy: reads a sector far from it through the BIOS, writes one, waits for a key on the
 * serial port (the medium is changed meanwhile), and does both again.  Each time it prints "read STATUS TEXT"
 * and "write STATUS", with int 13h's status in hexadecimal; at the end it leaves by isa-debug-exit. */
#include "io.h"
    .code16
    .globl _start
_start:
    ljmp $0, $1f
1:  xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    mov %dl, drive
    call round
2:  mov $PORT_UART + 5, %dx
    in %dx, %al
    test $1, %al
    jz 2b
    call round
    mov $0x2a, %al
    mov $PORT_EXIT, %dx
    out %al, %dx
3:  hlt
    jmp 3b
round:
    movb $0, 0x8000
    mov $3, %cl             /* cylinder 40, head 1, sector 3 */
    mov $0x0201, %ax
    mov $read, %si
    call disk
    mov $0x8000, %si
    call print
    mov $4, %cl             /* what was read goes to the two sectors after it */
    mov $0x0302, %ax
    mov $write, %si
    call disk
    mov $done, %si
    jmp print
disk:                       /* int 13h %ax at sector %cl; prints %si and the status */
    push %si
    mov $40, %ch
    mov $1, %dh
    mov drive, %dl
    mov $0x8000, %bx
    int $0x13
    pop %si
    push %ax
    call print
    pop %bx
    mov %bh, %al
    call hex
    mov $' ', %al
    jmp putc
define_print
define_putc
read:
    .asciz "read "
write:
    .asciz "write "
done:
    .asciz "\n"
drive:
    .byte 0
    .org 510
    .word 0xaa55
