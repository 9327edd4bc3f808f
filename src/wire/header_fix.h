/* wire/header_fix.h: what a submission server does to a message of its user, octets in, octets out
 * (RFC 6409 8). For mail of our own users only: what is relayed stays as it is.
 *
 *   Bcc, Resent-Bcc     taken off with their folded lines: for us alone (RFC 5322 3.6.3)
 *   Return-Path         taken off: the last server writes it (RFC 5321 4.4)
 *   From                added where it is missing: the envelope sender, if there is one
 *   Date, Message-ID    added where they are missing (RFC 6409 8.2, 8.3)
 *
 * These are what Postfix (message_drop_headers, always_add_missing_headers) and Exim (control = submission)
 * do. A field that is there is never changed, even a malformed one: a client may have signed it, and keeps a
 * copy with this Message-ID. (But for the address in From and Sender, where facts.readdress says so: that is
 * for the mail of a machine whose own addresses nobody can answer.) To need not be there. Nothing is added to
 * a message with any Resent- field: it is that of someone else, and the fields of one resending stand
 * together (RFC 5322 3.6.6).
 *
 * Fields are added at the end of the header section: only there is it known which are missing, and nothing of
 * the message has to be held back for them. A section that ends with a line that is no field (see
 * wire/header.h: the same is a field here) gets the empty line it lacks, so that all readers see one end.
 *
 * Owns:     nothing on the heap; slices borrow from the input or from the filter.
 * Limits:   a line that has no colon within HEADER_FIX_NAME_MAX octets is no field. Fields may be of any
 *           length; they pass through. A From or Sender over HEADER_FIX_ADDS_MAX octets is not readdressed.
 */
#pragma once
#include "base/buf.h"
#include "base/limits.h"

enum {
    HEADER_FIX_NAME_MAX = 998, /* octets of a line, RFC 5322 2.1.1 */
    HEADER_FIX_ADDS_MAX = 1024,
};

/* What is known of the message. Texts must live as long as the filter. */
struct header_fix_facts {
    struct str from; /* an address as it can stand in a field, or empty: no From is added */
    struct str host; /* and the id make "<SECONDS.ID@host>": the id alone may come again with a new spool */
    uint64_t queue_id;
    int64_t unix_s;
    /* Appends what the address in From or Sender is to be, at most SMTP_PATH_MAX octets; false: it stays, as
     * does a field that is no single mailbox (wire/readdress.h). NULL: all stay. */
    bool (*readdress)(void *arg, struct str address, struct buf *out);
    void *readdress_arg;
};

enum header_fix_at {
    HEADER_FIX_LINE = 0, /* a line begins */
    HEADER_FIX_NAME,     /* what may be a name is held */
    HEADER_FIX_BLANK,    /* blanks before the colon are too (RFC 5322 4.5) */
    HEADER_FIX_CR,       /* of the empty line */
    HEADER_FIX_VALUE,
    HEADER_FIX_FIELD, /* one that was kept is whole: it goes in three pieces */
    HEADER_FIX_ADDS,  /* the section is over: the fields to add go next */
    HEADER_FIX_HELD,  /* then what was held */
    HEADER_FIX_BODY,
};
struct header_fix {
    struct header_fix_facts facts;
    enum header_fix_at at;
    bool has_field, has_from, has_date, has_id, is_resent;
    bool is_dropped; /* the field that goes by */
    bool is_open;    /* the message ended within a line that was given */
    bool is_kept;    /* that field is collected in adds, which has no other use yet */
    bool is_over;    /* nothing comes behind the field */
    uint8_t piece;   /* of FIELD */
    uint16_t n_name, n_held;
    uint16_t n_kept, address_at, address_end, n_address; /* FIELD: what is replaced, and what by */
    char held[HEADER_FIX_NAME_MAX];
    char adds[HEADER_FIX_ADDS_MAX];
    char address[SMTP_PATH_MAX];
};

void header_fix_init(struct header_fix *f, const struct header_fix_facts *facts);
/* Takes octets off the front of *in until there is something to give on, and that is *out: valid until the
 * next call, never empty. false: *in was used up. In the body each call gives all of *in as it is. */
bool header_fix_next(struct header_fix *f, struct str *in, struct str *out);
/* The message is complete: header_fix_next() with no input gives the rest. Harmless when it was called
 * before. */
void header_fix_end(struct header_fix *f);
/* The header section is over and all of it was given: what follows may go around the filter. */
static inline bool header_fix_is_done(const struct header_fix *f)
{
    return f->at == HEADER_FIX_BODY;
}
