/* io/landlock.h: Landlock by its system calls (Debian 12's headers and libc know little of it). */
#pragma once
#include "io/sandbox.h"

/* Restricts this thread and the threads and children it starts, and writes into *report what holds.
 * no_new_privs must be set. Fails only when a path of the profile can't be opened or the kernel refuses a
 * rule. */
MUST_USE enum err landlock_enter(const struct sandbox_profile *p, struct sandbox_report *report);
