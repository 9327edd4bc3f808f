/* prog/user_file.h: a file of users, read and replaced as a whole.
 *
 * Owns:     the text of an open file, and the lock on its folder.
 * Limits:   CONFIG_FILE_MAX octets, as the loader reads.
 * Errors:   exit codes of sysexits(3); what went wrong was printed.
 * Security: a new file is for its owner alone; an old one keeps its owner, group and mode, or is not
 * replaced.
 */
#pragma once
#include "base/buf.h"

#include <sys/types.h>

struct user_file {
    char path[4096]; /* symbolic links resolved; name is its end */
    const char *name;
    int folder; /* with the lock on it */
    bool exists;
    uid_t uid;
    gid_t gid;
    mode_t mode;
    struct buf text;
};
/* Reads it. locks: waits for others that edit files in its folder, and keeps them out until it is closed. A
 * file that isn't there is an error unless may_lack. user_file_close() in any case. */
int user_file_open(const char *path, bool locks, bool may_lack, struct user_file *f);
/* Puts the text in its place: whoever reads it sees the old or the new one, whatever happens meanwhile. */
int user_file_save(struct user_file *f, struct str text);
void user_file_close(struct user_file *f);
