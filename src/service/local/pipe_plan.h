/* service/local/pipe_plan.h: local's half of a delivery into a program: which program, and with which words.
 */
#pragma once
#include "config/config.h"
#include "ipc/lists.h"
#include "ipc/schema.h"

enum {
    PIPE_WORDS_OCTETS = 32 * 1024, /* of all words, filled in */
    PIPE_TEXT_OCTETS = 16 * 1024,  /* what policy_route() wants, and more */
};
struct pipe_plan {
    struct ipc_pipe_job job; /* borrows from the members below, the configuration and the local_job */
    char words[PIPE_WORDS_OCTETS], text[PIPE_TEXT_OCTETS];
};

/* Finds what a LOCAL_JOB without a Maildir is for, in the present configuration, and fills in all of the
 * PIPE_JOB but the token. false: *why (an answer, temporary or permanent) says why it is not run. */
MUST_USE bool plan_pipe(const struct config *conf, const struct ipc_local_job *m, struct pipe_plan *out,
                        struct job_result *why);
