/* service/local/deliver.h: the child of local that has become a user: writes messages into that user's
 * Maildirs.
 *
 * It gets LOCAL_JOB and answers JOB_DONE on its one channel, until SUP_DRAIN or the channel's end. Its disk
 * is rooted at the fixed part of the configured Maildir path; it can open nothing else. One that is rooted at
 * a user's home also answers FORWARD_ASK.
 */
#pragma once
#include "service/boot/role.h"

/* Starts delivering; root is the folder below which all Maildirs lie. hooks->enter_sandbox is called with a
 * NULL env. What it can't do it says to local by SUP_FAILED, which logs it: this process does not know the
 * form of the log. */
void deliver_start(struct world *w, struct channel *local, const char *root, const struct boot_hooks *hooks);

/* Its folder can't be opened (e): tells so who has mail for it, and waits for its end. */
void deliver_refuse(struct world *w, struct channel *local, enum err e, const struct boot_hooks *hooks);

/* The folder below which all Maildirs of a template lie: its fixed part. Empty: it is none. */
struct str maildir_root(struct str template);

/* The stored form of a message, in pieces: Return-Path fields of the original are left out, CRLF becomes LF
 * (the Maildir convention that Postfix, Exim and Dovecot share). Zeroed is the start. */
struct maildir_text {
    bool in_body;
    bool is_skipping; /* within a Return-Path field */
    bool had_cr;
    bool keeps_crlf; /* in the body; set by the caller */
    /* Who gets it, set by the caller. is_loop: a Delivered-To field above names him already, so it came back
     * from somewhere and would do so for ever. Compared without regard to case, as Postfix and qmail do. */
    struct str rcpt;
    bool is_loop;
};
/* Appends the stored form of in to out (at most in.n octets + 1). is_last: nothing follows. Returns octets
 * consumed: an incomplete header line is left for the next call unless is_last or the input is longer than a
 * header section may be. */
size_t maildir_text_feed(struct maildir_text *t, struct str in, bool is_last, struct buf *out);
/* "Return-Path: <sender>\nDelivered-To: rcpt\n" */
void maildir_head(struct str sender, struct str rcpt, struct buf *out);
