/* ext/pam_check.h: a user and his password before the modules of PAM (Linux-PAM), which may be anything that
 * the administrator put there.
 *
 * Owns:     nothing between two calls.
 * Limits:   none in time: a module may wait as long as it likes. The caller sits in a process of its own.
 * Errors:   what is neither yes nor no is PAM_CHECK_LATER, with the reason.
 * Security: the conversation answers one question for a hidden text, with the password, and is over where a
 *           module asks for more. What modules say to the user is not heard. Copies of the password that are
 *           ours are wiped; PAM wipes its own.
 */
#pragma once
#include "base/buf.h"

enum pam_verdict { PAM_CHECK_YES = 0, PAM_CHECK_NO, PAM_CHECK_LATER };
enum { PAM_WHY_MAX = 256 };
struct pam_question { /* texts of C: no octet of them is NUL */
    const char *service, *user, *password;
    const char *client; /* the address that asks, as text, or "" */
    const char *folder; /* of the service's file; NULL: where this machine has them */
};
struct pam_checker {
    /* From any thread, one call at a time. why: a phrase for the log unless it is yes. */
    enum pam_verdict (*check)(const struct pam_question *q, struct buf *why);
};
/* The modules of this machine. Static. */
struct pam_checker *pam_of_this_machine(void);
