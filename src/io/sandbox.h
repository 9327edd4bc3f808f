/* io/sandbox.h: a role gives up what it does not need, for good: its start-up ends with this.
 *
 * seccomp carries the rules: a call that no row allows fails with EPERM, calls that no mail program ever
 * makes (modules, mounts, namespaces, bpf, io_uring, ...) kill the process, or fail where it starts programs
 * of others. Landlock ties file access to the named paths as far as the kernel can. New executable memory is
 * refused. All of it holds for every thread and every child.
 */
#pragma once
#include "base/err.h"

#include <stdint.h>

struct sandbox_profile {
    const char *name;
    bool accept;       /* take connections from listeners it was given */
    bool net_tcp;      /* make IPv4 and IPv6 stream sockets, bind and connect them */
    bool net_udp;      /* the same for datagrams */
    bool unix_connect; /* make and connect unix stream sockets */
    bool files_read;   /* open files for reading below ro_paths and rw_path */
    bool files_write;  /* open, make, rename and remove files below rw_path, and read there */
    bool threads;      /* start threads later (those started before go on in any case) */
    /* Start any program as any user: the calls of unknown programs must work, so only what is never needed is
     * denied (and sockets as above); no Landlock. Programs it starts gain nothing from set-user-ID bits. */
    bool spawn;
    const char *rw_path;         /* or NULL */
    const char *const *ro_paths; /* ended by NULL, or NULL for none */
};

struct sandbox_report {  /* zeroed by the caller before the first call */
    const char *profile; /* "sanitized" where a sanitizer's run-time needs more than any profile gives */
    bool no_new_privs;
    bool seccomp;
    bool landlock;     /* files are tied to the paths */
    bool landlock_net; /* TCP is denied by Landlock too */
    int landlock_abi;  /* what the kernel has, 0: none */
    char missing[128]; /* what does not hold and why, for people; empty when all holds */
};

/* The first half: no_new_privs, not dumpable, no core files, Landlock. Landlock binds the calling thread and
 * those it starts: call it before world_disk() makes threads. May be left out, sandbox_enter() does it then.
 * A kernel without Landlock is no error, the report says it. */
MUST_USE enum err sandbox_files(const struct sandbox_profile *p, struct sandbox_report *report);
/* All of it. ERR_DENIED when seccomp can't be installed; the role must not go on then. */
MUST_USE enum err sandbox_enter(const struct sandbox_profile *p, struct sandbox_report *report);
