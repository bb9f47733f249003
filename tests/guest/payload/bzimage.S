/* The smallest thing that passes for a Linux bzImage (boot protocol 2.12, no 64-bit entry): its real-mode
 * part prints what the loader put into the header, its 32-bit part at 1 MiB the initrd; then it leaves by
 * isa-debug-exit with 0x2a (status 85). */
#include "io.h"
    .code16
    .globl _start
_start:
    .org 0x1f1
    .byte 3                 /* setup_sects */
    .word 0
    .long 1                 /* syssize: 16 bytes */
    .org 0x1fe
    .word 0xaa55
    jmp real_mode
    .ascii "HdrS"
    .word 0x20c
    .org 0x210
    .byte 0                 /* type_of_loader */
    .byte 1                 /* loaded high */
    .word 0
    .long 0x100000
    .long 0, 0              /* ramdisk_image, ramdisk_size */
    .org 0x228
cmd_line_ptr:
    .long 0
    .long 0x37ffffff        /* initrd_addr_max */
    .long 0x200000
    .byte 1, 0
    .word 0                 /* xloadflags */
    .long 2047
    .org 0x258
    .quad 0x100000
    .long 0x10000
    .org 0x268
/* CS is 0x20 paragraphs behind the segment that the header is in. */
real_mode:
    mov %cs, %ax
    sub $0x20, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x8000, %sp
    mov 0x228, %eax
    mov %eax, %ebx
    shr $4, %ebx
    mov %bx, %es
    and $15, %ax
    mov %ax, %si
1:  mov %es:(%si), %al
    inc %si
    test %al, %al
    jz 2f
    call putc
    jmp 1b
2:  mov $' ', %al
    call putc
    mov 0x210, %al
    call hex8
    mov $'\n', %al
    call putc
    xor %ebp, %ebp
    mov 0x218, %edi
    mov 0x21c, %ebp
    xor %eax, %eax
    mov %ds, %ax
    shl $4, %eax
    add $gdt, %eax
    mov %eax, gdt_ptr + 2
    cli
    lgdt gdt_ptr
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    .byte 0x66, 0xea        /* ljmpl */
    .long 0x100000
    .word 0x10
hex8:
    push %ax
    shr $4, %al
    call hex4
    pop %ax
hex4:
    and $15, %al
    add $'0', %al
    cmp $'9', %al
    jbe putc
    add $'a' - '9' - 1, %al
    define_putc
    .balign 8
gdt:
    .quad 0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_ptr:
    .word 31
    .long 0
    .org 0x800
/* --- at 1 MiB: EDI is the initrd, EBP its size --- */
    .code32
    mov $0x18, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov %ax, %es
    mov $0x90000, %esp
    mov %edi, %esi
    mov %ebp, %ecx
3:  jecxz 4f
    lodsb
    dec %ecx
    call putc32
    jmp 3b
4:  mov $'\n', %al
    call putc32
    mov $0x2a, %al
    mov $PORT_EXIT, %dx
    out %al, %dx
5:  hlt
    jmp 5b
putc32:
    mov %al, %ah
    mov $PORT_UART + 5, %dx
6:  in %dx, %al
    test $0x20, %al
    jz 6b
    mov %ah, %al
    mov $PORT_UART, %dx
    out %al, %dx
    ret
