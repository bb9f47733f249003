/* A 64 KiB firmware that does what it is told over the first serial port: prints 'S' when it starts,
 * then takes a letter and little-endian operands, and answers what is in brackets.
 *
 *   b port.16 val.8    out, a byte [.]          i port.16   in, a byte [. byte]
 *   w port.16 val.16   out, two bytes [.]       j port.16   in, four bytes [. 4 bytes]
 *   d port.16 val.32   out, four bytes [.]      T           triple fault
 *   m val.32 addr.32   store four bytes in memory [.]
 *   l addr.32          load them [. 4 bytes]
 *   e [. byte]         a byte of RAM at 0x500, then incremented */
#define UART 0x3f8
    .code16
    .globl _start
_start:
start:
    cli
    mov $0x7000, %sp
    xor %ax, %ax
    mov %ax, %ss
    mov %ax, %ds
    mov $'S', %al
    call put
next:
    call get
    cmp $'T', %al
    je triple
    cmp $'e', %al
    je count
    cmp $'m', %al
    je store
    cmp $'l', %al
    je load
    mov %al, %bl
    call get
    mov %al, %cl
    call get
    mov %al, %ch
    cmp $'i', %bl
    je in8
    cmp $'j', %bl
    je in32
    cmp $'b', %bl
    je out8
    cmp $'w', %bl
    je out16
    cmp $'d', %bl
    je out32
    mov $'?', %al
    call put
    jmp next

in8:
    mov $'.', %al
    call put
    mov %cx, %dx
    in %dx, %al
    call put
    jmp next
in32:
    mov $'.', %al
    call put
    mov %cx, %dx
    in %dx, %eax
    mov %eax, %esi
answer32:
    mov $4, %bh
1:  mov %esi, %eax
    call put
    shr $8, %esi
    dec %bh
    jnz 1b
    jmp next
out8:
    call get
    mov %cx, %dx
    out %al, %dx
    jmp done
out16:
    call get
    mov %al, %bl
    call get
    mov %al, %ah
    mov %bl, %al
    mov %cx, %dx
    out %ax, %dx
    jmp done
out32:
    call get32
    mov %esi, %eax
    mov %cx, %dx
    out %eax, %dx
done:
    mov $'.', %al
    call put
    jmp next
count:
    mov $'.', %al
    call put
    mov 0x500, %al
    incb 0x500
    call put
    jmp next
store:
    mov %al, %bl
    call get32
    mov %esi, %edi
    call get32
    jmp access
load:
    mov %al, %bl
    call get32
access:
    lgdtl %cs:gdt_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $0xf0000 + reach
    .code32
reach:
    mov $16, %ax
    mov %ax, %ds
    cmp $'l', %bl
    je 1f
    mov %edi, (%esi)
    jmp 2f
1:  mov (%esi), %esi
2:  mov $32, %ax
    mov %ax, %ds
    ljmpw $24, $leave
    .code16
leave:
    mov %cr0, %eax
    and $~1, %al
    mov %eax, %cr0
    ljmp $0xf000, $back
back:
    xor %ax, %ax
    mov %ax, %ds
    cmp $'l', %bl
    jne done
    mov $'.', %al
    call put
    jmp answer32
triple:
    /* From flat protected mode: the one thing besides real mode that a software KVM runs well. */
    lidtl %cs:no_idt
    lgdtl %cs:gdt_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $0xf0000 + flat
    .code32
flat:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %ss
    ud2
    hlt
    .code16

/* Four bytes into %esi; changes %eax, %dx and %bh. */
get32:
    mov $4, %bh
1:  call get
    movzbl %al, %eax
    shr $8, %esi
    shl $24, %eax
    or %eax, %esi
    dec %bh
    jnz 1b
    ret

/* A byte to and from the UART, in %al; they change %dx and put also %ah. */
put:
    mov %al, %ah
    mov $UART + 5, %dx
1:  in %dx, %al
    test $0x20, %al
    jz 1b
    mov %ah, %al
    mov $UART, %dx
    out %al, %dx
    ret
get:
    mov $UART + 5, %dx
1:  in %dx, %al
    test $1, %al
    jz 1b
    mov $UART, %dx
    in %dx, %al
    ret

no_idt:
    .word 0
    .long 0
    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00009b0f0000ffff, 0x000093000000ffff
gdt_pointer:
    .word 39
    .long 0xf0000 + gdt

    .org 0xfff0
    ljmp $0xf000, $start
    .org 0x10000
