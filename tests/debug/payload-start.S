/* payload-start.S: multiboot header, entry, and the second processor's way from real mode. */
    .section .header, "a"
    .balign 4
    .long 0x1badb002, 0, -0x1badb002
    .text
    .globl _start, trampoline, trampoline_end
_start:
    mov $stack_end, %esp
    fninit
    call kernel
    jmp .

    .code16
trampoline:
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl 0x8000 + gdt_pointer - trampoline
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $start2
    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word 23
    .long 0x8000 + gdt - trampoline
trampoline_end:
    .code32
start2:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $stack2_end, %esp
    call kernel2
    jmp .

    .section .note.GNU-stack, "", @progbits
    .bss
    .skip 4096
stack_end:
    .skip 4096
stack2_end:
