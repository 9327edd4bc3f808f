/* service/local/pipe.h: the child of local that has become a user and runs programs as that user: what a
 * domain's deliver = pipe { ... } and an alias "|program" name.
 *
 * It gets PIPE_JOB and answers JOB_DONE on its one channel, until SUP_DRAIN or the channel's end; then its
 * programs end too. Several run beside each other.
 */
#pragma once
#include "service/boot/role.h"

/* The account that this process has, for the environment of programs; what is not known is empty. */
struct pipe_account {
    struct str name, home, shell;
};
/* Starts; the texts of account must live as long. hooks->enter_sandbox is called with a NULL env. What it
 * can't do it says to local by SUP_FAILED. */
void pipe_start(struct world *w, struct channel *local, const struct pipe_account *account,
                const struct boot_hooks *hooks);
