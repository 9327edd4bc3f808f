/* wire/mime_report.h: takes out of a message that comes in pieces what a report in it says: the fields of its
 * machine readable part, and the header section of the message it is about (RFC 6522, 5965).
 *
 * Owns:     MIME_REPORT_MEMORY, with what wire/mime.h does, from the heap.
 * Limits:   MIME_REPORT_PART_MAX octets of either; what goes beyond is left off.
 * Practice: the part counts wherever it stands, in a multipart/mixed too (a list's footer, a virus scanner),
 * but not inside of an enclosed message: a report about a report is not its own.
 */
#pragma once
#include "wire/mime.h"

enum {
    MIME_REPORT_PART_MAX = 48 * 1024,
    MIME_REPORT_TYPE_MAX = 64,
    MIME_REPORT_MEMORY = 320 * 1024, /* octets of one, at most */
};
enum mime_report_kind {
    MIME_REPORT_NONE = 0,
    MIME_REPORT_DELIVERY, /* message/delivery-status, message/global-delivery-status */
    MIME_REPORT_FEEDBACK, /* message/feedback-report */
    MIME_REPORT_DISPOSITION,
};

struct mime_report;
struct mime_report *mime_report_new(void); /* NULL without memory */
void mime_report_del(struct mime_report **r);
void mime_report_put(struct mime_report *r, struct str piece);
void mime_report_end(struct mime_report *r);
/* After the end; valid as long as r. */
enum mime_report_kind mime_report_kind(const struct mime_report *r);
struct str mime_report_fields(const struct mime_report *r); /* decoded */
struct str
mime_report_original(const struct mime_report *r); /* header fields, decoded; empty: none enclosed */
/* The report's own header section (its From and Auto-Submitted). */
struct str mime_report_header(const struct mime_report *r);

/* A field's value on one line: folds and other runs of blanks become one space, controls "?". Appends. */
void mime_unfold(struct str body, struct buf *out);
