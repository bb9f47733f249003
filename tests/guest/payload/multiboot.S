/* A multiboot 1 kernel: prints its command line and the first module's string, then leaves by
 * isa-debug-exit with 0x2a, which makes status 85. */
#include "io.h"
    .code32
    .globl _start
    .balign 4
    .long 0x1badb002, 0, -0x1badb002
_start:
    mov $stack_end, %esp
    cmp $0x2badb002, %eax
    jne bad
    mov 16(%ebx), %esi
    call puts
    mov $'\n', %al
    call putc
    cmpl $0, 20(%ebx)
    je 1f
    mov 24(%ebx), %eax
    mov 8(%eax), %esi
    call puts
    mov $'\n', %al
    call putc
1:  mov $0x2a, %al
leave_with:
    mov $PORT_EXIT, %dx
    out %al, %dx
2:  hlt
    jmp 2b
bad:
    mov $0x7f, %al
    jmp leave_with

puts:
    lodsb
    test %al, %al
    jz 3f
    call putc
    jmp puts
3:  ret
    define_putc
    .balign 16
    .space 256
stack_end:
