/* config/report.h: one line for people per error or warning, with its place. */
#pragma once
#include "config/config.h"

struct place {
    struct str file;
    int line; /* 0: the file as a whole */
};
/* Control characters and what is no UTF-8 become '?': a file's text can't forge a line. The 21st error and
 * later ones are counted and not shown; a line that stands there already is neither. */
void report_error(struct config_report *r, struct place at, const char *fmt, ...) PRINTF_LIKE(3, 4);
void report_warning(struct config_report *r, struct place at, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* At most 80 octets of s, for messages. */
struct str report_brief(struct str s);
