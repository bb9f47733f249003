/* Entry of boot.c.  FORM says what the image is: a multiboot ELF file (1), a flat image with the a.out
 * kludge (2), an ELF file with a PVH note (3). */
    .code32
    .section .head, "ax"
    .globl image_start
image_start:
#if FORM != 3
    .balign 4
header:
#if FORM == 2
    .long 0x1badb002, 0x10003, -(0x1badb002 + 0x10003)
    .long header, image_start, data_end, image_end, _start
#else
    .long 0x1badb002, 3, -(0x1badb002 + 3)
#endif
#endif
    .globl _start
_start:
    mov $stack_end, %esp
    push %ebx
    push %eax
    call start
1:  hlt
    jmp 1b
#if FORM == 3
    .section .note.pvh, "a", @note
    .long 4, 4, 18
    .asciz "Xen"
    .long _start
#endif
    .bss
    .balign 16
    .space 4096
stack_end:
