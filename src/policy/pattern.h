/* policy/pattern.h: for this folder only: addresses held against patterns. */
#pragma once
#include "policy/lookup.h"

struct subject { /* an address that patterns are held against */
    bool is_null;
    struct str domain; /* A-labels; a literal as it is */
    struct str local;
};
enum { PATTERN_SUBJECT_MAX = LOOKUP_NAME_MAX + SMTP_LOCAL_PART_TAKEN_MAX };

/* mem keeps what can't be borrowed: at least PATTERN_SUBJECT_MAX free octets. Empty: the null sender. */
struct subject pattern_subject(const struct policy_conf *p, struct str address, struct buf *mem);
bool pattern_matches(const struct pattern *pattern, const struct subject *s);
