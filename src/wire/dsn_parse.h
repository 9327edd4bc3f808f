/* wire/dsn_parse.h: reads a delivery status notification that came in (RFC 3464, in UTF-8 RFC 6533): what
 * became of which recipient, for a list manager or a suppression list.
 *
 * Owns:     the struct holds all texts itself; it may be copied only as its slices are taken anew.
 * Limits:   DSN_REPORT_RCPTS_MAX recipients and DSN_REPORT_TEXT_MAX octets; what is beyond is counted, not
 *           kept.
 * Practice: fields count by their names. A recipient begins after an empty line, and also where a field
 *           comes a second time, since some hosts write no empty line between recipients, or before the
 *           first one.
 */
#pragma once
#include "wire/esc.h"
#include "wire/mime_report.h"

enum { DSN_REPORT_RCPTS_MAX = 100, DSN_REPORT_TEXT_MAX = 64 * 1024, DSN_REPORT_VALUE_MAX = 4096 };
enum dsn_report_action {
    DSN_REPORT_NO_ACTION = 0, /* no field, or a word that RFC 3464 2.3.3 does not have */
    DSN_REPORT_FAILED,
    DSN_REPORT_DELAYED,
    DSN_REPORT_DELIVERED,
    DSN_REPORT_RELAYED,
    DSN_REPORT_EXPANDED,
};
struct dsn_report_rcpt {
    /* The addresses without their type, "<" and ">"; of type utf-8 decoded (RFC 6533 3). */
    struct str final_rcpt, original_rcpt;
    enum dsn_report_action action;
    struct esc status;     /* class 0: none that is well-formed */
    struct str diagnostic; /* "550 5.1.1 no such user", on one line */
    bool diagnostic_is_smtp;
    struct str remote_mta; /* without its type */
};
struct dsn_report {
    struct str envelope_id;   /* Original-Envelope-Id, ENVID of our MAIL */
    struct str reporting_mta; /* without its type */
    struct str message_id;    /* of the enclosed original, with "<" and ">" */
    struct dsn_report_rcpt rcpts[DSN_REPORT_RCPTS_MAX];
    size_t n_rcpts;      /* kept */
    size_t n_rcpts_more; /* beyond the limits */
    struct buf text;
    char text_mem[DSN_REPORT_TEXT_MAX];
};
/* From the parts that were gathered (MIME_REPORT_DELIVERY; false for any other kind). A report that tells of
 * no recipient gives true and n_rcpts 0. */
MUST_USE bool dsn_parse(const struct mime_report *r, struct dsn_report *out);
/* The same from the fields alone. */
void dsn_parse_fields(struct str fields, struct dsn_report *out);
const char *dsn_report_action_name(enum dsn_report_action a); /* "failed"; "" for none */
