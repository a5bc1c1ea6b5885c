"""What a program may ask of the kernel: a filter of system calls (seccomp), put on by the child process itself.

A list of what is allowed; everything else fails with EPERM, which Python shows as PermissionError. Allowed is what
Python needs to compute, to read files (a late import) and to end. So no new process or thread, no socket, no signal to
others, no file made, written, renamed or removed. Once on, a filter cannot be taken off, not by root either.
Chosen over user namespaces (`unshare -rn`), which some distributions and containers refuse, and which leave the user's
own files open to writing. Imports only the standard library. Linux on x86-64 and arm64 only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

EITHER = (
    "read write close lseek mmap mprotect munmap mremap brk madvise fstat newfstatat statx readlinkat faccessat "
    "faccessat2 getcwd getdents64 dup pread64 rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack futex getpid gettid "
    "getuid geteuid getgid getegid getrandom clock_gettime clock_getres gettimeofday clock_nanosleep nanosleep "
    "sched_yield sched_getaffinity uname sysinfo getrlimit getrusage times exit exit_group restart_syscall ppoll "
    "pselect6 rseq membarrier"
)
"""Names, in the order of the numbers below."""
X86_64 = (
    "0 1 3 8 9 10 11 25 12 28 5 262 332 267 269 439 79 217 32 17 13 14 15 131 202 39 186 102 107 104 108 318 228 229 "
    "96 230 35 24 204 63 99 97 98 100 60 231 219 271 270 334 324 "
    "4 6 89 21 7 23"  # calls that arm64 does not have: stat, lstat, readlink, access, poll, select
)
ARM64 = (
    "63 64 57 62 222 226 215 216 214 233 80 79 291 78 48 439 17 61 23 67 134 135 139 132 98 172 178 174 175 176 177 "
    "278 113 114 169 115 101 124 123 160 179 163 165 153 93 94 128 73 72 293 283"
)
TABLES = {  # audit architecture, number of openat, numbers allowed (linux/audit.h, asm/unistd.h)
    "x86_64": (0xC000003E, 257, X86_64),
    "aarch64": (0xC00000B7, 56, ARM64),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with EPERM
LOAD, EQUALS, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # BPF: load a word, jump if equal, jump if any bit, return
NUMBER, ARCHITECTURE, THIRD_ARGUMENT = 0, 4, 32  # offsets in struct seccomp_data
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 38, 22, 2


class Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def filter_program(machine: str) -> bytes:
    """The filter in classic BPF: eight bytes an instruction, (operation, steps if true, steps if false, value)."""
    architecture, openat, numbers = TABLES[machine]
    steps = [(LOAD, 0, 0, ARCHITECTURE), (EQUALS, 1, 0, architecture), (RETURN, 0, 0, REFUSE), (LOAD, 0, 0, NUMBER)]
    for number in map(int, numbers.split()):
        steps += [(EQUALS, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    steps += [(EQUALS, 1, 0, openat), (RETURN, 0, 0, REFUSE), (LOAD, 0, 0, THIRD_ARGUMENT)]
    steps += [(ANY_BIT, 0, 1, WRITING), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def refuse_all_but_computing() -> None:
    """Put the filter on this process, for good. Raises OSError where the kernel does not take it."""
    instructions = filter_program(platform.machine())
    buffer = ctypes.create_string_buffer(instructions)
    program = Program(len(instructions) // 8, ctypes.addressof(buffer))
    _prctl(PR_SET_PDEATHSIG, 9)  # ends with the thread that started it, even asleep
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))


def _prctl(*arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(*(ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:5])):
        raise OSError(ctypes.get_errno(), f"prctl{arguments}: {os.strerror(ctypes.get_errno())}")
