/* service/local/forward.h: a user's ~/.forward, read by the child that has become the user and whose folder
 * is his home. What it means is wire/forward.h; here are the file and the answer.
 *
 * Security: the file counts as the user's word only when it is a regular file of his (or root's) that nobody
 *           else can write; a symbolic link is not followed. What is wrong with it is a temporary failure
 * that says so: mail waits until its owner has put it right, and is neither lost nor kept from him.
 */
#pragma once
#include "base/world.h"
#include "ipc/lists.h"
#include "ipc/schema.h"
#include "wire/forward.h"

struct forward_answer {
    enum home_says says;
    struct job_result result; /* of HOME_SAYS_RESULT; borrows from the members below */
    char text[RESULT_TEXT_MAX], targets[RESULT_TARGETS_MAX];
};

/* What a DISK_READ_SMALL of .forward that is done (FORWARD_OCTETS_MAX octets at most) tells. */
void forward_say(const struct disk_op *read, const struct ipc_forward_ask *m, struct forward_answer *out);

/* Reads .forward in the root of d and calls fn once, later; a is valid during the call. false: no memory, or
 * names that are too long; fn is not called. m is not needed after the call. */
MUST_USE bool forward_start(struct disk *d, const struct ipc_forward_ask *m,
                            void (*fn)(void *arg, uint64_t token, const struct forward_answer *a), void *arg);
