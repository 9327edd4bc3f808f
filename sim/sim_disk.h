/* sim/sim_disk.h: a disk in memory that fails as disks do, for the crash tests and the simulator.
 *
 * A struct sim_disk is the medium: a tree of folders and files with, for each file content and each directory
 * entry, a volatile state (what a reader sees) and a durable one (what power loss leaves). It outlives
 * processes. A mount is a process's struct disk (base/world.h) on it. The medium knows no clock: a mount is
 * given a host that runs a function after a delay; one host per world is enough.
 *
 * Semantics:
 * - An operation takes virtual time and acts when that time is over, then its done is called. Operations of
 * one lane run one at a time and in order; DISK_LANE_READ runs two beside each other.
 * - DISK_WRITE changes the volatile state; DISK_SYNC (or .sync) makes the content of that file durable, not
 * its name. DISK_SYNC_DIR makes the entries of that folder durable.
 * - Power loss keeps what is durable and, by the medium's seed, any choice of what was not: all, nothing, a
 * prefix whose last write is torn, or each 512-octet sector on its own in any of its versions (so also out of
 * order); each change of a directory entry on its own.
 * - A failed sync leaves each unsynced sector durable or lost for good by the seed, and a later sync that
 * says ERR_OK does not bring it back, although readers still see it until power is lost. Everything is a
 * function of the seed and of the order of calls.
 */
#pragma once
#include "base/rand.h"
#include "base/world.h"

struct sim_disk;

struct sim_disk_host {
    /* Calls fn(fn_arg) once, delay_us of virtual time later and never within this call. Can't be cancelled: a
     * mount that is gone by then ignores it, so a host may also run leftovers early; it must run or drop them
     * all before it goes (dropping leaks the mount). */
    void (*schedule)(void *arg, uint64_t delay_us, void (*fn)(void *fn_arg), void *fn_arg);
    void *arg;
    /* The host's table: must have .disk_submit = sim_disk_submit and .disk_close = sim_disk_close. */
    const struct world_ops *ops;
};

struct sim_disk *sim_disk_new(uint64_t seed);
/* All mounts must be closed. */
void sim_disk_del(struct sim_disk **d);
/* A copy of the medium in its present volatile and durable state, without mounts, watcher and faults. Cheap:
 * content is shared until written. */
struct sim_disk *sim_disk_clone(const struct sim_disk *d, uint64_t seed);

/* Mounts the folder `root` of the medium ("." is its top; other folders are made by sim_disk_mkdir first).
 * What world_ops.disk does. */
MUST_USE enum err sim_disk_mount(struct sim_disk *d, const char *root, const struct sim_disk_host *host,
                                 struct disk **out);
/* For the host's world_ops. disk_close also takes mounts that are dead; then operations may still be open. */
void sim_disk_submit(struct disk *mount, struct disk_op *op);
void sim_disk_close(struct disk *mount);

/* The process died: operations that have not acted never act and no done is called any more (by the seed the
 * first waiting write of a lane has acted in part); its lock is free. sim_disk_close(mount) must still be
 * called. */
void sim_disk_kill(struct disk *mount);
/* Power loss, see above. All mounts are dead as after sim_disk_kill(). The medium can be mounted again at
 * once. */
void sim_disk_power_cut(struct sim_disk *d);

/* ---- faults ---- */

struct sim_disk_fault {
    uint64_t at;    /* the first of the matching operations that fails, counted from now; 1 is the next one */
    uint64_t count; /* how many fail from there on; UINT64_MAX: all, the fault stays */
    uint32_t kinds; /* 1u << enum disk_kind, or'ed; 0: every kind but DISK_CLOSE */
    enum err err;   /* ERR_IO, ERR_NOSPACE */
};
/* At most 8 at a time. A failed write has acted in part; a failed sync as said above; others have not acted.
 */
void sim_disk_add_fault(struct sim_disk *d, const struct sim_disk_fault *f);
void sim_disk_clear_faults(struct sim_disk *d);
/* Operations that would take the files' octets over this get ERR_NOSPACE. UINT64_MAX (default): none. */
void sim_disk_set_capacity(struct sim_disk *d, uint64_t octets);
/* Syncs say ERR_OK and do nothing: proves that a checker can see loss. */
void sim_disk_set_lying(struct sim_disk *d, bool lies);
/* Flips bits of one octet of a file, in both states: bit rot. false when there is no such octet. */
MUST_USE bool sim_disk_rot(struct sim_disk *d, const char *path, uint64_t offset, unsigned char mask);

/* Virtual durations, each varied by the seed between half and one and a half of it. */
struct sim_disk_timing {
    uint64_t op_us;      /* every operation; default 20 */
    uint64_t sync_us;    /* on top when something is synced; default 200 */
    uint64_t per_mib_us; /* per MiB moved; default 1000 */
};
void sim_disk_set_timing(struct sim_disk *d, const struct sim_disk_timing *t);

/* ---- looking at it from outside ---- */

enum sim_disk_moment {
    SIM_DISK_ACTING =
        0,          /* the volatile state has changed, nothing of it is durable yet: power may fail here */
    SIM_DISK_ACTED, /* all done, also what is durable; done has not been called yet */
};
/* fn is called for each operation of any mount that is not a read, at both moments. It may clone the medium
 * but must not otherwise change it. NULL: nobody. */
void sim_disk_watch(struct sim_disk *d,
                    void (*fn)(void *arg, enum sim_disk_moment m, const struct disk_op *op), void *arg);

/* Operations done by all mounts so far, and reads and octets read among them. */
struct sim_disk_counts {
    uint64_t n_ops, n_reads, n_syncs, n_faults, octets_read, octets_written;
};
void sim_disk_get_counts(const struct sim_disk *d, struct sim_disk_counts *out);
/* Octets of all files below the folder (their sizes), volatile state. */
uint64_t sim_disk_octets(const struct sim_disk *d, const char *folder);
/* Files below the folder in bytewise order of path; fn may not change the medium. */
void sim_disk_each_file(const struct sim_disk *d, const char *folder,
                        void (*fn)(void *arg, const char *path, uint64_t size), void *arg);
/* Makes a folder, durable at once (its parent must exist); harmless when it is there. */
void sim_disk_mkdir(struct sim_disk *d, const char *path);
/* Copies up to size octets of the volatile content; false when there is no such file or it is shorter. */
MUST_USE bool sim_disk_peek(const struct sim_disk *d, const char *path, uint64_t offset, void *out,
                            size_t size);
