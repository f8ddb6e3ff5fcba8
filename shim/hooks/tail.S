/*
 * Hooks that must leave no frame behind: dlopen looks at its return address (RUNPATH), the child of vfork and clone
 * returns on the parent's stack, and syscall's arguments are whatever the caller says. Each calls its C half, which
 * returns the real function, and jumps there with the registers as they came. x86-64.
 */
#if defined(__x86_64__)
	.text

/* Save what may hold arguments; the stack is 16-byte aligned at the call. */
.macro save
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%r8
	pushq	%r9
	pushq	%rax
	.cfi_adjust_cfa_offset 56
.endm

.macro restore_and_jump
	movq	%rax, %r11
	popq	%rax
	popq	%r9
	popq	%r8
	popq	%rcx
	popq	%rdx
	popq	%rsi
	popq	%rdi
	.cfi_adjust_cfa_offset -56
	jmp	*%r11
.endm

.macro function name
	.globl	\name
	.type	\name, @function
	.p2align 4
\name:
	.cfi_startproc
	endbr64
.endm

.macro end name
	.cfi_endproc
	.size	\name, . - \name
.endm

function vfork
	save
	call	hooks_vfork
	restore_and_jump
end vfork

function clone
	save
	movl	%edx, %edi		/* flags */
	call	hooks_clone
	restore_and_jump
end clone

function syscall
	save
	call	hooks_syscall		/* number and three arguments are where C wants them */
	restore_and_jump
end syscall

function dlopen
	save
	leaq	40(%rsp), %rdi		/* the saved mode */
	call	hooks_dlopen
	restore_and_jump
end dlopen

/* Destructors run in it: a crash there must not show a frame of ours. */
function dlclose
	save
	call	hooks_dlclose
	restore_and_jump
end dlclose

#else
#error "tail.S knows x86-64 only"
#endif
	.section .note.GNU-stack, "", @progbits
