/* A multiboot 1 kernel for a machine of 64 MiB.  With a command line that ends with `h`, as `touch`, it
 * writes its own address to each page from 2 MiB up and reads that back; it says `touched`, or at once
 * `up`, and stays. */
#include "io.h"
#define FROM 0x200000
#define TO 0x4000000
    .code32
    .globl _start
    .balign 4
    .long 0x1badb002, 0, -0x1badb002
_start:
    mov $stack_end, %esp
    mov 16(%ebx), %esi
4:  lodsb
    test %al, %al
    jnz 4b
    cmpb $'h', -2(%esi)
    mov $up, %esi
    jne say
    mov $FROM, %eax
1:  mov %eax, (%eax)
    add $0x1000, %eax
    cmp $TO, %eax
    jb 1b
    mov $bad, %esi
    mov $FROM, %eax
2:  cmp %eax, (%eax)
    jne say
    add $0x1000, %eax
    cmp $TO, %eax
    jb 2b
    mov $touched, %esi
say:
    lodsb
    test %al, %al
    jz 3f
    call putc
    jmp say
3:  cli
    hlt
    jmp 3b
    define_putc
up:      .asciz "up\n"
touched: .asciz "touched\n"
bad:     .asciz "bad\n"
    .balign 16
    .space 256
stack_end:
