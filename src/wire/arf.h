/* wire/arf.h: reads a feedback report that came in (ARF: RFC 5965, auth-failure RFC 6591, use RFC 6650):
 * which of our messages somebody complained about.
 *
 * Owns:     the struct holds all texts itself; it may be copied only as its slices are taken anew.
 * Limits:   ARF_LIST_MAX of each repeated field and ARF_TEXT_MAX octets; what is beyond is left off.
 */
#pragma once
#include "wire/mime_report.h"

enum { ARF_LIST_MAX = 32, ARF_TEXT_MAX = 64 * 1024, ARF_VALUE_MAX = 4096 };
struct arf_list {
    struct str item[ARF_LIST_MAX];
    size_t n;
};
struct arf_report {
    struct str feedback_type; /* lower case: "abuse", "fraud", "auth-failure"; required (RFC 5965 3.1) */
    struct str user_agent, version;
    struct str source_ip; /* the address alone; what follows it (a host name) is left off */
    struct str original_envelope_id;
    struct str original_mail_from; /* this and the recipients without "<" and ">" */
    struct str arrival_date;       /* as written */
    bool has_arrival;
    int64_t arrival_s;
    uint64_t incidents; /* 1 where the field is not there (RFC 5965 3.2) */
    struct str reporting_mta;
    struct str auth_failure, dkim_domain; /* RFC 6591 */
    struct arf_list original_rcpt_to, reported_domain, reported_uri, authentication_results;
    struct str message_id; /* of the enclosed message, with "<" and ">" if it has them */
    struct arf_list x_name,
        x_body; /* its X- fields, side by side, where senders put what they need to know again */
    struct buf text;
    char text_mem[ARF_TEXT_MAX];
};
/* From the parts that were gathered. False: it is no feedback report (another kind, or without
 * Feedback-Type). */
MUST_USE bool arf_parse(const struct mime_report *r, struct arf_report *out);
