/* wire/feedback.h: what a report that came in says, in short: what it takes to act on it and to tell people,
 * without the message. smtpd, which may do least, reads the message; this is what the queue gets and keeps in
 * the envelope.
 *
 * Owns:     nothing; texts borrow from the record or from the caller's buffer.
 * Limits:   FEEDBACK_MAX octets of a record; each text has its own and is cut.
 * Errors:   false for octets that are no whole, sound record: texts without control characters.
 * RFC:      3464 (delivery status), 5965 (complaints).
 */
#pragma once
#include "wire/dsn_parse.h"

enum {
    FEEDBACK_TEXT_MAX = 512,
    FEEDBACK_WORD_MAX = 64,
    FEEDBACK_MAX = 2048,
};
enum feedback_kind { FEEDBACK_NONE = 0, FEEDBACK_DELIVERY, FEEDBACK_COMPLAINT };
struct feedback {
    enum feedback_kind kind;
    /* DELIVERY */
    enum dsn_report_action action; /* never DSN_REPORT_NO_ACTION */
    struct esc status;             /* 2, 4 or 5.x.x: X.0.0 where the report has none */
    struct str text;               /* the diagnostic, "550 5.1.1 no such user", or empty */
    /* COMPLAINT */
    struct str type;        /* "abuse" */
    struct str source_ip;   /* these may be empty */
    struct str return_path; /* the envelope sender of the message: of the report, or its Return-Path field */
    struct str rcpt;        /* the first whom the report names */
};
bool feedback_put(const struct feedback *f, struct buf *out);
MUST_USE bool feedback_get(struct str record, struct feedback *out);
/* From a message whose parts were gathered. Of several recipients the one that is worst off counts: a report
 * that comes back to the return path of one member tells of him alone. Texts go into mem (reset; FEEDBACK_MAX
 * octets do). FEEDBACK_NONE: it is no report, tells of nobody, or there is no memory. */
void feedback_read(const struct mime_report *r, struct buf *mem, struct feedback *out);
